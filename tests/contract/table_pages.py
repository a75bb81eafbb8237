# SPDX-License-Identifier: Apache-2.0
"""Who may do what on the pages: the rows of the admin, of forms and of addresses without a log-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.db.models import Model
from django_q.models import Schedule

from accounts.models import ApiKey, User
from approvals.models import (
    ActionRequest,
    AgentLimit,
    Calendar,
    ChannelPost,
    Delegation,
    ExternalNotice,
    ExternalSystem,
    Notification,
    Policy,
    PolicyVersion,
    Preference,
    Receipt,
    RequestTally,
    RequestTemplate,
    SigningKey,
    SlackChannel,
    StandingRule,
)
from audit.models import Entry
from config import clock
from playbooks.models import Connector, Playbook, RuleSet, RuleSetVersion, Version
from runs.intake import Ticket
from runs.models import Effect, Incident, Run, Task, WorkerHost
from runs.views import TICKET
from tests.contract.rows import ADMINISTRATORS, AUTHORS, FRESH, NEW_PASSWORD, WHY, Act, Path, Row, row
from tests.contract.table_api import CREDENTIALS, OTHER_RULES
from tests.contract.world import CONNECTOR_HOST, EVERYBODY, LIAISON_ROLE, PEOPLE, World
from tests.factories import PERMIT, founder
from tests.people import PASSWORD


def page(model: type[Model], pk: Callable[[World], Any], act: str) -> Path:
    """A page of a row in the admin."""
    options = model._meta
    return lambda world: f"/admin/{options.app_label}/{options.model_name}/{quote(pk(world))}/{act}".rstrip("/") + "/"


def evidence(model: type[Model], pk: Callable[[World], Any], *adding: Act) -> Iterator[Row]:
    """The rows that every model has in the admin. Nobody changes anything by them, but by what `adding` names."""
    here = f"admin/{model._meta.app_label}/{model._meta.model_name}/"
    yield row(here)
    yield row(f"{here}add/", *adding)
    for part in ("history/", "delete/", "change/", ""):
        yield row(f"{here}<path:object_id>/{part}", at=page(model, pk, part))


def history(model: type[Model], pk: Callable[[World], Any]) -> Row:
    """One moment of a row's history, which the library would let be brought back."""

    def at(world: World) -> str:
        number = pk(world)
        moment = model.history.filter(id=number).latest("history_id").history_id  # type: ignore[attr-defined]
        return page(model, pk, f"history/{moment}")(world)

    here = f"admin/{model._meta.app_label}/{model._meta.model_name}/"
    return row(rf"{here}^([^/]+)/history/([^/]+)/$", at=at)


def act_on(
    model: type[Model], pk: Callable[[World], Any], part: str, *acts: Act, route: str = "<path:object_id>"
) -> Row:
    here = f"admin/{model._meta.app_label}/{model._meta.model_name}/"
    return row(f"{here}{route}/{part}/", *acts, at=page(model, pk, part))


TEMPLATE_TERMS = {"title": "Fresh", "request_type": "custom", "priority": "2", "severity": "medium"}


def _template(world: World) -> int:
    return RequestTemplate.objects.get(name="custom").pk


def _limit(world: World) -> int:
    return AgentLimit.objects.get().pk


def _limit_of_another(world: World, caller: str) -> Mapping[str, Any]:
    return {"user": world.user("service").pk, "open_requests": "5", **WHY}


def staff(world: World) -> int:
    return world.user("staff").pk


def of_a_superuser(part: str) -> Path:
    return page(User, lambda world: founder().pk, part)


def new_key_of(user: User) -> Mapping[str, Any]:
    return {"user": user.pk, "name": "new", "days": 30}


def own_key(world: World, caller: str) -> Mapping[str, Any]:
    return new_key_of(world.users.get(caller, world.user("disabled")))


def answer_by_link(world: World, caller: str) -> Mapping[str, Any]:
    """Whoever holds the link answers as its reader."""
    asked = world.given_up_outside.request
    return {"outcome": "PASS", "digest": asked.digest}


def linked_person(world: World) -> str:
    link = world.system.users.get()
    return f"/admin/approvals/externalsystem/people/{link.pk}/end/"


def decision(world: World, caller: str) -> Mapping[str, Any]:
    return {"outcome": "PASS", "revision": world.asked.revision, "digest": world.asked.digest}


def typed_rule(world: World, caller: str) -> Mapping[str, Any]:
    until = f"{clock.now():%Y-%m-%d}"
    given = {"title": "Small", "reason": "alike", "role": LIAISON_ROLE, "max_severity": "low", "max_uses": 2}
    return {**given, "valid_until": until}


