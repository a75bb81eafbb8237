# SPDX-License-Identifier: Apache-2.0
"""Who may see which entries: their own, those that a rule of a room above lets them see, or all."""

import pytest
from django.db.models import Q

from approvals.asking import create_request
from audit import actions, visibility
from audit.models import Entry
from audit.services import Subject
from tests import factories, people
from tests.audit.lines import recorded

pytestmark = pytest.mark.django_db


@pytest.fixture
def no_rules(monkeypatch):
    """The rooms above have said nothing."""
    monkeypatch.setattr(visibility, "_rules", [])


def of_run(run_id, **more):
    return recorded(subject=Subject("run", str(run_id), run_id=run_id), **more)


def seen_by(user):
    return set(visibility.entries_visible_to(user).values_list("pk", flat=True))


def test_without_a_rule_people_see_what_they_did_themselves(no_rules, liaison, validator):
    own = recorded(actor=liaison)
    recorded(actor=validator)
    recorded()

    assert seen_by(liaison) == {own.pk}


def test_a_rule_adds_what_it_lets_its_reader_see(no_rules, liaison, validator):
    own, other = of_run(1, actor=liaison), of_run(7, actor=validator)
    of_run(8, actor=validator)

    visibility.allow(lambda user: Q(run_id=7) if user.pk == liaison.pk else Q(pk__in=[]))

    assert seen_by(liaison) == {own.pk, other.pk}
    assert other.pk in seen_by(validator)


def test_a_rule_given_twice_is_one(no_rules):
    def rule(user):
        return Q(run_id=7)

    visibility.allow(rule)
    visibility.allow(rule)

    assert visibility._rules == [rule]


def test_who_may_see_a_run_sees_its_entries_and_those_of_its_requests(validator, liaison):
    request = factories.waiting_for_a_person(validator)
    own = set(Entry.objects.filter(run_id=request.run_id).values_list("pk", flat=True))
    other_run = factories.started(factories.steps({"id": "other", "role": "agent:other"}))

    assert own <= seen_by(liaison)
    assert own <= seen_by(validator)
    assert Entry.objects.filter(run_id=other_run.pk).exists()
    assert not seen_by(validator) & set(Entry.objects.filter(run_id=other_run.pk).values_list("pk", flat=True))


def test_who_asked_outside_any_run_sees_the_entries_of_their_request(validator, liaison):
    asked = create_request(actor=validator, title="A key?", role="human:police_liaison")
    about = set(Entry.objects.filter(request_id=asked.pk).values_list("pk", flat=True))

    assert about
    assert about <= seen_by(validator)
    assert about <= seen_by(liaison)
    assert not about & seen_by(people.agent("stranger", "agent:other"))


def test_an_auditor_sees_all(no_rules, auditor, validator):
    entries = {recorded().pk, recorded(actor=validator).pk}

    assert entries <= seen_by(auditor)


def test_the_log_of_a_run_is_in_order_and_brings_what_was_said(django_assert_num_queries):
    first, second = of_run(7, note="first"), of_run(7)
    of_run(8)

    with django_assert_num_queries(1):
        assert [(entry.pk, entry.note) for entry in visibility.entries_of_run(7)] == [
            (first.pk, "first"),
            (second.pk, ""),
        ]


def test_the_log_of_a_request_is_in_order_and_brings_what_was_said(django_assert_num_queries):
    def of_request(request_id, note):
        return recorded(
            actions.REQUEST_CREATED, subject=Subject("request", request_id, request_id=request_id), note=note
        )

    first, second = of_request("har_000000000001", "a"), of_request("har_000000000001", "b")
    of_request("har_000000000002", "c")

    with django_assert_num_queries(1):
        found = [(entry.pk, entry.note) for entry in visibility.entries_of_request("har_000000000001")]
    assert found == [(first.pk, "a"), (second.pk, "b")]
