# SPDX-License-Identifier: Apache-2.0
"""A process dies around the start, the release or the use of what was approved: it happens once, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from approvals import services
from approvals.models import Receipt, Spending
from config import clock
from runs.models import Run
from tests.approvals.asked import PAYMENT, approved, proposed
from tests.crash.house import begin_tick, tick_dies, until, web_dies
from tests.crash.test_calls import again, call_of
from tests.factories import PERMIT, published, reloaded

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def dies(environment, tmp_path: Path) -> Callable[..., None]:
    return lambda point, path, **call: web_dies(environment, tmp_path / "dies.log", point, path, **call)


@pytest.mark.parametrize("point", ["decide.before_commit", "decide.after_commit"])
def test_a_decision_that_starts_a_run_starts_it_once(validator, liaison, dies, point):
    published(PERMIT)
    request = proposed(validator, playbook="protest_permit", payload={"form_id": 7})
    path = f"/hitl/requests/{request.pk}/fulfill"
    decision = call_of(liaison, {"response_data": {}, "notes": "go"}, key="decision-1")

    dies(point, path, **decision)
    committed = point == "decide.after_commit"
    assert (Run.objects.count(), Receipt.objects.count(), Spending.objects.count()) == (int(committed),) * 3
    assert again(path, **decision).status_code == 200
    assert (Run.objects.count(), Receipt.objects.get().state, Spending.objects.count()) == (1, "spent", 1)


@pytest.mark.parametrize("point", ["spend.before_commit", "spend.after_commit"])
def test_a_use_whose_answer_is_lost_is_sent_again_and_counts_once(validator, liaison, dies, point):
    receipt = approved(validator, liaison)
    path = f"/hitl/requests/{receipt.request_id}/spend"
    doing = call_of(validator, {"call": "treasury.pay", "input": PAYMENT}, key="pay-1")

    dies(point, path, **doing)
    committed = point == "spend.after_commit"
    assert reloaded(receipt).state == ("spent" if committed else "ready")
    answer = again(path, **doing)
    assert (answer.status_code, answer.json()["status"]) == (200, "spent")
    assert Spending.objects.count() == 1


@pytest.mark.parametrize("point", ["release.before_commit", "release.after_commit"])
def test_a_release_in_which_the_worker_dies_carries_out_what_was_held_once(validator, liaison, environment, point):
    published(PERMIT)
    request = proposed(validator, playbook="protest_permit", payload={"form_id": 7}, policy={"hold": 1})
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    receipt = Receipt.objects.get()

    until(lambda: clock.now() >= receipt.not_before, "the end of the hold")
    tick_dies(environment, point)
    committed = point == "release.after_commit"
    assert (reloaded(receipt).state, Run.objects.count()) == (("spent", 1) if committed else ("held", 0))
    assert begin_tick(environment).wait(60) == 0
    assert (reloaded(receipt).state, Run.objects.count(), Spending.objects.count()) == ("spent", 1, 1)
