# SPDX-License-Identifier: Apache-2.0
"""The hold: an approval that can be undone before it has effect, and cannot after."""

from __future__ import annotations

from datetime import timedelta

import pytest

from approvals import holding, services
from approvals.holding import TooLateToUndo
from approvals.models import ActionRequest, Receipt, Vote
from audit import actions
from audit.models import Entry
from config import clock
from config.errors import AlreadyDecided, Forbidden, NotFound, WrongState
from playbooks.services import retire_version
from runs import asking as mid_task
from runs import due, stopping
from runs.models import Run
from tests.approvals import asked
from tests.approvals.asked import PAYMENT, approved, proposed, state_of
from tests.factories import PERMIT, claimed, founder, later, published, reloaded, started, steps, tasks_of
from tests.people import agent, person

pytestmark = pytest.mark.django_db

HELD = {"hold": "10m"}


@pytest.fixture
def held(validator, liaison):
    """The approval of a proposed run, held for ten minutes."""
    published(PERMIT)
    return approved(validator, liaison, playbook="protest_permit", payload={"form_id": 7}, policy=HELD)


def sweep():
    return holding.look_at_receipts(clock.now())


def undo(receipt, actor, reason="I meant another"):
    return holding.undo(request_id=receipt.request_id, actor=actor, reason=reason)


def test_a_held_approval_is_decided_and_moves_nothing(held):
    assert (reloaded(held.request).state, held.state) == ("fulfilled", "held")
    assert held.not_before - held.minted_at == timedelta(minutes=10)
    assert not Run.objects.exists()
    assert sweep() == 0
    later(minutes=9, seconds=59)
    sweep()
    assert (state_of(held), Run.objects.count()) == ("held", 0)


def test_the_sweep_releases_it_and_it_takes_effect_by_the_clock(held, liaison, validator):
    later(minutes=10)
    sweep()

    run = Run.objects.get()
    assert (state_of(held), run.started_by, run.labels["receipt"]) == ("spent", validator, held.pk)
    released = Entry.objects.get(action=actions.RECEIPT_RELEASED)
    assert (released.actor_name, released.actor_type) == ("system", "system")
    sweep()
    assert Run.objects.count() == 1


def test_t18_undo_inside_the_hold_executes_nothing_and_asks_the_same_again(held, liaison):
    again = undo(held, liaison)

    old = reloaded(held.request)
    assert (old.state, state_of(held)) == ("superseded", "revoked")
    assert (again.supersedes, again.state, again.revision) == (old, "pending", 1)
    assert (again.title, again.action, again.policy, again.role) == (old.title, old.action, old.policy, old.role)
    assert again.digest != old.digest
    later(minutes=20)
    sweep()
    assert not Run.objects.exists()
    assert Vote.objects.filter(request=old).count() == 1
    assert Entry.objects.get(action=actions.REQUEST_SUPERSEDED).note == "I meant another"

    services.decide(request_id=again.pk, actor=liaison, outcome="PASS")
    later(minutes=10)
    sweep()
    assert Run.objects.count() == 1


def test_t18_undo_after_it_took_effect_is_refused_with_the_compensating_path(held, liaison):
    later(minutes=10)
    sweep()
    run = Run.objects.get()

    with pytest.raises(TooLateToUndo, match=rf"/acts/runs/{run.pk}/cancel.*compensate"):
        undo(held, liaison)
    assert state_of(held) == "spent"
    assert Entry.objects.get(action=actions.REQUEST_UNDO_DENIED).code == "too_late_to_undo"


def test_t18_undo_at_the_very_end_of_the_hold_is_too_late_though_nobody_swept(held, liaison):
    later(minutes=10)

    with pytest.raises(TooLateToUndo):
        undo(held, liaison)


def test_an_approval_without_a_hold_cannot_be_undone_and_says_what_can(validator, liaison):
    receipt = approved(validator, liaison)
    with pytest.raises(TooLateToUndo, match=f"/hitl/requests/{receipt.request_id}/revoke"):
        undo(receipt, liaison)


def test_who_voted_and_who_may_decide_may_undo_and_nobody_else(held, validator):
    with pytest.raises(Forbidden):
        undo(held, validator)
    with pytest.raises(NotFound):
        undo(held, agent("stranger", "agent:stranger"))
    with pytest.raises(Forbidden):
        undo(held, person("chief", is_superuser=True))
    assert undo(held, person("colleague", "human:police_liaison")).state == "pending"