def beside(name: str, *acts: Act) -> Row:
    """A page beside the decision page of a request that a step has made."""
    return row(
        rf"admin/approvals/actionrequest/^(?P<request_id>har_[0-9a-f]{{12}})/{name}/\Z",
        *acts,
        at=lambda world: f"/admin/approvals/actionrequest/{world.asked.pk}/{name}/",
    )


TYPED_POLICY = {"slug": "fresh", "title": "Fresh", "text": "{}"}
TERMS = {
    "method": "POST",
    "url": f"https://{CONNECTOR_HOST}/other",
    "connect_seconds": 5,
    "read_seconds": 20,
    "total_seconds": 30,
    "secret_header": "Authorization",
}
_DECIDE = r"admin/approvals/actionrequest/^(?P<request_id>har_[0-9a-f]{12})/decide/"


def deciding(asked: str, act: str) -> Path:
    return lambda world: f"/admin/approvals/actionrequest/{getattr(world, asked).pk}/decide/{act}/"


SYSTEM_TERMS = {"secret_ref": "env:CLEARANCE_SECRET", "title": "The office"}
WISHES = {"zone": "America/New_York", "reach": "mail", "rhythm": "hourly", "summary_at": "09:00"}
PASSWORDS = {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD}
DOCUMENT = {"text": json.dumps(FRESH)}
TYPED_RULES = {"slug": "fresh", "title": "Fresh", "concern": "safety", "text": json.dumps(OTHER_RULES)}
CHANGED = {"text": json.dumps({**PERMIT, "title": "Changed"})}

OFFICE = {"title": "Office", "zone": "Europe/Berlin", "monday": "09:00-17:00", "holidays": "2031-12-25 Christmas Day"}
STANDING_IN = {
    "giver": "liaison",
    "to": "colleague",
    "starts_at_0": "2031-01-01",
    "starts_at_1": "00:00",
    "ends_at_0": "2031-01-02",
    "ends_at_1": "00:00",
    "max_severity": "high",
}
_REQUEST_PAGE = r"admin/approvals/actionrequest/^(?P<request_id>har_[0-9a-f]{12})"


def _default_calendar(world: World) -> int:
    return Calendar.objects.get(slug="default").pk


