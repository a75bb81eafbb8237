# SPDX-License-Identifier: Apache-2.0
"""An entry says who did what, when, from where and having seen what; free text is in it only as digests."""

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from audit import actions, services
from audit.canonical import canonical, commitment, leaf_hash
from audit.context import coming_from, refine
from audit.models import Disclosure, Entry, Log, Result
from audit.services import SYSTEM, Subject, log_origin, record
from tests.audit.lines import line, recorded

pytestmark = pytest.mark.django_db

TASK = Subject("task", "12", run_id=7, task_id=12, step="AI-Screen", facts={"path": "AI-Screen", "fence": 2})


def test_the_body_says_everything_and_is_hashed_as_it_is_stored(validator):
    validator.model_name = "screener-2"
    with coming_from("api", request_id="r1"):
        refine(credential="key:abc")
        entry = recorded(
            actions.TASK_COMPLETED,
            subject=TASK,
            actor=validator,
            at=datetime(2026, 3, 1, 12, 0, 0, 7, tzinfo=UTC),
            from_state="running",
            to_state="completed",
            note="All fields are there.",
            data={"outcome": "PASS"},
            private={"output": {"risk": "low"}},
            acting_for="clerk",
        )

    body = bytes(entry.body)
    assert bytes(entry.entry_hash) == leaf_hash(body)
    assert body == canonical(json.loads(body))
    content = json.loads(body)
    assert len(content.pop("commitments")) == 2
    assert content == {
        "v": 1,
        "log": log_origin(),
        "at": "2026-03-01T12:00:00.000007Z",
        "action": "task.completed",
        "result": "SUCCESS",
        "actor": {
            "type": "agent",
            "id": str(validator.pk),
            "name": "validator",
            "model": "screener-2",
            "credential": "key:abc",
            "acting_for": "clerk",
        },
        "channel": "api",
        "request": "r1",
        "subject": {"type": "task", "id": "12", "step": "AI-Screen", "path": "AI-Screen", "fence": 2},
        "run": "7",
        "task": "12",
        "action_request": None,
        "from": "running",
        "to": "completed",
        "data": {"outcome": "PASS"},
    }


def test_the_columns_repeat_the_body(validator):
    entry = recorded(subject=TASK, actor=validator, from_state="running", to_state="completed", result=Result.FAIL)

    content = entry.content
    assert (entry.action, entry.result, entry.channel) == (content["action"], content["result"], content["channel"])
    assert (entry.actor_type, entry.actor_name) == (content["actor"]["type"], content["actor"]["name"])
    assert [str(entry.actor_id), str(entry.run_id), str(entry.task_id)] == [
        content["actor"]["id"], content["run"], content["task"],
    ]  # fmt: skip
    assert (entry.subject_type, entry.subject_id) == (content["subject"]["type"], content["subject"]["id"])
    assert (entry.from_state, entry.to_state) == (content["from"], content["to"])
    assert entry.at == datetime.fromisoformat(content["at"])


def test_a_time_of_another_zone_is_recorded_in_utc():
    at = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))

    assert recorded(at=at).content["at"] == "2026-03-02T04:30:00.000000Z"


def test_a_time_without_a_zone_is_our_own_fault():
    with pytest.raises(AssertionError, match="without a time zone"):
        record([line(at=datetime(2026, 3, 1))])  # noqa: DTZ001


def test_an_act_of_the_product_itself_has_no_actor_id():
    entry = recorded(actor=SYSTEM)

    assert (entry.actor_type, entry.actor_id, entry.actor_name) == ("system", None, "system")
    assert entry.content["actor"]["id"] is None


# What is said and what is committed to ---------------------------------------------------------------------


def test_notes_and_payloads_are_not_in_the_body():
    entry = recorded(note="Jane Roe asked twice", private={"payload": {"name": "Jane Roe"}})

    assert b"Jane" not in bytes(entry.body)
    assert (entry.note, entry.disclosed["payload"]) == ("Jane Roe asked twice", {"name": "Jane Roe"})


def test_every_disclosed_value_is_one_that_the_body_commits_to():
    entry = recorded(note="why", private={"b": 1, "a": [2]})

    items = Disclosure.objects.get(entry=entry).items
    assert [(item["path"], item["class"]) for item in items] == [("note", "text"), ("b", "data"), ("a", "data")]
    assert sorted(commitment(item["disclosure"]) for item in items) == entry.content["commitments"]
    assert entry.discloses_what_it_commits_to


