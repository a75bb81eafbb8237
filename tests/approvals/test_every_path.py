# SPDX-License-Identifier: Apache-2.0
"""Every rule on every way of deciding: each way with each rule, generated; refused, nothing moved, and in the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from accounts import seeds
from approvals import revising
from approvals.models import ActionRequest, Vote
from approvals.services import decide
from audit import actions
from audit.models import Entry
from config import clock
from runs import services as runs
from runs import stopping
from tests.approvals.ways import WAYS
from tests.factories import founder, later, published, reloaded
from tests.people import agent, person

LEGAL, BOARD = "human:legal", "human:board"
FORM = {"type": "object", "properties": {"why": {"type": "string", "minLength": 3}}, "required": ["why"]}


@dataclass
class Try:
    """A decision that must not be: of whom, on what, and what they say."""

    request: ActionRequest
    who: Any
    say: Mapping[str, Any] = field(default_factory=dict)


def asked(starter=None, policy=None, **step) -> ActionRequest:
    """The request of a run's step, started by `starter`."""
    version = published({"id": "plans", "steps": [{"id": "approve", "role": LEGAL, "policy": policy or {}, **step}]})
    by = starter or founder()
    run = runs.start_run(actor=by, playbook="plans", version=version.number, payload={"form_id": 1})
    return ActionRequest.objects.get(run=run)


def lea(*groups: str) -> Any:
    return person("lea", LEGAL, *groups)


# The rules ------------------------------------------------------------------------------------------------


def _not_of_the_role() -> Try:
    return Try(asked(), person("eve", BOARD, "auditor"))


def _lost_the_role() -> Try:
    who, request = person("eve", LEGAL, "auditor"), asked()
    who.groups.remove(who.groups.get(name=LEGAL))
    return Try(request, type(who).objects.get(pk=who.pk))


def _superuser() -> Try:
    return Try(asked(), person("root", is_superuser=True))


def _starter() -> Try:
    who = lea(seeds.ADMINISTRATOR)
    return Try(asked(starter=who), who)


def _editor() -> Try:
    who = lea()
    request = asked(policy={"edits": {"allowed": True}})
    revising.revise_request(request_id=request.pk, actor=who, changes={"title": "Other"})
    return Try(reloaded(request), who)


def _did_another_step() -> Try:
    who = lea()
    other = {"id": "draft", "role": LEGAL}
    judged = {"id": "approve", "role": LEGAL, "policy": {"distinct_from_steps": ["draft"]}}
    published({"id": "plans", "steps": [other, judged]})
    run = runs.start_run(actor=founder(), playbook="plans", payload={})
    decide(request_id=ActionRequest.objects.get(run=run).pk, actor=who, outcome="PASS")
    return Try(ActionRequest.objects.get(run=run, state="pending"), who)


def _votes_twice() -> Try:
    who, request = lea(), asked(policy={"required_approvals": 2})
    decide(request_id=request.pk, actor=who, outcome="PASS")
    return Try(reloaded(request), who)


def _before_their_stage() -> Try:
    person("bea", BOARD)
    chain = {"stages": [{"rules": [{"role": BOARD}]}, {"rules": [{"role": LEGAL}]}]}
    return Try(asked(policy=chain), lea())


def _after_the_end() -> Try:
    request = asked()
    ActionRequest.objects.filter(pk=request.pk).update(expires_at=clock.now() + timedelta(hours=1))
    later(hours=2)
    return Try(request, lea())


def _while_something_is_asked_back() -> Try:
    who, request = lea(), asked()
    revising.request_info(request_id=request.pk, actor=who, question="Why?")
    return Try(request, who)


def _after_another_decided() -> Try:
    request = asked()
    decide(request_id=request.pk, actor=person("leo", LEGAL), outcome="PASS")
    return Try(request, lea())


def _of_a_run_that_ended() -> Try:
    request = asked()
    stopping.cancel_run(run_id=request.run_id, actor=founder())
    return Try(request, lea())