PAGES = [
    row(""),
    row("healthz", public=True),
    row("readyz", public=True),
    row(
        "forms/<str:playbook>",
        Act("POST", EVERYBODY, lambda world, caller: {TICKET: Ticket.new("protest_permit").signed(), "name": "Ann"}),
        at="/forms/protest_permit",
        public=True,
    ),
    row(
        r"^forms/answer/(?P<token>[A-Za-z0-9_-]{43})\Z",
        Act("POST", EVERYBODY, answer_by_link),
        at=lambda world: world.answer_link,
        public=True,
    ),
    row("forms/thanks/<str:reference>", at="/forms/thanks/nobody:knows:this", public=True),
    row("admin/"),
    row("admin/login/", Act("POST", EVERYBODY, {**CREDENTIALS, "next": "/admin/"}), public=True),
    row("admin/logout/", Act("POST", PEOPLE, {})),
    row(
        "admin/password_change/",
        Act(
            "POST",
            PEOPLE,
            {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD},
        ),
    ),
    row("admin/password_change/done/"),
    row("admin/search/"),
    row("admin/autocomplete/"),
    row("admin/jsi18n/"),
    row("admin/r/<path:content_type_id>/<path:object_id>/", at="/admin/r/1/1/"),
    row("admin/(?P<url>.*)$", at="/admin/nowhere"),
    *evidence(User, staff, Act("POST", ADMINISTRATORS, {"kind": "agent", "username": "fresh"})),
    history(User, staff),
    act_on(
        User,
        staff,
        "details",
        Act("POST", ADMINISTRATORS, {"first_name": "Ann"}),
        Act("POST", ("superuser",), {"first_name": "Ann"}, at=of_a_superuser("details")),
    ),
    act_on(
        User,
        staff,
        "roles",
        Act("POST", ADMINISTRATORS, {"roles": ["staff", "administrator"]}),
        Act("POST", ("superuser",), {"roles": ["administrator"]}, at=of_a_superuser("roles")),
    ),
    act_on(
        User,
        staff,
        "password",
        Act("POST", ADMINISTRATORS, PASSWORDS),
        Act("POST", ("superuser",), PASSWORDS, at=of_a_superuser("password")),
    ),
    act_on(User, staff, "key"),
    act_on(
        User,
        staff,
        "deactivate",
        Act("POST", ADMINISTRATORS, WHY),
        Act("POST", ("superuser",), WHY, at=of_a_superuser("deactivate")),
    ),
    act_on(User, lambda world: world.user("disabled").pk, "reactivate", Act("POST", ADMINISTRATORS, WHY)),
    *evidence(
        Group, lambda world: world.user("staff").groups.get().pk, Act("POST", ADMINISTRATORS, {"name": "human:clerk"})
    ),
    *evidence(
        ApiKey,
        lambda world: world.key.pk,
        Act("POST", PEOPLE, own_key),
        Act("POST", ADMINISTRATORS, lambda world, caller: new_key_of(world.user("agent"))),
    ),
    act_on(ApiKey, lambda world: world.key.pk, "revoke", Act("POST", ADMINISTRATORS, WHY)),
    *evidence(Playbook, lambda world: world.published.playbook_id, Act("POST", AUTHORS, DOCUMENT)),
    history(Playbook, lambda world: world.published.playbook_id),
    act_on(
        Playbook,
        lambda world: world.published.playbook_id,
        "version",
        Act("POST", AUTHORS, CHANGED),
        route="<int:pk>",
    ),
    *evidence(Version, lambda world: world.published.pk),
    history(Version, lambda world: world.published.pk),
    act_on(Version, lambda world: world.draft.pk, "edit", Act("POST", AUTHORS, CHANGED), route="<int:pk>"),
    act_on(Version, lambda world: world.published.pk, "clone", Act("POST", AUTHORS, {}), route="<int:pk>"),
    act_on(Version, lambda world: world.draft.pk, "publish", Act("POST", ADMINISTRATORS, {}), route="<int:pk>"),
    act_on(Version, lambda world: world.published.pk, "retire", Act("POST", ADMINISTRATORS, WHY), route="<int:pk>"),
    *evidence(RequestTemplate, _template, Act("POST", ADMINISTRATORS, {**TEMPLATE_TERMS, "name": "fresh"})),
    history(RequestTemplate, _template),
    act_on(RequestTemplate, _template, "terms", Act("POST", ADMINISTRATORS, TEMPLATE_TERMS)),
    *evidence(AgentLimit, _limit, Act("POST", ADMINISTRATORS, _limit_of_another)),
    history(AgentLimit, _limit),
    act_on(AgentLimit, _limit, "limit", Act("POST", ADMINISTRATORS, {"per_hour": "7", **WHY})),
    *evidence(RequestTally, lambda world: RequestTally.objects.get(scope="all", period="").pk),
    *evidence(Connector, lambda world: world.connector.pk, Act("POST", ADMINISTRATORS, {**TERMS, "name": "tests.new"})),
    history(Connector, lambda world: world.connector.pk),
    act_on(Connector, lambda world: world.connector.pk, "terms", Act("POST", ADMINISTRATORS, TERMS)),
    act_on(Connector, lambda world: world.connector.pk, "disable", Act("POST", ADMINISTRATORS, WHY)),
    act_on(Connector, lambda world: world.disabled_connector.pk, "enable", Act("POST", ADMINISTRATORS, WHY)),
    *evidence(RuleSet, lambda world: world.rules.rule_set_id, Act("POST", ADMINISTRATORS, TYPED_RULES)),
    history(RuleSet, lambda world: world.rules.rule_set_id),
    act_on(
        RuleSet,
        lambda world: world.rules.rule_set_id,
        "about",
        Act("POST", ADMINISTRATORS, {"title": "Fairer", "concern": "ethics"}),
        route="<int:pk>",
    ),
    act_on(
        RuleSet,
        lambda world: world.rules.rule_set_id,
        "version",
        Act("POST", ADMINISTRATORS, TYPED_RULES),
        route="<int:pk>",
    ),
    *evidence(RuleSetVersion, lambda world: world.rules.pk),
    history(RuleSetVersion, lambda world: world.rules.pk),
    act_on(
        RuleSetVersion,
        lambda world: world.draft_rules.pk,
        "edit",
        Act("POST", ADMINISTRATORS, TYPED_RULES),
        route="<int:pk>",
    ),
    act_on(
        RuleSetVersion,
        lambda world: world.draft_rules.pk,
        "publish",
        Act("POST", ADMINISTRATORS, {}),
        route="<int:pk>",
    ),
    act_on(RuleSetVersion, lambda world: world.rules.pk, "retire", Act("POST", ADMINISTRATORS, WHY), route="<int:pk>"),
    *evidence(Run, lambda world: world.run.pk),
    act_on(Run, lambda world: world.run.pk, "cancel", Act("POST", ADMINISTRATORS, WHY), route="<int:run_id>"),
    act_on(
        Run,
        lambda world: world.run.pk,
        "terminate",
        Act("POST", ADMINISTRATORS, lambda world, caller: {**WHY, "number": str(world.run.pk)}),
        route="<int:run_id>",
    ),
    act_on(
        Run,
        lambda world: world.signalled.pk,
        "signal",
        Act("POST", ("liaison", *ADMINISTRATORS), {"name": "paid", "content": "{}"}),
        route="<int:run_id>",
    ),
    row("admin/runs/run/start/"),
    row(
        "admin/runs/run/start/<str:slug>/",
        Act("POST", ADMINISTRATORS, {"text": "{}"}),
        at="/admin/runs/run/start/looks/",
    ),
    *evidence(Task, lambda world: world.held.task.pk),
    *evidence(Incident, lambda world: world.incident.pk),
    act_on(
        Incident,
        lambda world: world.incident.pk,
        "resolve",
        *(Act("POST", ADMINISTRATORS, {"resolution": how, **WHY}) for how in ("retry", "skip", "fail")),
        route="<int:task_id>",
    ),
    *evidence(Effect, lambda world: Effect.objects.get().pk),
    *evidence(WorkerHost, lambda world: world.worker.pk),
    *evidence(Schedule, lambda world: Schedule.objects.get().pk),
    *evidence(Entry, lambda world: Entry.objects.filter(run_id=world.run.pk).earliest("id").pk),
    *evidence(Policy, lambda world: world.policy.policy_id, Act("POST", ADMINISTRATORS, TYPED_POLICY)),
    history(Policy, lambda world: world.policy.policy_id),
    act_on(
        Policy,
        lambda world: world.policy.policy_id,
        "version",
        Act("POST", ADMINISTRATORS, {"text": "required_approvals: 4"}),
        route="<int:pk>",
    ),
    *evidence(PolicyVersion, lambda world: world.policy.pk),
    history(PolicyVersion, lambda world: world.policy.pk),
    act_on(
        PolicyVersion,
        lambda world: world.draft_policy.pk,
        "edit",
        Act("POST", ADMINISTRATORS, {"text": "required_approvals: 4"}),
        route="<int:pk>",
    ),
    act_on(
        PolicyVersion, lambda world: world.draft_policy.pk, "publish", Act("POST", ADMINISTRATORS, {}), route="<int:pk>"
    ),
    act_on(PolicyVersion, lambda world: world.policy.pk, "retire", Act("POST", ADMINISTRATORS, WHY), route="<int:pk>"),
    *evidence(StandingRule, lambda world: world.standing_rule.pk, Act("POST", ADMINISTRATORS, typed_rule)),
    act_on(
        StandingRule,
        lambda world: world.standing_rule.pk,
        "activate",
        Act("POST", ADMINISTRATORS, {}),
        route="<int:pk>",
    ),
    act_on(
        StandingRule, lambda world: world.standing_rule.pk, "revoke", Act("POST", ADMINISTRATORS, WHY), route="<int:pk>"
    ),
    beside("ask", Act("POST", ("liaison",), {"text": "Why?"})),
    beside("changes", Act("POST", ("liaison",), {"text": "Less."})),
    beside("answer"),
    beside("revise"),
    beside("emergency"),
    *evidence(ActionRequest, lambda world: world.asked.pk),
    *evidence(Receipt, lambda world: world.permitted.receipts.get().pk),
    *evidence(SigningKey, lambda world: SigningKey.objects.get().pk),
    row(
        r"admin/approvals/actionrequest/^(?P<request_id>har_[0-9a-f]{12})/undo/\Z",
        Act("POST", ("liaison",), {"reason": "oh"}),
        at=lambda world: f"/admin/approvals/actionrequest/{world.held_back.pk}/undo/",
    ),
    act_on(ActionRequest, lambda world: world.asked.pk, "open_page"),
    row(
        r"admin/approvals/actionrequest/^(?P<request_id>har_[0-9a-f]{12})/decide/\Z",
        Act("POST", ("liaison",), decision),
        Act(
            "POST",
            ("liaison",),
            {"release": "1"},
            at=lambda world: f"/admin/approvals/actionrequest/{world.claimed.pk}/decide/",
        ),
        at=lambda world: f"/admin/approvals/actionrequest/{world.asked.pk}/decide/",
    ),
    *(
        row(rf"{_DECIDE}{act}/\Z", Act("POST", ("liaison",), sent), at=deciding(asked, act))
        for act, asked, sent in (
            ("comment", "asked", {"comment": "Is it open?"}),
            ("draft", "asked", {"reason": "So far"}),
            ("seen", "asked", {}),
            ("secret", "secret", {"revoke": "1"}),
        )
    ),
    row(
        rf"{_DECIDE}attach/\Z", at=deciding("asked", "attach")
    ),  # a file is sent in parts: tests/approvals/test_talk.py
    row(
        rf"{_REQUEST_PAGE}/takeover/\Z",
        Act("POST", ("liaison",), WHY),
        at=lambda world: f"/admin/approvals/actionrequest/{world.elsewhere.pk}/takeover/",
    ),
    row(
        rf"{_REQUEST_PAGE}/assign/\Z",
        Act("POST", ADMINISTRATORS, {"to": "liaison"}),
        at=lambda world: f"/admin/approvals/actionrequest/{world.asked.pk}/assign/",
    ),
    row(
        rf"{_REQUEST_PAGE}/delegate/\Z",
        Act("POST", ("liaison",), {"to": "colleague"}),
        at=lambda world: f"/admin/approvals/actionrequest/{world.asked.pk}/delegate/",
    ),
    row(
        rf"{_REQUEST_PAGE}/extend/\Z",
        Act("POST", ADMINISTRATORS, {"by": "1h"}),
        at=lambda world: f"/admin/approvals/actionrequest/{world.timed.pk}/extend/",
    ),
    *evidence(Calendar, _default_calendar, Act("POST", ADMINISTRATORS, {**OFFICE, "slug": "office"})),
    history(Calendar, _default_calendar),
    act_on(Calendar, _default_calendar, "terms", Act("POST", ADMINISTRATORS, OFFICE)),
    *evidence(Delegation, lambda world: world.delegation.pk, Act("POST", ("liaison", *ADMINISTRATORS), STANDING_IN)),
    act_on(
        Delegation,
        lambda world: world.delegation.pk,
        "revoke",
        Act("POST", ("liaison", *ADMINISTRATORS), WHY),
    ),
    *evidence(Notification, lambda world: world.given_up.pk),
    act_on(Notification, lambda world: world.given_up.pk, "send-again", Act("POST", ADMINISTRATORS, {})),
    *evidence(ExternalNotice, lambda world: world.given_up_outside.pk),
    act_on(ExternalNotice, lambda world: world.given_up_outside.pk, "send-again", Act("POST", ADMINISTRATORS, {})),
    *evidence(ChannelPost, lambda world: world.given_up_post.pk),
    act_on(ChannelPost, lambda world: world.given_up_post.pk, "send-again", Act("POST", ADMINISTRATORS, {})),
    *evidence(
        SlackChannel,
        lambda world: world.channel.pk,
        Act("POST", ADMINISTRATORS, {"role": "human:clerk", "channel": "C024BE7LS"}),
    ),
    history(SlackChannel, lambda world: world.channel.pk),
    act_on(SlackChannel, lambda world: world.channel.pk, "end", Act("POST", ADMINISTRATORS, WHY)),
    *evidence(Preference, lambda world: world.user("liaison").pk),
    row(
        r"admin/approvals/preference/^([^/]+)/history/([^/]+)/$",
        at=lambda world: page(
            Preference, lambda world: world.user("liaison").pk, f"history/{Preference.history.latest().history_id}"
        )(world),
    ),
    row("admin/approvals/preference/mine/", Act("POST", PEOPLE, WISHES)),
    row("admin/approvals/preference/mine/slack/"),
    *evidence(
        ExternalSystem, lambda world: world.system.pk, Act("POST", ADMINISTRATORS, {**SYSTEM_TERMS, "name": "fresh"})
    ),
    history(ExternalSystem, lambda world: world.system.pk),
    act_on(ExternalSystem, lambda world: world.system.pk, "terms", Act("POST", ADMINISTRATORS, SYSTEM_TERMS)),
    act_on(
        ExternalSystem,
        lambda world: world.system.pk,
        "link",
        Act("POST", ADMINISTRATORS, {"outside_id": "4712", "username": "staff_member"}),
    ),
    act_on(ExternalSystem, lambda world: world.system.pk, "disable", Act("POST", ADMINISTRATORS, WHY)),
    act_on(ExternalSystem, lambda world: world.disabled_system.pk, "enable", Act("POST", ADMINISTRATORS, WHY)),
    row(
        "admin/approvals/externalsystem/people/<int:pk>/end/",
        Act("POST", ADMINISTRATORS, WHY),
        at=linked_person,
    ),
    row("admin/^<app_label>/$", at="/admin/runs/"),
]