def test_nothing_is_undone_twice_or_where_nothing_was_approved(held, liaison, validator):
    undo(held, liaison)
    with pytest.raises(WrongState):
        undo(held, liaison)
    request = proposed(validator)
    with pytest.raises(WrongState, match="Nothing here was approved"):
        holding.undo(request_id=request.pk, actor=liaison)


def test_a_held_decision_is_final_for_everybody_else(held):
    with pytest.raises(AlreadyDecided):
        services.decide(
            request_id=held.request_id, actor=person("other", "human:police_liaison"), outcome="FAIL", reason="no"
        )


def test_what_has_drifted_during_the_hold_is_void_when_it_ends(held):
    retire_version(actor=founder(), playbook="protest_permit", number=held.action["version"])
    later(minutes=10)
    sweep()

    assert (state_of(held), Run.objects.count()) == ("revoked", 0)
    entry = Entry.objects.get(action=actions.RECEIPT_REVOKED)
    assert (entry.result, entry.actor_type) == ("FAIL", "system")
    assert "is retired" in entry.note


# Steps ------------------------------------------------------------------------------------------------------

STEP = steps(
    {"id": "ok", "role": "human:police_liaison", "policy": {"hold": "10m"}}, {"id": "b", "role": "agent:x"}, id="held"
)


def held_step(liaison):
    run = started(STEP)
    request = ActionRequest.objects.get(run=run)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="fine")
    return run, Receipt.objects.get(request=request)


def test_a_held_human_step_waits_and_goes_on_at_the_end_of_the_hold(liaison):
    run, receipt = held_step(liaison)
    (task,) = tasks_of(run)
    assert (task.state, receipt.state) == ("awaiting_approval", "held")
    later(minutes=10)
    sweep()

    ok, after = tasks_of(run)
    assert (ok.state, ok.outcome, ok.note, after.step) == ("completed", "PASS", "fine", "b")
    assert (ok.approval["by"], state_of(receipt)) == ("liaison", "spent")


def test_an_undone_human_step_asks_again_on_the_same_task(liaison):
    run, receipt = held_step(liaison)
    again = undo(receipt, liaison)
    assert again.task == tasks_of(run)[0]
    services.decide(request_id=again.pk, actor=liaison, outcome="FAIL", reason="no")

    assert reloaded(run).state == "failed"


def test_cancelling_the_run_revokes_what_is_held_for_it(liaison):
    run, receipt = held_step(liaison)
    stopping.cancel_run(run_id=run.pk, actor=founder())

    assert state_of(receipt) == "revoked"
    later(minutes=10)
    assert sweep() == 0
    assert [task.state for task in tasks_of(run)] == ["cancelled"]


def test_a_held_answer_in_mid_task_lets_the_agent_go_on_after_the_hold(validator, liaison):
    run = started(steps({"id": "work", "role": "agent:validator", "policy": {"hold": "10m"}}, id="mid"))
    lease = claimed(validator)
    told = {"task_id": lease.task.pk, "token": lease.token, "actor": validator}
    request_id, _ = mid_task.request_approval(**told, reason="May I?", role="human:police_liaison")
    services.decide(request_id=request_id, actor=liaison, outcome="PASS")
    with pytest.raises(WrongState):
        mid_task.resume_task(**told)
    again = holding.undo(request_id=request_id, actor=liaison)
    assert mid_task.request_approval(**told, reason="May I?")[0] == again.pk
    services.decide(request_id=again.pk, actor=liaison, outcome="PASS")
    later(minutes=10)
    sweep()

    assert mid_task.resume_task(**told).task.state == "running"
    assert state_of(Receipt.objects.get(request=again)) == "spent"
    assert tasks_of(run)[0].state == "running"


def test_the_timer_of_the_worker_knows_of_receipts(held):
    assert Receipt in due.checked_models()
    later(minutes=10)
    due.sweep()
    assert Run.objects.count() == 1


def test_a_held_call_is_made_after_the_hold_with_its_input(validator, liaison):
    asked.calls.clear()
    approved(validator, liaison, call="tests.pay", input=PAYMENT, policy=HELD)
    later(minutes=10)
    due.sweep()
    assert Run.objects.get().payload == PAYMENT
