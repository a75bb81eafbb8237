# SPDX-License-Identifier: Apache-2.0
"""An act changes all it says or nothing; a refused one leaves its DENIED entry and no other trace."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django_fsm import TransitionNotAllowed

from accounts.models import User
from audit import actions, services
from audit.models import Entry, Result
from audit.services import DENIED_PER_MINUTE, SYSTEM, act, contended, record
from config import clock
from config.errors import (
    AlreadyDecided,
    Forbidden,
    Invalid,
    LeaseLost,
    NotAuthenticated,
    NotFound,
    RateLimited,
    RoleRequired,
    StaleRevision,
    WrongState,
)  # fmt: skip
from config.guard import Moved
from tests import factories
from tests.audit.lines import line

pytestmark = pytest.mark.django_db


@act(actions.USER_CHANGE_DENIED)
def rename(*, actor, user_id, name, refusal=None):
    """An act for these tests: it changes a row, records it, and may then be refused."""
    User.objects.filter(pk=user_id).update(first_name=name)
    record([line(actions.USER_ROLES_CHANGED, actor=actor)])
    if refusal is not None:
        raise refusal
    return name


def denied():
    return list(Entry.objects.filter(result=Result.DENIED).select_related("disclosure").order_by("id"))


def name_of(user):
    return User.objects.values_list("first_name", flat=True).get(pk=user.pk)


def refuse(user, refusal, **more):
    with pytest.raises(type(refusal)):
        rename(**{"actor": user, "user_id": user.pk, "name": "New", "refusal": refusal, **more})


# Refusals --------------------------------------------------------------------------------------------------


def test_an_act_that_succeeds_leaves_its_own_entries_only(liaison):
    assert rename(actor=liaison, user_id=liaison.pk, name="New") == "New"

    assert name_of(liaison) == "New"
    assert list(Entry.objects.values_list("action", flat=True)) == [actions.USER_ROLES_CHANGED]


def test_a_refused_act_changes_nothing_and_leaves_one_denied_entry(liaison):
    refuse(liaison, Forbidden("Only administrators rename people."))

    assert name_of(liaison) == ""
    (entry,) = Entry.objects.all()
    assert (entry.action, entry.result, entry.code) == ("user.change_denied", "DENIED", "forbidden")
    assert (entry.actor_id, entry.data) == (liaison.pk, {"code": "forbidden"})
    assert (entry.from_state, entry.to_state) == ("", "")
    assert entry.note == "Only administrators rename people."


@pytest.mark.parametrize(
    "kind", [Forbidden, RoleRequired, NotFound, WrongState, LeaseLost, AlreadyDecided, StaleRevision]
)
def test_what_somebody_may_not_do_is_recorded(liaison, kind):
    refuse(liaison, kind())

    assert [entry.code for entry in denied()] == [kind.code]


@pytest.mark.parametrize("kind", [Invalid, NotAuthenticated, RateLimited])
def test_a_slip_of_the_pen_is_not_recorded(liaison, kind):
    refuse(liaison, kind())

    assert denied() == []
    assert name_of(liaison) == ""


def test_a_denied_entry_is_about_the_row_that_the_refusal_names(validator):
    run = factories.started()

    refuse(validator, WrongState(subject=run))

    assert [(entry.subject_type, entry.run_id) for entry in denied()] == [("run", run.pk)]


def test_a_refusal_before_any_row_was_read_is_about_what_the_caller_named(liaison):
    @act(actions.TASK_CLAIM_DENIED)
    def claim(*, actor, task_id, role):
        raise NotFound

    with pytest.raises(NotFound):
        claim(actor=liaison, task_id=12, role="human:x")

    (entry,) = denied()
    assert (entry.subject_type, entry.subject_id, entry.task_id) == ("task", "12", 12)


@pytest.mark.parametrize("named", [2**80, -1, "Jane Roe, born 1 May", "x" * 500, "\x00"])
def test_what_the_caller_names_enters_the_log_only_if_it_looks_like_a_name(liaison, named):
    @act(actions.TASK_CLAIM_DENIED)
    def claim(*, actor, task_id):
        raise NotFound

    with pytest.raises(NotFound):
        claim(actor=liaison, task_id=named)

    (entry,) = denied()
    assert entry.task_id is None
    assert entry.subject_id in {"", str(named)}
    assert "Jane" not in entry.subject_id
    assert len(entry.subject_id) <= 40


def test_an_act_without_an_actor_is_the_products_own(liaison):
    @act(actions.TASK_RELEASE_DENIED)
    def sweep():
        raise WrongState

    with pytest.raises(WrongState):
        sweep()

    assert [entry.actor_type for entry in denied()] == ["system"]


def test_a_transition_that_its_row_does_not_allow_is_a_refusal():
    run = factories.started()

    @act(actions.RUN_CANCEL_DENIED)
    def dequeue(*, actor):
        run.dequeue(at=clock.now())

    with pytest.raises(WrongState) as refused:
        dequeue(actor=SYSTEM)

    assert isinstance(refused.value.__cause__, TransitionNotAllowed)
    assert [(entry.code, entry.run_id) for entry in denied()] == [("wrong_state", run.pk)]


def test_only_registered_names_stand_for_refusals():
    with pytest.raises(AssertionError, match="not a registered action"):
        act("user.change_forgotten")


# Acts within acts and within others' transactions ----------------------------------------------------------


@act(actions.RUN_CANCEL_DENIED)
def rename_twice(*, actor, user_id, refusal=None):
    rename(actor=actor, user_id=user_id, name="First")
    rename(actor=actor, user_id=user_id, name="Second", refusal=refusal)


def test_an_act_within_an_act_is_part_of_it(liaison):
    with pytest.raises(Forbidden):
        rename_twice(actor=liaison, user_id=liaison.pk, refusal=Forbidden())

    assert name_of(liaison) == ""
    assert [entry.action for entry in Entry.objects.all()] == [actions.RUN_CANCEL_DENIED]


@pytest.mark.django_db(transaction=True)
def test_the_denied_entry_is_committed_though_the_act_is_rolled_back(liaison):
    refuse(liaison, Forbidden())

    assert not connection.in_atomic_block
    connection.close()  # a new session sees what was committed
    assert name_of(liaison) == ""
    assert [entry.code for entry in denied()] == ["forbidden"]


@pytest.mark.django_db(transaction=True)
def test_inside_somebodys_transaction_an_act_shares_its_fate(liaison):
    with pytest.raises(Forbidden), transaction.atomic():
        rename(actor=liaison, user_id=liaison.pk, name="New", refusal=Forbidden())
    assert denied() == []

    with transaction.atomic():
        refuse(liaison, Forbidden())
    assert [entry.code for entry in denied()] == ["forbidden"]
    assert name_of(liaison) == ""


@pytest.mark.django_db(transaction=True)
def test_an_act_called_after_the_commit_is_an_act_of_its_own(liaison):
    seen = []

    def afterwards():
        refuse(liaison, Forbidden())
        seen.append(connection.in_atomic_block)

    @act(actions.RUN_CANCEL_DENIED)
    def first(*, actor):
        transaction.on_commit(afterwards)

    first(actor=liaison)

    assert seen == [False]
    assert [entry.action for entry in denied()] == [actions.USER_CHANGE_DENIED]
    assert name_of(liaison) == ""


# A flood of refusals ---------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def nothing_unwritten(monkeypatch):
    """Row numbers come again from test to test; what one test's flood left must not be told by the next."""
    monkeypatch.setattr(services, "_suppressed", Counter())


