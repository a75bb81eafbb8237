# SPDX-License-Identifier: Apache-2.0
"""Who may do what, declared: every address there is, and for whom each act at it takes effect.

An address without a row fails a test, and so does a row whose act succeeds for anybody not named in it, or fails for
somebody who is. `to` names the callers for whom something in the database changes; nothing changes for all others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from tests.contract.world import CANARY, CONNECTOR_HOST, EVERYBODY, LIAISON_ROLE, PEOPLE, World
from tests.factories import PERMIT, founder
from tests.people import PASSWORD

ADMINISTRATORS = ("administrator", "superuser")
AUTHORS = ("author", *ADMINISTRATORS)
STARTERS = ("agent", "foreign_agent", *ADMINISTRATORS)
ASKERS = ("agent", "foreign_agent", "service", "liaison", *ADMINISTRATORS)

NEW_PASSWORD = "another-horse-battery"
WHY = {"reason": "It was lost."}
FRESH = {**PERMIT, "id": "fresh"}

Path = Callable[[World], str]
Body = Callable[[World, str], Mapping[str, Any]]  # of the world and the caller's name


@dataclass(frozen=True)
class Act:
    method: str
    to: Sequence[str]
    body: Body | Mapping[str, Any]
    at: Path | None = None  # where it is another object's than the row's first

    def sent(self, world: World, caller: str) -> Mapping[str, Any]:
        return self.body(world, caller) if callable(self.body) else self.body


@dataclass(frozen=True)
class Row:
    route: str  # as the resolver has it
    at: tuple[Path, ...]  # the addresses it is tried at
    acts: tuple[Act, ...] = ()
    is_public: bool = False  # read without any credential

    @property
    def is_page(self) -> bool:
        return self.route.startswith(("admin/", "forms/")) or self.route in {"", "healthz", "readyz"}


def row(route: str, *acts: Act, at: Path | str | Sequence[Path] | None = None, public: bool = False) -> Row:
    if at is None:
        at = f"/{route}"
    places: Sequence[Path] = [_constant(at)] if isinstance(at, str) else [at] if callable(at) else at
    return Row(route, tuple(places), acts, public)


def _constant(path: str) -> Path:
    return lambda world: path


# The HTTP API ---------------------------------------------------------------------------------------------

CREDENTIALS = {"username": "liaison", "password": PASSWORD}
_ID = r"(?P<slug>[A-Za-z0-9][A-Za-z0-9_.-]{0,99})"
_VERSION = rf"^acts/playbooks/{_ID}/versions/(?P<number>[0-9]{{1,9}})"
_REQUEST = r"^hitl/requests/(?P<request_id>har_[0-9a-f]{12})"
PLAYBOOK = "/acts/playbooks/protest_permit"
_RULE_SET = r"^acts/rulesets/(?P<rule_set>[A-Za-z0-9_-]{1,60})"
_RULES = rf"{_RULE_SET}/versions/(?P<number>[0-9]{{1,9}})"
OTHER_RULES = {"rules": [{"id": "c", "when": "payload.y", "result": "FAIL", "because": "No."}]}
NEW_RULES = {**OTHER_RULES, "id": "fresh", "title": "Fresh", "concern": "safety"}


def task(act: str = "") -> Path:
    return lambda world: f"/acts/tasks/{world.held.task.pk}{act}"


def held(**more: Any) -> Body:
    return lambda world, caller: {"token": world.held.token, **more}


def request(act: str = "") -> Path:
    return lambda world: f"/hitl/requests/{world.asked.pk}{act}"


def secret(act: str = "") -> Path:
    return lambda world: f"/hitl/requests/{world.secret.pk}{act}"


TALKERS = ("agent", "service", "liaison")  # who have a part in the run
FILE = {"name": "notes.txt", "content": "bm90ZXM="}
OTHER_SECRET = {"response_data": {"api_key": "sk_live_other"}}


def permitted(act: str) -> Path:
    return lambda world: f"/hitl/requests/{world.permitted.pk}{act}"


API = [
    row("auth/token", Act("POST", EVERYBODY, CREDENTIALS), public=True),
    row("auth/token/refresh", public=True),
    row("acts/run", Act("POST", STARTERS, {"playbook": "protest_permit", "payload": {"name": "Ann"}})),
    row("acts/runs"),
    row(
        "acts/runs/<number:run_id>",
        at=[lambda world: f"/acts/runs/{world.run.pk}", lambda world: f"/acts/runs/{world.decided.run_id}"],
    ),
    row(
        "acts/runs/<number:run_id>/cancel",
        Act("PATCH", ADMINISTRATORS, WHY),
        at=lambda world: f"/acts/runs/{world.run.pk}/cancel",
    ),
    row(
        "acts/runs/<number:run_id>/terminate",
        Act("PATCH", ADMINISTRATORS, WHY),
        at=lambda world: f"/acts/runs/{world.run.pk}/terminate",
    ),
    row(
        "acts/runs/<number:run_id>/signals/<str:signal>",
        Act("POST", ("agent", "service", "liaison", *ADMINISTRATORS), {"data": {"amount": "40.00"}}),
        at=lambda world: f"/acts/runs/{world.run.pk}/signals/paid",
    ),
    row("acts/events"),
    row("acts/tasks"),
    row(
        "acts/tasks/next",
        Act("POST", ("agent",), lambda world, caller: {"role": world.approved.task.role, "limit": 1, "wait": 0}),
        Act("POST", ("service",), {"role": "svc:finance"}),
        Act("POST", ("liaison",), {"role": LIAISON_ROLE}),
    ),
    row(
        "acts/tasks/<number:task_id>",
        at=[task(), lambda world: f"/acts/tasks/{world.asked.task_id}"],
    ),
    row(
        "acts/tasks/<number:task_id>/complete",
        Act("POST", ("agent",), held(outcome="PASS")),
        Act("POST", ("liaison",), {"outcome": "PASS"}, at=lambda world: f"/acts/tasks/{world.asked.task_id}/complete"),
        at=task("/complete"),
    ),
    row("acts/tasks/<number:task_id>/fail", Act("POST", ("agent",), held(error_type="Busy")), at=task("/fail")),
    row("acts/tasks/<number:task_id>/heartbeat", Act("POST", ("agent",), held()), at=task("/heartbeat")),
    row("acts/tasks/<number:task_id>/renew", Act("POST", ("agent",), held()), at=task("/renew")),
    row("acts/tasks/<number:task_id>/release", Act("POST", ("agent",), held()), at=task("/release")),
    row(
        "acts/tasks/<number:task_id>/request-approval",
        Act("POST", ("agent",), held(reason="May I?", role=LIAISON_ROLE)),
        at=task("/request-approval"),
    ),
    row(
        "acts/tasks/<number:task_id>/resolve",
        *(Act("POST", ADMINISTRATORS, {"resolution": how, **WHY}) for how in ("retry", "skip", "fail")),
        at=lambda world: f"/acts/tasks/{world.incident.pk}/resolve",
    ),
    row(
        "acts/tasks/<number:task_id>/resume",
        Act("POST", ("agent",), lambda world, caller: {"token": world.approved.token}),
        at=lambda world: f"/acts/tasks/{world.approved.task.pk}/resume",
    ),
    row("acts/playbooks", Act("POST", AUTHORS, FRESH)),
    row("acts/playbooks/schema"),
    row("acts/playbooks/validate", Act("POST", (), FRESH)),
    row(rf"^acts/playbooks/{_ID}\Z", at=PLAYBOOK),
    row(
        rf"^acts/playbooks/{_ID}/versions\Z",
        Act("POST", AUTHORS, {"clone": 1}),
        Act("POST", AUTHORS, {**PERMIT, "title": "Changed"}),
        at=f"{PLAYBOOK}/versions",
    ),
    row(rf"{_VERSION}\Z", Act("PUT", AUTHORS, {**PERMIT, "title": "Changed"}), at=f"{PLAYBOOK}/versions/2"),
    row(rf"{_VERSION}/publish\Z", Act("POST", ADMINISTRATORS, {}), at=f"{PLAYBOOK}/versions/2/publish"),
    row(rf"{_VERSION}/retire\Z", Act("POST", ADMINISTRATORS, {}), at=f"{PLAYBOOK}/versions/1/retire"),
    row("acts/rulesets", Act("POST", ADMINISTRATORS, NEW_RULES)),
    row(rf"{_RULE_SET}\Z", at="/acts/rulesets/fair"),
    row(rf"{_RULE_SET}/versions\Z", Act("POST", ADMINISTRATORS, OTHER_RULES), at="/acts/rulesets/fair/versions"),
    row(rf"{_RULES}\Z", Act("PUT", ADMINISTRATORS, OTHER_RULES), at="/acts/rulesets/fair/versions/2"),
    row(rf"{_RULES}/publish\Z", Act("POST", ADMINISTRATORS, {}), at="/acts/rulesets/fair/versions/2/publish"),
    row(rf"{_RULES}/retire\Z", Act("POST", ADMINISTRATORS, WHY), at="/acts/rulesets/fair/versions/1/retire"),
    row("hitl/requests", Act("POST", ASKERS, {"title": "May I?", "role": LIAISON_ROLE})),
    row(
        rf"{_REQUEST}\Z",
        Act("PATCH", ("agent",), {"title": "May we?"}),
        at=[
            lambda world: f"/hitl/requests/{world.wondered.pk}",
            request(),
            lambda world: f"/hitl/requests/{world.decided.pk}",
        ],
    ),
    row(
        rf"{_REQUEST}/answer\Z",
        Act("POST", ("agent",), {"answer": "Because."}),
        at=lambda world: f"/hitl/requests/{world.wondered.pk}/answer",
    ),
    row("hitl/receipt-keys"),
    row(rf"{_REQUEST}/receipt\Z", at=permitted("/receipt")),
    row(
        rf"{_REQUEST}/spend\Z",
        Act("POST", ("agent",), {"call": "treasury.pay", "input": {"to": CANARY}}),
        at=permitted("/spend"),
    ),
    row(rf"{_REQUEST}/revoke\Z", Act("POST", ("agent", "liaison"), WHY), at=permitted("/revoke")),
    row(
        rf"{_REQUEST}/undo\Z",
        Act("POST", ("liaison",), {}),
        at=lambda world: f"/hitl/requests/{world.held_back.pk}/undo",
    ),
    row(rf"{_REQUEST}/request-info\Z", Act("POST", ("liaison",), {"question": "Why?"}), at=request("/request-info")),
    row(
        rf"{_REQUEST}/request-changes\Z",
        Act("POST", ("liaison",), {"feedback": "Less."}),
        at=request("/request-changes"),
    ),
    row(rf"{_REQUEST}/claim\Z", Act("POST", ("liaison",), {}), at=request("/claim")),
    row(
        rf"{_REQUEST}/release\Z",
        Act("POST", ("liaison",), {}),
        at=lambda world: f"/hitl/requests/{world.claimed.pk}/release",
    ),
    row(
        rf"{_REQUEST}/takeover\Z",
        Act("POST", ("liaison",), WHY),
        at=lambda world: f"/hitl/requests/{world.elsewhere.pk}/takeover",
    ),
    row(rf"{_REQUEST}/assign\Z", Act("POST", ADMINISTRATORS, {"to": "liaison"}), at=request("/assign")),
    row(rf"{_REQUEST}/delegate\Z", Act("POST", ("liaison",), {"to": "colleague"}), at=request("/delegate")),
    row(
        rf"{_REQUEST}/extend\Z",
        Act("POST", ADMINISTRATORS, {"by": "1h"}),
        at=lambda world: f"/hitl/requests/{world.timed.pk}/extend",
    ),
    row(rf"{_REQUEST}/fulfill\Z", Act("POST", ("liaison",), {}), at=request("/fulfill")),
    row(
        rf"{_REQUEST}/cancel\Z",
        Act("POST", ("agent",), WHY),
        at=lambda world: f"/hitl/requests/{world.wondered.pk}/cancel",
    ),
    row("hitl/templates"),
    row("hitl/statistics"),
    row(rf"{_REQUEST}/reject\Z", Act("POST", ("liaison",), WHY), at=request("/reject")),
    row(rf"{_REQUEST}/comment\Z", Act("POST", TALKERS, {"text": "Is it open?"}), at=request("/comment")),
    row(rf"{_REQUEST}/attachments\Z", Act("POST", TALKERS, FILE), at=request("/attachments")),
    row(
        rf"{_REQUEST}/attachments/(?P<attachment_id>[0-9]{{1,18}})\Z",
        at=lambda world: request(f"/attachments/{world.attached.pk}")(world),
    ),
    row(rf"{_REQUEST}/draft\Z", Act("POST", ("liaison",), {"notes": "So far"}), at=request("/draft")),
    row(rf"{_REQUEST}/unwrap\Z", Act("POST", ("agent",), {}), at=secret("/unwrap")),
    row(rf"{_REQUEST}/revoke-secret\Z", Act("POST", ("liaison",), {}), at=secret("/revoke-secret")),
    row(rf"{_REQUEST}/replace-secret\Z", Act("POST", ("liaison",), OTHER_SECRET), at=secret("/replace-secret")),
    row("hitl/slack/interactive", public=True),
    row(
        r"^hitl/external/(?P<system>[A-Za-z0-9_-]{1,60})\Z",
        at=lambda world: f"/hitl/external/{world.system.name}",
        public=True,
    ),
    row("api/schema", public=True),
    row("api/docs", public=True),
]

# The pages ------------------------------------------------------------------------------------------------


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

TABLE = [*API, *PAGES]
