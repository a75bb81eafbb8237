# SPDX-License-Identifier: Apache-2.0
"""The log's pages: who may open them, what they show, and that they stay fast and change nothing."""

import re

import pytest
from django.contrib.auth.models import Permission
from django.urls import reverse

from accounts import seeds
from audit import actions, admin
from audit.models import Disclosure, Entry, Result
from audit.services import Subject, record
from tests.audit.lines import line, recorded, without_triggers
from tests.people import person

pytestmark = pytest.mark.django_db

LIST = reverse("admin:audit_entry_changelist")
HOSTILE = "<script>alert(1)</script>\u202e"


def page_of(entry):
    return reverse("admin:audit_entry_change", args=[entry.pk])


def text_of(response):
    assert response.status_code == 200
    return response.content.decode()


@pytest.fixture
def reader(db):
    """May see entries, and not what was said in them."""
    user = person("reader")
    user.user_permissions.add(Permission.objects.get(codename="view_entry"))
    return user


# Who -------------------------------------------------------------------------------------------------------


def test_an_auditor_sees_the_log(auditor, client_for):
    recorded(note="Because it is complete.")

    assert "Because it is complete." in text_of(client_for(auditor).get(LIST))


@pytest.mark.parametrize("url", [LIST, f"{LIST}1/change/"])
def test_people_without_the_permission_do_not(liaison, client_for, url):
    recorded()

    assert client_for(liaison).get(url).status_code == 403


def test_what_was_said_is_for_those_who_may_see_disclosures(reader, client_for):
    entry = recorded(note="Jane asked twice", private={"payload": {"name": "Jane"}})
    client = client_for(reader)

    for url in (LIST, page_of(entry)):
        assert "run.started" in text_of(client.get(url))
        assert "Jane" not in text_of(client.get(url))


# What ------------------------------------------------------------------------------------------------------


def test_a_line_says_who_did_what_to_what_and_how_it_moved(auditor, validator, client_for):
    subject = Subject("task", "12", run_id=7, task_id=12, step="AI-Screen")
    recorded(
        actions.TASK_COMPLETED,
        actor=validator,
        subject=subject,
        from_state="running",
        to_state="completed",
        note="Fine.",
    )

    page = text_of(client_for(auditor).get(LIST))

    for words in (
        "validator (agent)",
        "task.completed",
        "task 12 (AI-Screen) of run 7",
        "running → completed",
        "Fine.",
    ):
        assert words in page


def test_the_page_of_an_entry_shows_all_of_it(auditor, validator, client_for):
    entry = recorded(
        actor=validator,
        note="First line.\nSecond line.",
        data={"outcome": "PASS"},
        private={"payload": {"z": 1, "a": 2}},
    )

    page = text_of(client_for(auditor).get(page_of(entry)))

    assert "First line.\nSecond line." in page
    assert "&quot;outcome&quot;: &quot;PASS&quot;" in page
    assert page.index("&quot;z&quot;: 1") < page.index("&quot;a&quot;: 2")
    assert bytes(entry.entry_hash).hex() in page
    assert "NOT THE HASH" not in page
    assert "NOT WHAT" not in page


def test_text_of_others_is_escaped_and_nothing_in_it_is_hidden(auditor, client_for):
    entry = recorded(note=HOSTILE, private={HOSTILE: HOSTILE}, data={"outcome": HOSTILE})

    for url in (LIST, page_of(entry)):
        page = text_of(client_for(auditor).get(url))
        assert "<script>alert" not in page
        assert "\u202e" not in page
        assert "&lt;U+202E&gt;" in page


def test_an_entry_whose_body_was_tampered_with_says_so(auditor, client_for):
    entry = recorded(note="why")
    with without_triggers():
        Entry.objects.filter(pk=entry.pk).update(body=bytes(entry.body).replace(b'"v":1', b'"v":2'))

    assert "NOT THE HASH OF THE BODY" in text_of(client_for(auditor).get(page_of(entry)))