def flood(user, kind=Forbidden, times=DENIED_PER_MINUTE + 5):
    for _ in range(times):
        refuse(user, kind())


def test_a_flood_of_refusals_does_not_fill_the_log(liaison):
    flood(liaison)

    assert len(denied()) == DENIED_PER_MINUTE


def test_a_flood_of_one_does_not_hide_the_refusals_of_another(liaison, validator):
    flood(liaison)

    refuse(validator, Forbidden())
    refuse(liaison, NotFound())

    assert [(entry.actor_name, entry.code) for entry in denied()[DENIED_PER_MINUTE:]] == [
        ("validator", "forbidden"),
        ("liaison", "not_found"),
    ]


def test_after_a_minute_the_next_refusal_says_how_many_went_unwritten(liaison):
    flood(liaison)
    clock.move(timedelta(seconds=61))

    refuse(liaison, Forbidden())
    refuse(liaison, Forbidden())

    assert [entry.data for entry in denied()[DENIED_PER_MINUTE:]] == [
        {"code": "forbidden", "suppressed": 5},
        {"code": "forbidden"},
    ]


def test_a_refusal_in_a_flood_is_refused_all_the_same(liaison):
    flood(liaison)

    refuse(liaison, Forbidden())

    assert name_of(liaison) == ""


# Guards that missed ----------------------------------------------------------------------------------------


def missing_guards(times, tries):
    @act(actions.RUN_CANCEL_DENIED)
    def move(*, actor):
        tries.append(contended())
        User.objects.filter(pk=actor.pk).update(first_name=f"try {len(tries)}")
        record([line(actor=actor)])
        if len(tries) <= times:
            raise Moved
        return "done"

    return move


def test_a_missed_guard_is_tried_again_from_the_start(liaison):
    tries = []

    assert missing_guards(2, tries)(actor=liaison) == "done"

    assert tries == [False, False, False]
    assert name_of(liaison) == "try 3"
    assert Entry.objects.count() == 1


def test_after_three_misses_the_act_locks_before_it_reads(liaison):
    tries = []

    missing_guards(3, tries)(actor=liaison)

    assert tries == [False, False, False, True]


def test_who_misses_even_then_is_told_to_read_again(liaison):
    with pytest.raises(StaleRevision):
        missing_guards(4, [])(actor=liaison)

    assert [entry.code for entry in denied()] == ["stale_revision"]
    assert name_of(liaison) == ""


def test_outside_an_act_nothing_is_contended():
    assert not contended()


# Faults that another try cures -----------------------------------------------------------------------------


