# SPDX-License-Identifier: Apache-2.0
"""What is written together is written whole or not at all, in one statement or in turn, with the same rows left."""

import threading

import pytest
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext

from audit.models import Disclosure, Entry
from config.batch import Batch, in_turn, numbers
from config.guard import Moved
from runs.models import Run, Task
from tests.factories import started, steps, tasks_of

pytestmark = pytest.mark.django_db

ONE = steps({"id": "one", "role": "agent:validator"})

forms = pytest.mark.parametrize("form", ["as this database does", "in turn"])


@pytest.fixture
def run():
    return started(ONE)


@pytest.fixture(autouse=True)
def _form(request):
    if "form" in request.fixturenames and request.getfixturevalue("form") == "in turn":
        with in_turn():
            yield
    else:
        yield


def reloaded(row):
    return type(row).objects.get(pk=row.pk)


def write(batch):
    with transaction.atomic():
        batch.write()


@forms
def test_guarded_updates_and_new_rows_are_written_together(run, form):
    (task,) = tasks_of(run)
    batch = Batch()
    run.labels, task.note = {"district": "4 \u2603 'quoted' %s"}, "why"
    batch.update(run, "labels", revision=run.revision)
    batch.update(task, "note", state="pending", assignee=None)
    (number,) = numbers(Task, 1)
    batch.insert(copy_of(task, number))
    write(batch)

    assert reloaded(run).labels == {"district": "4 \u2603 'quoted' %s"}
    assert reloaded(task).note == "why"
    assert Task.objects.get(pk=number).path == "another"


def copy_of(task, number):
    left_out = {"id", "path", "state"}
    given = {f.attname: getattr(task, f.attname) for f in Task._meta.concrete_fields if f.name not in left_out}
    return Task(pk=number, path="another", **given)


@forms
@pytest.mark.parametrize("missing", ["first", "second"])
def test_one_guard_that_misses_undoes_everything(run, missing, form):
    (task,) = tasks_of(run)
    batch = Batch()
    run.labels, task.note = {"a": "b"}, "why"
    batch.update(run, "labels", revision=run.revision + (missing == "first"))
    batch.update(task, "note", fence=task.fence + (missing == "second"))
    batch.insert(Entry(**entry()))

    before = Entry.objects.count()
    with pytest.raises(Moved):
        write(batch)
    assert (reloaded(run).labels, reloaded(task).note, Entry.objects.count()) == ({}, "", before)


@forms
def test_a_miss_is_told_before_what_the_new_rows_would_break(run, form):
    (task,) = tasks_of(run)
    batch = Batch()
    batch.update(task, "note", fence=7)
    batch.insert(Task(**{f.attname: getattr(task, f.attname) for f in Task._meta.concrete_fields}))

    with pytest.raises(Moved):
        write(batch)


@forms
def test_a_disclosure_stands_beside_its_own_entry(form):
    batch = Batch()
    entries = [Entry(**entry(n)) for n in range(3)]
    batch.insert(*entries)
    for number in (2, 0):
        batch.insert_beside(Disclosure(items=[{"path": str(number)}]), entries[number])
    write(batch)

    found = Entry.objects.filter(action="run.started", actor_name="batch").order_by("id").select_related("disclosure")
    beside = [each.disclosure.items[0]["path"] if hasattr(each, "disclosure") else "" for each in found]
    assert [each.subject_id for each in found] == ["0", "1", "2"]
    assert beside == ["0", "", "2"]


def entry(number=0):
    from audit.canonical import leaf_hash
    from config import clock

    body = f'{{"n":{number}}}'.encode()
    return {
        "body": body, "entry_hash": leaf_hash(body), "at": clock.now(), "action": "run.started", "result": "SUCCESS",
        "actor_type": "system", "actor_name": "batch", "channel": "test", "subject_type": "run",
        "subject_id": str(number),
    }  # fmt: skip


MANY = pytest.mark.parametrize("count", [1, 5, 1000])


@forms
@MANY
def test_any_number_of_rows_is_added_with_what_stands_beside_them(run, count, form):
    (task,) = tasks_of(run)
    tasks = [copy_of(task, number) for number in numbers(Task, count)]
    for number, each in enumerate(tasks):
        each.path = f"check[{number}]"
        each.output = [None, {"said": "\u2603 'a' \"b\" {c} \\ %s"}, [], 0.5][number % 4]
        each.retry_delay_seconds = 2.5 if number % 2 else None
    entries = [Entry(**entry(number)) for number in range(count)]
    batch = Batch()
    batch.insert(*tasks, *entries)
    for number, each in enumerate(entries):
        batch.insert_beside(Disclosure(items=[{"path": str(number)}]), each)
    write(batch)

    for each in tasks:
        assert all(same(reloaded(each), each))
    found = Entry.objects.filter(actor_name="batch").select_related("disclosure")
    assert len(found) == count
    assert all(each.disclosure.items == [{"path": each.subject_id}] for each in found)
    assert {bytes(each.body) for each in found} == {each.body for each in entries}