def _without_a_reason() -> Try:
    return Try(asked(), lea(), {"outcome": "FAIL", "reason": ""})


def _without_a_code() -> Try:
    return Try(asked(policy={"reasons": {"codes": {"late": "Too late"}}}), lea(), {"outcome": "FAIL", "reason": "no"})


def _without_an_answer() -> Try:
    return Try(asked(form=FORM), lea(), {"response_data": {"why": "x"}})


def _with_an_unknown_outcome() -> Try:
    return Try(asked(), lea(), {"outcome": "MAYBE"})


def _without_their_password() -> Try:
    request = asked(policy={"assurance": {"high": "step_up"}}, severity="high")
    return Try(request, lea(), {"later": 6})


RULES: Mapping[str, tuple[Callable[[], Try], bool]] = {  # name → (what is tried, whether it leaves a DENIED entry)
    "not_of_the_role": (_not_of_the_role, True),
    "lost_the_role": (_lost_the_role, True),
    "superuser": (_superuser, True),
    "starter": (_starter, True),
    "editor": (_editor, True),
    "did_another_step": (_did_another_step, True),
    "votes_twice": (_votes_twice, True),
    "before_their_stage": (_before_their_stage, True),
    "after_the_end": (_after_the_end, True),
    "while_something_is_asked_back": (_while_something_is_asked_back, True),
    "after_another_decided": (_after_another_decided, True),
    "of_a_run_that_ended": (_of_a_run_that_ended, True),
    "without_a_reason": (_without_a_reason, False),
    "without_a_code": (_without_a_code, False),
    "without_an_answer": (_without_an_answer, False),
    "with_an_unknown_outcome": (_with_an_unknown_outcome, False),
    "without_their_password": (_without_their_password, False),
}


def state_of(request: ActionRequest) -> tuple[Any, ...]:
    held = reloaded(request)
    votes = Vote.objects.filter(request=request).count()
    return (held.state, held.outcome, held.stage, held.revision, votes, held.run.state, held.run.revision)


@pytest.mark.django_db
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rule", RULES)
def test_t05_every_way_keeps_every_rule(rule, way):
    make, is_recorded = RULES[rule]
    tried = make()
    decider = WAYS[way](tried.who, tried.request)
    if (minutes := tried.say.get("later")) is not None:
        later(minutes=minutes)
    said = {name: value for name, value in tried.say.items() if name != "later"}
    before, entries = state_of(tried.request), Entry.objects.count()

    refused = decider(**{"outcome": "PASS", "reason": "as I see it", **said})

    assert refused, f"{way} let it through"
    assert state_of(tried.request) == before
    if is_recorded:
        newest = Entry.objects.order_by("-id")[0]
        assert Entry.objects.count() == entries + 1
        assert newest.result == "DENIED"
        assert newest.action in {actions.REQUEST_DECIDE_DENIED, actions.TASK_COMPLETE_DENIED}


@pytest.mark.django_db
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("outcome", ["PASS", "FAIL"])
def test_every_way_lets_whoever_may(outcome, way):
    """The counterpart: what is refused above is refused for the reason in its name."""
    request, who = asked(), lea()
    refused = WAYS[way](who, request)(outcome=outcome, reason="as I see it")

    if (way, outcome) == ("slack", "FAIL"):
        assert refused == "Open to review: Say why you reject."
        return
    assert refused == ""
    held = reloaded(request)
    assert (held.state, held.decided_by, held.votes.get().outcome) == (
        "fulfilled" if outcome == "PASS" else "rejected", who, outcome,
    )  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["agent", "service"])
def test_programs_decide_nothing_on_any_way_that_they_can_come(kind, api_for):
    from tests.people import service

    who = agent("robot", LEGAL) if kind == "agent" else service("robot", LEGAL)
    request = asked()
    for act, body in (("fulfill", {}), ("reject", {"reason": "no"})):
        assert api_for(who).post(f"/hitl/requests/{request.pk}/{act}", body).status_code == 403
    assert reloaded(request).state == "pending"