def test_a_disclosed_value_that_was_exchanged_says_so(auditor, client_for):
    entry, other = recorded(note="why"), recorded(note="why not")
    with without_triggers():
        Disclosure.objects.filter(entry=entry).update(items=other.disclosure.items)

    assert "NOT WHAT THE ENTRY COMMITS TO" in text_of(client_for(auditor).get(page_of(entry)))


# Finding ---------------------------------------------------------------------------------------------------


@pytest.fixture
def three(validator):
    """One of run 7, one of task 12, one of a request; by three actors."""
    return [
        recorded(subject=Subject("run", "7", run_id=7), actor=validator, note="of the run"),
        recorded(subject=Subject("task", "12", run_id=9, task_id=12), actor=person("ann"), note="of the task"),
        recorded(
            subject=Subject("request", "har_00000000000a", request_id="har_00000000000a"),
            actor=person("bo"),
            note="of the request",
            result=Result.FAIL,
        ),
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("q=7", "run"),
        ("q=12", "task"),
        ("q=har_00000000000a", "request"),
        ("q=ann", "task"),
        ("q=+validator+", "run"),
        ("result__exact=FAIL", "request"),
        ("actor_type=agent", "run"),
    ],
)
def test_entries_are_found_by_actor_run_task_request_and_filter(three, auditor, client_for, query, found):
    page = text_of(client_for(auditor).get(f"{LIST}?{query}"))

    assert re.findall(r"of the (\w+)", page) == [found]


@pytest.mark.parametrize("query", ["q=nobody", f"q={10**30}", "action=run.failed", "channel=worker", "q=%F0%9F%98%80"])
def test_what_is_not_there_is_not_found(three, auditor, client_for, query):
    assert "of the run" not in text_of(client_for(auditor).get(f"{LIST}?{query}"))


def test_every_action_can_be_filtered_by(auditor, client_for):
    page = text_of(client_for(auditor).get(LIST))

    assert all(f'value="{action}"' in page for action in actions.ALL)


# Fast ------------------------------------------------------------------------------------------------------


def statements_of(client, url, django_assert_max_num_queries):
    with django_assert_max_num_queries(12) as seen:
        text_of(client.get(url))
    return len(seen)


def test_the_list_takes_the_same_few_statements_for_any_number_of_entries(
    auditor, client_for, django_assert_max_num_queries
):
    client = client_for(auditor)
    recorded(note="why")
    few = statements_of(client, LIST, django_assert_max_num_queries)

    record([line(note=f"why {n}", private={"n": n}) for n in range(40)])

    assert statements_of(client, LIST, django_assert_max_num_queries) == few


def test_the_list_counts_no_further_than_it_pages(auditor, client_for, monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(admin, "COUNTED", 3)
    record([line() for _ in range(5)])
    client = client_for(auditor)

    with django_assert_max_num_queries(12) as seen:
        page = text_of(client.get(LIST))

    counting = [query["sql"] for query in seen if "COUNT(" in query["sql"] and "audit_entry" in query["sql"]]
    assert counting
    assert all("LIMIT 3" in sql for sql in counting)
    assert page.count("/audit/entry/") >= 3


# Nothing changes -------------------------------------------------------------------------------------------


def test_not_even_a_superuser_adds_changes_or_deletes_an_entry(superuser, client_for):
    entry, client = recorded(note="why"), client_for(superuser)
    before = list(Entry.objects.values())

    answers = [
        client.get(reverse("admin:audit_entry_add")),
        client.post(page_of(entry), {"actor_name": "x"}),
        client.post(reverse("admin:audit_entry_delete", args=[entry.pk]), {"post": "yes"}),
        client.post(LIST, {"action": "delete_selected", "_selected_action": [entry.pk], "post": "yes"}),
    ]

    assert [answer.status_code for answer in answers[:3]] == [403, 403, 403]
    assert list(Entry.objects.values()) == before


def test_the_seeded_auditors_are_the_readers_of_the_log(auditor):
    assert auditor.groups.get().name == seeds.AUDITOR
    assert auditor.has_perms(["audit.view_entry", "audit.view_disclosure"])