def same(row, other):
    return [getattr(row, f.attname) == getattr(other, f.attname) for f in row._meta.concrete_fields]


@forms
@MANY
def test_any_number_of_rows_is_changed(run, count, form):
    tasks = waiting(run, count)
    batch = Batch()
    batch.update(run, "labels", revision=run.revision)
    for number, task in enumerate(tasks):
        task.note, task.output, task.stalled_at = f"note {number}", [None, {"n": number}][number % 2], task.created_at
        batch.update(task, "note", "output", "stalled_at", state="pending", assignee=None, fence=0)
    write(batch)

    for task in tasks:
        assert all(same(reloaded(task), task))


@forms
@pytest.mark.parametrize("missed", ["state", "assignee"])
def test_one_miss_among_a_thousand_undoes_everything(run, missed, form):
    tasks = waiting(run, 1000)
    other = {"state": "running", "assignee": run.started_by_id}
    batch = Batch()
    for number, task in enumerate(tasks):
        task.note = "changed"
        held = {"state": "pending", "assignee": None}
        batch.update(task, "note", **(held if number != 500 else {**held, missed: other[missed]}))
    batch.insert(*(Entry(**entry(number)) for number in range(10)))

    with pytest.raises(Moved):
        write(batch)
    assert not Task.objects.filter(note="changed").exists()
    assert not Entry.objects.filter(actor_name="batch").exists()


def waiting(run, count, step="check"):
    task = tasks_of(run)[0]
    tasks = [copy_of(task, number) for number in numbers(Task, count)]
    for number, each in enumerate(tasks):
        each.path = f"{step}[{number}]"
    Task.objects.bulk_create(tasks)
    return tasks


@pytest.mark.postgresql  # SQLite does not know the length of a column
@forms
def test_what_is_too_long_is_refused_and_never_cut(run, form):
    batch = Batch()
    tasks = waiting(run, 5)
    for task in tasks:
        task.role = "r" * 200
        batch.update(task, "role", state="pending")

    with pytest.raises(DataError):
        write(batch)


@pytest.mark.postgresql
@pytest.mark.parametrize("change", ["added", "changed"])
def test_the_statement_reads_the_same_whatever_the_number_of_rows(run, change, django_assert_num_queries):
    sent = set()
    for count in (5, 6, 1000):
        batch = Batch()
        if change == "added":
            batch.insert(*(Entry(**entry(number)) for number in range(count)))
        else:
            for task in waiting(run, count, f"of {count}"):
                batch.update(task, "note", state="pending")
        with django_assert_num_queries(1) as queries:
            batch.write()
        sent.add(queries[0]["sql"])

    assert len(sent) == 1


def test_rows_of_several_kinds_are_changed_kind_by_kind_the_first_first(run):
    """The run first, whose lock all others of this run wait for; then its tasks."""
    tasks = waiting(run, 6)
    batch = Batch()
    batch.update(run, "labels", revision=run.revision)
    for task in tasks[:3]:
        batch.update(task, "note", state="pending")
    batch.update(run, "priority", state="running")
    for task in tasks[3:]:
        batch.update(task, "note", state="pending")
    with CaptureQueriesContext(connection) as sent, in_turn():
        write(batch)

    changed = [query["sql"].partition('UPDATE "')[2].partition('"')[0] for query in sent]
    assert [table for table in changed if table] == ["runs_run", "runs_task", "runs_run"]


def test_numbers_drawn_are_nobody_elses(run):
    drawn = numbers(Run, 3)

    assert drawn == sorted(set(drawn))
    assert not Run.objects.filter(pk__in=drawn).exists()
    if connection.vendor == "postgresql":
        assert numbers(Run, 1)[0] > drawn[-1]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_batch_needs_no_transaction_around_it(run, django_assert_num_queries):
    run.labels = {"a": "b"}
    batch = Batch()
    batch.update(run, "labels", revision=run.revision)
    batch.insert(Entry(**entry()))
    assert not connection.in_atomic_block
    with django_assert_num_queries(1):
        batch.write()

    assert reloaded(run).labels == {"a": "b"}
    run.labels = {"c": "d"}
    missing = Batch()
    missing.insert(Entry(**entry(1)))
    missing.update(run, "labels", revision=run.revision + 1)
    with pytest.raises(Moved):
        missing.write()
    assert not Entry.objects.filter(actor_name="batch", subject_id="1").exists()


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_of_two_that_read_the_same_one_writes_and_the_other_is_told(run):
    seen, told = threading.Barrier(2), []

    def act():
        try:
            mine = Run.objects.get(pk=run.pk)
            batch = Batch()
            mine.revision += 1
            batch.update(mine, "revision", revision=mine.revision - 1)
            batch.insert(Entry(**entry()))
            seen.wait(10)
            batch.write()
        except Moved:
            told.append("moved")
        finally:
            connection.close()

    both = [threading.Thread(target=act) for _ in range(2)]
    for each in both:
        each.start()
    for each in both:
        each.join(20)

    assert told == ["moved"]
    assert reloaded(run).revision == run.revision + 1
    assert Entry.objects.filter(actor_name="batch").count() == 1
