# SPDX-License-Identifier: Apache-2.0
"""`GET /acts/events`: what happens, told once and in order to whoever may see it; nothing is ever skipped."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from django.db import connection, connections, transaction

from accounts.services import revoke_key
from approvals.asking import create_request
from approvals.claiming import claim_request
from approvals.services import decide
from audit import actions, feed
from audit.models import Entry
from audit.services import SYSTEM, Line, Subject, record
from audit.visibility import entries_visible_to
from config import clock
from tests.config.web import served
from tests.contract.answers import json_of, paths_of, problem
from tests.factories import founder, waiting_for_a_person
from tests.people import agent, key_of

EVENTS = "/acts/events"
ROLE = "human:police_liaison"
EVERYTHING = feed.Wanted()


def asked(by: Any, title: str = "May I?", **more: Any) -> Any:
    return create_request(actor=by, role=ROLE, title=title, **more)


def types(document: dict[str, Any]) -> list[str]:
    return [each["type"] for each in document["results"]]


def read(api: Any, **query: Any) -> dict[str, Any]:
    """One page. Without `after`, from the beginning of the log up to its first messages: earlier tests may have drawn
    more numbers than one page looks through."""
    told = json_of(api.get(EVENTS, query))
    while "after" not in query and told["more"] and not told["results"]:
        told = json_of(api.get(EVENTS, {**query, "after": told["after"]}))
    return told


# What is told ---------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_an_event_of_a_request_names_what_agents_go_by(api_for, validator, liaison):
    request = asked(validator, "A key for the map service", request_type="api_key", workflow_id="wf-7")
    claim_request(request_id=request.pk, actor=liaison)
    answer = {"api_key": "sk_test_0123456789"}
    decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="fine", response_data=answer)

    told = read(api_for(validator), type="hitl.request.*")

    assert types(told) == ["hitl.request.created", "hitl.request.claimed", "hitl.request.fulfilled"]
    last = told["results"][-1]
    assert {name: last["data"][name] for name in last["data"] if name not in {"at"}} == {
        "actor": "liaison",
        "actor_type": "human",
        "result": "SUCCESS",
        "request_id": request.pk,
        "workflow_id": "wf-7",
        "title": "A key for the map service",
        "agent_id": "validator",
        "request_type": "api_key",
        "priority": "medium",
        "status": "fulfilled",
    }


@pytest.mark.django_db
def test_each_event_says_the_status_that_it_led_to_and_not_the_present_one(api_for, validator, liaison):
    request = asked(validator)
    decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="no")

    told = read(api_for(validator), request_id=request.pk)

    assert [each["data"]["status"] for each in told["results"]] == ["pending", "rejected"]


@pytest.mark.django_db
def test_what_people_wrote_stands_in_no_event(api_for, auditor, validator, liaison):
    request = asked(validator, description="canary-a", context={"why": "canary-b"})
    decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="canary-c", response_data={"x": "canary-d"})

    assert "canary" not in api_for(auditor).get(EVENTS).content.decode()


@pytest.mark.django_db
def test_events_of_runs_name_the_playbook(api_for, auditor, validator):
    request = waiting_for_a_person(validator)

    told = read(api_for(auditor), run_id=request.run_id, type="task.completed")

    assert [each["data"]["playbook"] for each in told["results"]] == ["protest_permit"]
    assert told["results"][0]["data"]["status"] == "completed"


# Who is told ----------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_nobody_is_told_of_what_they_may_not_see(api_for, validator, auditor):
    mine = asked(validator)
    stranger = agent("stranger", "agent:other")
    theirs = asked(stranger, "Something else")

    def requests_told(user: Any) -> set[str]:
        return {each["data"]["request_id"] for each in read(api_for(user))["results"] if "request_id" in each["data"]}

    assert requests_told(validator) == {mine.pk}
    assert requests_told(stranger) == {theirs.pk}
    assert requests_told(auditor) == {mine.pk, theirs.pk}


@pytest.mark.django_db
def test_who_sees_the_entry_and_not_the_request_reads_no_title(api_for, validator, liaison):
    request = asked(agent("stranger"), "canary")
    entry = Entry.objects.get(request_id=request.pk)
    record([Line(actions.REQUEST_DECIDE_DENIED, request.audit_subject(), validator, clock.now(), result="DENIED",
                 data={"code": "not_found"})])  # fmt: skip

    told = read(api_for(validator), after=str(entry.pk))

    assert types(told) == ["hitl.request.decide_denied"]
    assert "title" not in told["results"][0]["data"]


@pytest.mark.django_db
def test_the_feed_tells_just_the_entries_that_are_visible(validator, liaison, auditor):
    start = feed.settled()
    waiting_for_a_person(validator)
    asked(validator)
    asked(agent("stranger"))

    for user in (validator, liaison, auditor, founder()):
        told = [int(each["id"]) for each in feed.page(user, after=start, limit=1000, wanted=EVERYTHING).messages]
        assert told == sorted(entries_visible_to(user).filter(pk__gt=start).values_list("pk", flat=True))
        assert told


# Page by page ---------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_pages_hold_every_event_once_and_in_order(api_for, validator, liaison):
    for number in range(7):
        asked(validator, f"Question {number}")
    api, seen, after, more = api_for(validator), [], "0", True
    while more:
        told = read(api, after=after, limit=2)
        seen += [each["id"] for each in told["results"]]
        after, more = told["after"], told["more"]

    mine = Entry.objects.filter(actor_id=validator.pk).order_by("id").values_list("pk", flat=True)
    assert seen == [str(pk) for pk in mine]
    assert read(api, after=after) == {"results": [], "after": after, "more": False}


@pytest.mark.django_db
def test_who_may_see_little_goes_through_the_log_in_bounded_steps(monkeypatch, api_for, validator, liaison):
    monkeypatch.setattr(feed, "WINDOW", 3)
    stranger = agent("stranger")
    start = feed.settled()
    for _ in range(7):
        asked(stranger)
    mine = asked(validator)

    steps, after, told = 0, str(start), {"more": True, "results": []}
    while told["more"]:
        told, steps = read(api_for(validator), after=after), steps + 1
        after = told["after"]

    assert [each["data"]["request_id"] for each in told["results"]] == [mine.pk]
    assert steps == 3


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("after=x", "after"),
        ("after=-1", "after"),
        ("after=99999999999999999999", "after"),
        ("after=9999999999999999999", "after"),
        ("after=1&after=2", "after"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("wait=61", "wait"),
        ("type=DROP%20TABLE", "type"),
        ("type=*", "type"),
        ("typo=1", "typo"),
        ("run_id=0", "run_id"),
        ("request_id=har_x", "request_id"),
    ],
)
def test_a_query_that_cannot_be_is_refused_at_its_name(api_for, validator, query, path):
    assert paths_of(problem(api_for(validator).get(f"{EVENTS}?{query}"), 422, "invalid"))[0] == path


@pytest.mark.django_db
def test_an_empty_page_may_wait_and_a_full_one_may_not(api_for, validator):
    api, start = api_for(validator), feed.settled()
    asked(validator)
    end = read(api, after=start)["after"]

    assert "HMS-Act-Wait" not in api.get(EVENTS, {"wait": 5, "after": start}).headers
    assert api.get(EVENTS, {"wait": 5, "after": end}).headers["HMS-Act-Wait"] == "5.0"
    preferred = api.get(EVENTS, {"after": end}, headers={"Prefer": "respond-async, wait=500"})
    assert preferred.headers["HMS-Act-Wait"] == "60"
    assert preferred.headers["Preference-Applied"] == "wait=60"


@pytest.mark.django_db
def test_nobody_reads_without_a_credential(client):
    assert client.get(EVENTS).status_code == 401


# Nothing is skipped ---------------------------------------------------------------------------------------


def happened(name: str) -> int:
    """An entry of its own, in the present transaction: its number."""
    record([Line(actions.RUN_STARTED, Subject("run", name), SYSTEM, clock.now())])
    return int(Entry.objects.filter(subject_id=name).values_list("pk", flat=True)[0])


class Slow:
    """A transaction on a connection of its own that has made an entry, and ends when it is told."""

    def __init__(self, name: str, *, rolls_back: bool = False) -> None:
        self._name, self._rolls_back = name, rolls_back
        self._made, self._end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        try:
            with transaction.atomic():
                self.number = happened(self._name)
                self._made.set()
                assert self._end.wait(30)
                transaction.set_rollback(self._rolls_back)
        finally:
            connections.close_all()

    def __enter__(self) -> Slow:
        self._thread.start()
        assert self._made.wait(30)
        return self

    def end(self) -> None:
        self._end.set()
        self._thread.join(30)

    def __exit__(self, *_: object) -> None:
        self.end()


@pytest.mark.django_db(transaction=True)
@pytest.mark.postgresql
class TestTwoConnections:
    @pytest.fixture(autouse=True)
    def _a_process_that_has_just_begun(self) -> None:
        feed._marks.cache_clear()

    def test_an_entry_that_is_committed_after_a_later_one_is_not_skipped(self, auditor):
        start = feed.settled()
        with Slow("first") as slow:
            later_number = happened("second")
            assert later_number > slow.number
            held_back = feed.page(auditor, after=start, limit=100, wanted=EVERYTHING)
            assert held_back.messages == [], "the second one may not be told before the first"
            slow.end()
        told = feed.page(auditor, after=held_back.after, limit=100, wanted=EVERYTHING)

        assert [int(each["id"]) for each in told.messages] == [slow.number, later_number]

    def test_a_number_that_was_never_used_holds_up_nobody(self, auditor):
        start = feed.settled()
        with Slow("gone", rolls_back=True) as slow:
            kept = happened("kept")
            slow.end()
        told = feed.page(auditor, after=start, limit=100, wanted=EVERYTHING)

        assert [int(each["id"]) for each in told.messages] == [kept]

    def test_the_feed_goes_on_while_others_write_without_a_pause(self):
        """One slow transaction after the other, always overlapping: there is no moment without a writer."""
        feed.settled()
        previous = Slow("0").__enter__()
        for number in range(1, 6):
            feed.settled()
            following = Slow(str(number)).__enter__()
            previous.end()
            assert feed.settled() >= previous.number, "what ended is told, though another is writing"
            previous = following
        previous.end()
        assert feed.settled() >= previous.number

    def test_a_process_that_has_just_begun_waits_no_longer_than_it_must(self):
        happened("before")
        with Slow("open"):
            began = time.monotonic()
            assert feed.settled() == 0, "it cannot know yet"
            assert time.monotonic() - began < 1


@pytest.mark.django_db(transaction=True)
def test_readers_beside_racing_writers_meet_every_entry(auditor):
    """Four writers whose transactions end in another order than they drew their numbers."""
    start = feed.settled()

    def write(writer: int) -> None:
        try:
            for number in range(15):
                with transaction.atomic():
                    happened(f"{writer}-{number}")
                    if connection.vendor == "postgresql":
                        time.sleep((writer * 7 + number * 3) % 5 / 500)
        finally:
            connections.close_all()

    writers = [threading.Thread(target=write, args=[writer]) for writer in range(4)]
    for writer in writers:
        writer.start()
    seen: list[int] = []
    place, last = start, False
    while True:
        ended = not any(writer.is_alive() for writer in writers)
        told = feed.page(auditor, after=place, limit=10, wanted=EVERYTHING)
        seen += [int(each["id"]) for each in told.messages]
        place = told.after
        if last and told.is_last:
            break
        last = ended
        time.sleep(0.002)

    assert seen == list(Entry.objects.filter(pk__gt=start).order_by("id").values_list("pk", flat=True))
    assert len(seen) == 60


# The stream -----------------------------------------------------------------------------------------------


@pytest.fixture
def web(process_environment: dict[str, str], tmp_path: Any) -> Iterator[httpx2.Client]:
    with served(process_environment, tmp_path / "web.log") as client:
        yield client


def stream_headers(user: Any, **more: str) -> dict[str, str]:
    _, token = key_of(user)
    return {"Authorization": f"Bearer {token}", "Accept": "text/event-stream", **more}


def messages(lines: Iterator[str], count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in lines:
        if line.startswith("data: "):
            found.append(json.loads(line.removeprefix("data: ")))
        if len(found) == count:
            break
    return found


def soon(act: Callable[[], object]) -> None:
    """Do it in a moment, on another connection, while the reader waits."""

    def run() -> None:
        time.sleep(0.7)  # real time: the server is another process
        try:
            act()
        finally:
            connections.close_all()

    threading.Thread(target=run).start()


@pytest.mark.django_db(transaction=True)
@pytest.mark.once
class TestStream:
    def test_it_tells_what_happens_while_it_is_open(self, web, validator, liaison):
        before = asked(validator, "Long ago")
        with web.stream("GET", EVENTS, headers=stream_headers(validator)) as answer:
            assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert "HMS-Act-Follow" not in answer.headers
            lines = answer.iter_lines()
            next(lines)
            soon(lambda: decide(request_id=before.pk, actor=liaison, outcome="PASS"))
            (told,) = messages(lines, 1)

        assert told["type"] == "hitl.request.fulfilled", "without a place to begin at, it begins now"
        assert told["data"]["title"] == "Long ago"

    def test_it_goes_on_where_its_reader_was(self, web, validator, liaison):
        request = asked(validator, "First")
        first = Entry.objects.get(request_id=request.pk)
        decide(request_id=request.pk, actor=liaison, outcome="PASS")
        headers = stream_headers(validator, **{"Last-Event-ID": str(first.pk)})

        with web.stream("GET", f"{EVENTS}?type=hitl.request.*", headers=headers) as answer:
            lines = answer.iter_lines()
            soon(lambda: asked(validator, "Second"))
            told = messages(lines, 2)

        assert [(each["type"], each["data"]["title"]) for each in told] == [
            ("hitl.request.fulfilled", "First"),
            ("hitl.request.created", "Second"),
        ]

    def test_a_key_that_is_revoked_ends_it(self, web, validator):
        key, token = key_of(validator)
        headers = {"Authorization": f"Bearer {token}", "Accept": "text/event-stream"}
        with web.stream("GET", EVENTS, headers=headers) as answer:
            lines = answer.iter_lines()
            next(lines)
            revoke_key(token_key=key.token_key, actor=SYSTEM, reason="lost")
            assert [line for line in lines if line.startswith("data")] == []

    def test_many_streams_hold_up_no_other_call(self, web, validator):
        headers = stream_headers(validator)
        streams = [web.stream("GET", EVENTS, headers=headers) for _ in range(5)]
        for each in streams:
            next(each.__enter__().iter_lines())
        began = time.monotonic()
        assert web.get("/acts/runs", headers={**headers, "Accept": "application/json"}).status_code == 200
        assert time.monotonic() - began < 3
        for each in streams:
            each.__exit__(None, None, None)

    def test_a_page_that_waits_is_answered_at_the_first_event(self, web, validator, liaison):
        headers = {**stream_headers(validator), "Accept": "application/json"}
        end = web.get(EVENTS, headers=headers).json()["after"]
        began = time.monotonic()
        soon(lambda: asked(validator, "Now"))

        answer = web.get(EVENTS, params={"after": end, "wait": 40}, headers=headers)

        assert [each["data"]["title"] for each in answer.json()["results"]] == ["Now"]
        assert time.monotonic() - began < 10