def test_a_disclosure_that_the_body_does_not_commit_to_is_found():
    entry = recorded(note="why")
    entry.disclosure.items[0]["disclosure"] = recorded(note="another").disclosure.items[0]["disclosure"]

    assert not entry.discloses_what_it_commits_to


def test_disclosed_values_keep_order_types_and_hostile_text():
    value = {"z": 1, "a": 1.0, "\u202ebidi": "\x00</script>", "deep": [[None, True, 2**70]]}

    entry = recorded(private={"payload": value})

    assert repr(entry.disclosed["payload"]) == repr(value)


def test_an_entry_without_words_has_no_disclosure():
    entry = recorded(data={"count": 1})

    assert not Disclosure.objects.filter(entry=entry).exists()
    assert (entry.note, entry.disclosed) == ("", {})


# Size and kind of data -------------------------------------------------------------------------------------


def test_a_body_has_at_most_64_kib():
    with pytest.raises(AssertionError, match="give the digest of large data"):
        record([line(data={"all": "x" * 64 * 1024})])


def test_large_private_values_enter_as_digests():
    entry = recorded(private={"output": "x" * 300_000})

    assert len(bytes(entry.body)) < 1000
    assert len(entry.disclosed["output"]) == 300_000


def test_row_numbers_are_texts_so_that_no_reader_rounds_them():
    entry = recorded(subject=Subject("task", str(2**62), run_id=2**62, task_id=2**62))

    assert (entry.content["run"], entry.content["task"]) == ("4611686018427387904", "4611686018427387904")
    assert entry.run_id == 2**62


def test_an_integer_that_readers_would_round_is_refused():
    with pytest.raises(ValueError):
        record([line(data={"count": 2**53})])


def test_an_action_that_nobody_registered_is_our_own_fault():
    with pytest.raises(AssertionError, match="not a registered action"):
        record([line("run.exploded")])


# Statements and transaction --------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 20])
def test_any_number_of_lines_is_written_at_once(count, django_assert_num_queries):
    log_origin()
    lines = [line(note="why", private={"n": n}) for n in range(count)]

    with django_assert_num_queries({"postgresql": 1, "sqlite": 2}[connection.vendor]):
        record(lines)


def test_lines_without_words_are_one_statement(django_assert_num_queries):
    log_origin()
    lines = [line() for _ in range(5)]

    with django_assert_num_queries(1):
        record(lines)


def test_no_lines_are_no_statement(django_assert_num_queries):
    with django_assert_num_queries(0):
        record([])


def test_lines_keep_their_order():
    before = recorded().pk
    record([line(data={"n": n}) for n in range(30)])

    assert [entry.data["n"] for entry in Entry.objects.filter(pk__gt=before).order_by("id")] == list(range(30))


def test_hundreds_of_lines_are_recorded_in_order_too():
    before = recorded().pk
    record([line(note=str(n)) for n in range(300)])

    found = Entry.objects.filter(pk__gt=before).select_related("disclosure").order_by("id")
    assert [entry.note for entry in found] == [str(n) for n in range(300)]


def test_an_entry_goes_when_the_change_it_is_about_is_rolled_back():
    before = Entry.objects.count()
    with transaction.atomic():
        recorded(note="why")
        transaction.set_rollback(True)

    assert Entry.objects.count() == before


@pytest.mark.django_db(transaction=True)
def test_outside_any_transaction_an_entry_and_its_words_are_one():
    log_origin()
    lines = [line(note="why")]
    with CaptureQueriesContext(connection) as queries:
        record(lines)

    kinds = [query["sql"].split()[0] for query in queries]
    writes = {"postgresql": ["WITH"], "sqlite": ["INSERT", "INSERT"]}
    assert kinds == ["BEGIN", *writes[connection.vendor], "COMMIT"]


# The log's origin ------------------------------------------------------------------------------------------


def test_the_origin_is_made_by_migrate_and_stands_in_every_entry():
    assert log_origin() == Log.objects.get().origin
    assert log_origin().startswith("act/")
    assert recorded().content["log"] == log_origin()


def test_migrating_again_keeps_the_origin():
    before = Log.objects.get().origin

    services.begin()

    assert Log.objects.get().origin == log_origin() == before
