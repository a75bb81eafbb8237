# SPDX-License-Identifier: Apache-2.0
"""The same call sent again under its key is answered the same, and done once."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.idempotency import KEPT, forget_old
from accounts.models import IdempotentCall
from approvals.models import ActionRequest
from audit.models import Entry
from runs.models import Run
from tests.factories import later, published, reloaded, started, waiting_for_a_person
from tests.people import Api, agent, key_of, person
from tests.races import at_once

START = {"playbook": "protest_permit", "payload": {"form_id": 1}}


def keyed(client, url, body, key="k-1", method="post", **headers):
    return getattr(client, method)(url, body, headers={"Idempotency-Key": key, **headers})


@pytest.mark.django_db
class TestOneAfterTheOther:
    def test_a_start_sent_twice_is_one_run(self, validator, api_for):
        published()
        api = api_for(validator)
        first, second = keyed(api, "/acts/run", START), keyed(api, "/acts/run", START)

        assert (first.status_code, second.status_code) == (202, 202)
        assert first.json() == second.json()
        assert (first.get("Idempotency-Replayed"), second.get("Idempotency-Replayed")) == (None, "true")
        assert Run.objects.count() == 1

    def test_another_body_under_the_same_key_is_a_mistake(self, validator, api_for):
        published()
        api = api_for(validator)
        keyed(api, "/acts/run", START)
        other = keyed(api, "/acts/run", {**START, "payload": {"form_id": 2}})

        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
        assert Run.objects.count() == 1

    def test_a_key_is_its_users_own_and_its_paths_own(self, validator, administrator, api_for):
        published()
        keyed(api_for(validator), "/acts/run", START)
        keyed(api_for(administrator), "/acts/run", START)
        run = Run.objects.first()
        cancelled = keyed(api_for(administrator), f"/acts/runs/{run.pk}/cancel", {}, method="patch")

        assert cancelled.status_code == 200
        assert Run.objects.count() == 2

    def test_what_was_refused_may_be_tried_again_and_stays_in_the_log(self, validator, liaison, api_for):
        request = waiting_for_a_person(validator)
        api, url = api_for(liaison), f"/hitl/requests/{request.pk}/reject"
        refused = keyed(api, url, {"reason": ""})
        stranger = keyed(api_for(validator), url, {"reason": "x"})

        assert (refused.status_code, stranger.status_code) == (422, 403)
        assert Entry.objects.filter(result="DENIED", actor_name="validator").count() == 1
        assert keyed(api, url, {"reason": "because"}).status_code == 200

    @pytest.mark.parametrize("call", ["complete", "fail", "release"])
    def test_an_answer_lost_after_the_act_is_told_again(self, validator, api_for, call):
        started()
        api = api_for(validator)
        claim = api.post("/acts/tasks/next", {"role": "agent:validator"}).json()
        body = {"token": claim["token"], **({"outcome": "PASS"} if call == "complete" else {})}
        url = f"/acts/tasks/{claim['task']['id']}/{call}"

        first, again = keyed(api, url, body), keyed(api, url, body)

        assert first.status_code == again.status_code == 200
        assert first.json() == again.json()

    def test_a_key_must_be_printable_and_not_too_long(self, validator, api_for):
        published()
        for key in ("", "a b", "x" * 256, "é"):
            assert keyed(api_for(validator), "/acts/run", START, key=key).status_code == 422
        assert not Run.objects.exists()

    def test_claims_are_never_stored(self, validator, api_for):
        started(), started()
        api = api_for(validator)
        tasks = [keyed(api, "/acts/tasks/next", {"role": "agent:validator"}).json()["task"]["id"] for _ in range(2)]

        assert len(set(tasks)) == 2
        assert not IdempotentCall.objects.exists()

    def test_answers_are_kept_for_seven_days(self, validator, api_for):
        published()
        keyed(api_for(validator), "/acts/run", START)
        later(days=6.9)
        assert forget_old() == 0
        later(days=0.2)

        assert forget_old() == 1
        assert KEPT.days == 7

    def test_a_start_under_a_key_costs_two_statements_and_a_savepoint_more(self, validator, api_for, db):
        published()
        api = api_for(validator)
        api.post("/acts/run", START)
        with CaptureQueriesContext(connection) as plain:
            api.post("/acts/run", START)
        with CaptureQueriesContext(connection) as with_key:
            keyed(api, "/acts/run", START)
        lock_and_clock = 2 if connection.vendor == "postgresql" else 0
        assert len(with_key) - len(plain) == 4 + lock_and_clock


@pytest.mark.django_db
class TestIfMatch:
    def test_a_run_that_moved_is_not_cancelled_by_who_has_not_seen_it(self, validator, administrator, api_for):
        run = started()
        api, url = api_for(administrator), f"/acts/runs/{run.pk}"
        tag = api.get(url)["ETag"]
        claim = api_for(validator).post("/acts/tasks/next", {"role": "agent:validator"}).json()
        api_for(validator).post(
            f"/acts/tasks/{claim['task']['id']}/complete", {"token": claim["token"], "outcome": "PASS"}
        )

        stale = api.patch(f"{url}/cancel", {}, headers={"If-Match": tag})
        assert (stale.status_code, stale.json()["code"]) == (409, "stale_revision")
        assert reloaded(run).state == "running"
        fresh = api.patch(f"{url}/cancel", {}, headers={"If-Match": stale["ETag"]})
        assert fresh.status_code == 200

    def test_a_request_is_decided_as_it_was_read(self, validator, liaison, api_for):
        request = waiting_for_a_person(validator)
        api, url = api_for(liaison), f"/hitl/requests/{request.pk}"
        tag = api.get(url)["ETag"]
        api.post(f"{url}/claim", {})  # which changes nothing of what was read
        revision = {"title": "Another permit"}
        api_for(request.requester).patch(url, revision)

        assert api.post(f"{url}/fulfill", {}, headers={"If-Match": tag}).status_code == 409
        tag = api.get(url)["ETag"]
        assert api.post(f"{url}/fulfill", {}, headers={"If-Match": tag}).status_code == 200
        assert ActionRequest.objects.get().state == "fulfilled"

    def test_a_malformed_tag_is_said_to_be_so(self, validator, administrator, api_for):
        run = started()
        answer = api_for(administrator).patch(f"/acts/runs/{run.pk}/cancel", {}, headers={"If-Match": "3"})

        assert answer.status_code == 422
        assert "quotation marks" in answer.json()["detail"]

    def test_one_of_several_tags_is_enough_and_a_tag_may_hold_a_comma(self, administrator, api_for):
        run = started()
        api, url = api_for(administrator), f"/acts/runs/{run.pk}"
        tags = f'"a, b",W/"", {api.get(url)["ETag"]}'

        assert api.patch(f"{url}/cancel", {}, headers={"If-Match": '"a, b"'}).json()["code"] == "stale_revision"
        assert api.patch(f"{url}/cancel", {}, headers={"If-Match": tags}).status_code == 200

    def test_a_star_matches_whatever_is_there(self, administrator, api_for):
        run = started()
        answer = api_for(administrator).patch(f"/acts/runs/{run.pk}/cancel", {}, headers={"If-Match": "*"})

        assert answer.status_code == 200


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_eight_equal_starts_at_once_are_one_run_and_nobody_is_told_another(self):
        published()
        starter = agent("starter", "agent:validator")
        _, token = key_of(starter)

        def start():
            api = Api()
            api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
            answer = keyed(api, "/acts/run", START)
            return answer.status_code, answer.json().get("run_id", answer.json().get("code"))

        results = at_once(*[start for _ in range(8)])

        run = Run.objects.get()
        assert set(results) <= {(202, run.pk), (409, "idempotency_in_flight")}
        assert (202, run.pk) in results

    def test_a_decision_sent_twice_at_once_is_one_decision(self):
        person("liaison", "human:police_liaison")
        request = waiting_for_a_person(agent("validator", "agent:validator"))
        _, token = key_of(request.role and type(request.requester).objects.get(username="liaison"))

        def decide():
            api = Api()
            api.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
            return keyed(api, f"/hitl/requests/{request.pk}/fulfill", {"notes": "fine"}).status_code

        assert set(at_once(decide, decide)) <= {200, 409}
        assert ActionRequest.objects.get().votes.count() == 1
