# SPDX-License-Identifier: Apache-2.0
"""How often a credential may call, per scope and minute, whichever process it meets."""

import pytest

from accounts import limits
from accounts.models import RateCount
from tests.factories import later, published, started, waiting_for_a_person
from tests.people import Api, key_of
from tests.races import at_once

START = {"playbook": "protest_permit", "payload": {}}


@pytest.fixture
def three_a_minute(settings):
    settings.RATE_LIMITS = dict.fromkeys(["claim", "create", "decide", "read"], 3)


def codes(call, times):
    return [call().status_code for _ in range(times)]


@pytest.mark.django_db
@pytest.mark.usefixtures("three_a_minute")
class TestLimits:
    def test_the_call_beyond_the_limit_is_told_how_long_to_wait(self, validator, api_for):
        published()
        api = api_for(validator)
        assert codes(lambda: api.post("/acts/run", START), 3) == [202] * 3

        refused = api.post("/acts/run", START)
        assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(refused["Retry-After"]) <= 61

    def test_the_next_minute_is_a_new_one(self, validator, api_for):
        published()
        api = api_for(validator)
        wait = [api.post("/acts/run", START) for _ in range(4)][-1]["Retry-After"]
        later(seconds=int(wait))

        assert api.post("/acts/run", START).status_code == 202

    def test_scopes_are_counted_apart(self, validator, liaison, api_for):
        request = waiting_for_a_person(validator)
        started()
        agents, people = api_for(validator), api_for(liaison)

        assert codes(lambda: agents.post("/acts/tasks/next", {"role": "agent:validator"}), 4)[-1] == 429
        assert codes(lambda: agents.post("/acts/run", START), 4) == [202, 202, 202, 429]
        assert codes(lambda: agents.get("/acts/runs"), 4) == [200, 200, 200, 429]
        body = {"reason": ""}
        assert codes(lambda: people.post(f"/hitl/requests/{request.pk}/reject", body), 4) == [422, 422, 422, 429]

    def test_each_key_has_its_own_count(self, validator, api_for):
        published()
        first, second = api_for(validator), api_for(validator)

        assert codes(lambda: first.post("/acts/run", START), 4)[-1] == 429
        assert second.post("/acts/run", START).status_code == 202

    def test_nothing_is_done_by_a_call_that_is_one_too_many(self, validator, api_for):
        published()
        api = api_for(validator)
        runs = {api.post("/acts/run", START).json().get("run_id") for _ in range(6)}

        assert len(runs - {None}) == 3

    def test_zero_is_no_limit_and_costs_no_statement(self, validator, api_for, settings):
        settings.RATE_LIMITS = {**settings.RATE_LIMITS, "read": 0}
        api = api_for(validator)

        assert codes(lambda: api.get("/acts/runs"), 5) == [200] * 5
        assert not RateCount.objects.filter(scope="read").exists()

    def test_old_counts_are_forgotten(self, validator, api_for):
        api_for(validator).get("/acts/runs")
        later(minutes=3)

        assert limits.forget_old() == 1
        assert not RateCount.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_connections_at_once_count_together(settings):
    from tests.people import agent

    settings.RATE_LIMITS = dict.fromkeys(["claim", "create", "decide", "read"], 5)
    _, token = key_of(agent("validator", "agent:validator"))

    def read():
        api = Api()
        api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return api.get("/acts/runs").status_code

    answers = at_once(*[read for _ in range(12)])

    assert answers.count(200) <= 10, "at most two minutes were touched"
    assert answers.count(429) >= 2
    assert sum(row.count for row in RateCount.objects.all()) == 12