@pytest.fixture
def another_session():
    """A second connection to the same database."""
    other = connection.copy()
    other.inc_thread_sharing()
    yield other
    other.close()


def read_repeatably():
    with connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def serializable(other, tries, interfere):
    """An act that loses its transaction to another session's write, as often as `interfere` says."""

    @act(actions.USER_CHANGE_DENIED)
    def change(*, actor):
        tries.append(1)
        if len(connection.savepoint_ids) == 0:
            read_repeatably()
        before = User.objects.values_list("last_name", flat=True).get(pk=actor.pk)
        if len(tries) <= interfere:
            with other.cursor() as cursor:
                cursor.execute("UPDATE accounts_user SET last_name = last_name || 'x' WHERE id = %s", [actor.pk])
        User.objects.filter(pk=actor.pk).update(last_name=before + "y")

    return change


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_serialization_failure_is_tried_again(liaison, another_session):
    tries = []

    serializable(another_session, tries, interfere=2)(actor=liaison)

    assert len(tries) == 3
    assert User.objects.get(pk=liaison.pk).last_name == "xxy"


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_serialization_failure_is_not_tried_for_ever(liaison, another_session):
    tries = []

    with pytest.raises(OperationalError, match="could not serialize"):
        serializable(another_session, tries, interfere=10)(actor=liaison)

    assert len(tries) == 3


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_a_fault_inside_somebodys_transaction_is_left_to_its_owner(liaison, another_session):
    tries = []

    with transaction.atomic():
        read_repeatably()
        with pytest.raises(OperationalError, match="could not serialize"):
            serializable(another_session, tries, interfere=1)(actor=liaison)
        transaction.set_rollback(True)

    assert len(tries) == 1


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_the_victim_of_a_deadlock_tries_again(liaison, validator, another_session):
    tries, other_holds, update = [], threading.Event(), "UPDATE accounts_user SET last_name = %s WHERE id = %s"

    def opposite_order():
        with another_session.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(update, ["other", validator.pk])
            other_holds.set()
            cursor.execute(update, ["other", liaison.pk])
            cursor.execute("COMMIT")

    opponent = threading.Thread(target=opposite_order)

    @act(actions.USER_CHANGE_DENIED)
    def change(*, actor):
        tries.append(1)
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL deadlock_timeout = '10ms'")  # so that this session finds the deadlock first
            cursor.execute(update, ["mine", liaison.pk])
            if len(tries) == 1:
                opponent.start()
                other_holds.wait(10)
                while opponent.is_alive() and not somebody_waits(cursor):
                    pass
            cursor.execute(update, ["mine", validator.pk])

    change(actor=liaison)
    opponent.join(10)

    assert len(tries) > 1
    assert {user.last_name for user in User.objects.filter(pk__in=[liaison.pk, validator.pk])} == {"mine"}


def somebody_waits(cursor):
    cursor.execute("SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted)")
    return cursor.fetchone()[0]


@pytest.fixture
def busy_database(another_session):
    """Another session holds SQLite's write lock; `release` gives it up."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA busy_timeout = 1")
    with another_session.cursor() as cursor:
        cursor.execute("BEGIN IMMEDIATE")

    def release():
        with another_session.cursor() as cursor:
            cursor.execute("ROLLBACK")

    yield release
    connection.close()  # forgets the impatience


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_a_busy_database_is_tried_again(liaison, busy_database):
    begun = []

    def release_after_the_second_try(execute, sql, params, many, context):
        if sql.startswith("BEGIN"):
            begun.append(1)
            if len(begun) == 3:
                busy_database()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(release_after_the_second_try):
        rename(actor=liaison, user_id=liaison.pk, name="New")

    assert len(begun) == 3
    assert name_of(liaison) == "New"


@pytest.mark.sqlite
@pytest.mark.django_db(transaction=True)
def test_a_database_that_stays_busy_is_not_tried_for_ever(liaison, busy_database):
    with pytest.raises(OperationalError, match="locked"):
        rename(actor=liaison, user_id=liaison.pk, name="New")

    busy_database()
    assert name_of(liaison) == ""


@pytest.mark.django_db(transaction=True)
def test_a_fault_that_another_try_does_not_cure_is_raised_at_once(liaison):
    tries = []
    faulty = {
        "sqlite": ["SELECT 1 FROM nowhere"],
        "postgresql": ["SET LOCAL statement_timeout = 1", "SELECT pg_sleep(5)"],
    }

    @act(actions.USER_CHANGE_DENIED)
    def change(*, actor):
        tries.append(1)
        with connection.cursor() as cursor:
            for statement in faulty[connection.vendor]:
                cursor.execute(statement)

    with pytest.raises(OperationalError):
        change(actor=liaison)

    assert len(tries) == 1


def test_a_fault_of_our_own_is_no_refusal(liaison):
    with pytest.raises(ZeroDivisionError):
        rename(actor=liaison, user_id=liaison.pk, name="New", refusal=ZeroDivisionError())

    assert Entry.objects.count() == 0
    assert name_of(liaison) == ""
