# SPDX-License-Identifier: Apache-2.0
"""The inbox: what waits for whom, in which order, and that its counts are the counts of its rows."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import asking, claiming, services
from approvals.models import ActionRequest, RequestState
from approvals.revising import revise_request
from config import clock
from runs import services as runs
from runs import stopping
from runs.models import Priority
from tests.approvals.pages import INBOX, evidence_of, page_of, read, titles
from tests.factories import PERMIT, claimed, later, published, started, steps, user, waiting_for_a_person
from tests.people import person
from tests.runs.play import LIAISON, Play, human

pytestmark = pytest.mark.django_db

# Session, user, roles, permissions, three tabs, filters, the page of rows and its number, what bars from each (votes,
# people added, revisions), badge: however many the rows.
QUERIES = 15


def asked(validator, title, role="human:police_liaison", **given):
    return asking.create_request(actor=validator, title=title, role=role, **given)


def tabs_of(response):
    return {tab.key: count for tab, count, _ in response.context["tabs"]}


def test_before_the_agents_step_has_passed_the_inbox_is_empty(validator, liaison, client_for):
    started()
    claimed(validator)

    page = client_for(liaison).get(INBOX)

    assert list(page.context["cl"].result_list) == []
    assert "All clear" in read(page).words


def test_the_inbox_lists_exactly_what_its_reader_may_decide(validator, liaison, client_for):
    waiting_for_a_person(validator)
    asked(validator, "For me")
    asked(validator, "For others", role="human:treasurer")
    services.decide(request_id=asked(validator, "Done").pk, actor=liaison, outcome="PASS")

    assert set(titles(client_for(liaison))) == {"Human Approve: protest_permit", "For me"}


def test_a_row_leads_to_the_decision_page(validator, liaison, client_for):
    request = waiting_for_a_person(validator)

    page = read(client_for(liaison).get(INBOX))

    assert page.all("a", href=page_of(request))
    assert "founder human" in page.words


def test_a_request_that_one_made_oneself_is_listed_with_the_reason_why_somebody_else_must_decide(validator, client_for):
    published()
    starter = person("starter", "human:police_liaison", "administrator")
    run = runs.start_run(actor=starter, playbook="protest_permit", payload={})
    lease = claimed(validator)
    runs.complete_task(task_id=lease.task.pk, actor=validator, token=lease.token, outcome="PASS")

    page = client_for(starter).get(INBOX)

    assert [row.run_id for row in page.context["cl"].result_list] == [run.pk]
    assert "so somebody else must decide this." in read(page).words


def test_the_most_urgent_comes_first_then_what_is_due_then_what_has_waited_longest(validator, liaison, client_for):
    asked(validator, "old")
    later(minutes=1)
    asked(validator, "new")
    due = asked(validator, "due")
    ActionRequest.objects.filter(pk=due.pk).update(due_at=clock.now() + timedelta(hours=2))
    asked(validator, "urgent", priority=Priority.CRITICAL)

    assert titles(client_for(liaison)) == ["urgent", "due", "old", "new"]


def test_what_is_due_says_how_soon_and_then_how_late(validator, liaison, client_for):
    request = asked(validator, "due")
    ActionRequest.objects.filter(pk=request.pk).update(due_at=clock.now() + timedelta(hours=2, minutes=5))
    client = client_for(liaison)

    assert "in 2\xa0hours" in read(client.get(INBOX)).text
    later(hours=5, minutes=6)
    assert "3\xa0hours late" in read(client.get(INBOX)).text
    assert "5\xa0hours" in read(client.get(INBOX)).text, "its age"


@pytest.mark.parametrize("reader", ["liaison", "auditor", "superuser"])
def test_the_count_of_every_list_is_the_number_of_its_rows(reader, validator, client_for, request, liaison):
    for number in range(4):
        asked(validator, f"waiting {number}")
    asked(validator, "for the treasurer", role="human:treasurer")
    services.decide(request_id=asked(validator, "done").pk, actor=liaison, outcome="PASS")
    run = waiting_for_a_person(validator).run
    stopping.cancel_run(run_id=run.pk, actor=run.started_by, reason="withdrawn")
    client = client_for(request.getfixturevalue(reader))

    counts = tabs_of(client.get(INBOX))
    rows = {tab: str(len(titles(client, tab=tab))) for tab in counts}

    assert counts == rows
    assert counts["to_decide"] == ("4" if reader == "liaison" else "0")


def test_the_badge_beside_the_inbox_is_the_number_of_rows_to_decide(validator, liaison, client_for):
    asked(validator, "one")
    asked(validator, "two")
    asked(validator, "elsewhere", role="human:treasurer")

    (group, *_) = client_for(liaison).get(INBOX).context["sidebar_navigation"]

    assert next((item["title"], item.get("badge")) for item in group["items"]) == ("Inbox", "2")


def test_decided_requests_stand_in_their_own_list_with_outcome_and_decider(validator, liaison, client_for):
    request = asked(validator, "Buy a domain")
    services.decide(request_id=request.pk, actor=liaison, outcome="FAIL", reason="too dear")
    client = client_for(liaison)

    page = read(client.get(INBOX, {"tab": "decided"}))

    assert titles(client) == []
    assert "Buy a domain" in page.words
    assert "Rejected by liaison" in page.words


def test_a_closed_request_leaves_the_list_at_once(validator, liaison, client_for):
    request = waiting_for_a_person(validator)
    client = client_for(liaison)
    assert len(titles(client)) == 1

    stopping.cancel_run(run_id=request.run_id, actor=request.run.started_by, reason="withdrawn")

    assert titles(client) == []
    assert len(titles(client, tab="all")) == 1


def test_a_claim_is_shown_and_hides_nothing(validator, liaison, client_for):
    deputy = person("deputy", "human:police_liaison")
    waiting_for_a_person(validator)
    claiming.claim_requests(role="human:police_liaison", actor=deputy, limit=1)

    page = client_for(liaison).get(INBOX)

    assert [row.state for row in page.context["cl"].result_list] == [RequestState.IN_REVIEW]
    assert "deputy" in read(page).words


def test_requests_are_found_by_title_and_by_id(validator, liaison, client_for):
    one, two = asked(validator, "Rent a hall"), asked(validator, "Buy a domain")
    client = client_for(liaison)

    assert titles(client, q="domain") == ["Buy a domain"]
    assert titles(client, q=one.pk) == ["Rent a hall"]
    assert titles(client, q=two.pk.upper()) == ["Buy a domain"]
    assert "Nothing matches" in read(client.get(INBOX, {"q": "zeppelin"})).words


def test_the_list_is_narrowed_by_severity_priority_state_and_playbook(validator, liaison, client_for):
    asked(validator, "grave", severity="critical")
    asked(validator, "urgent", priority=Priority.HIGH)
    waiting_for_a_person(validator, {**PERMIT, "id": "parade"})
    client = client_for(liaison)

    assert titles(client, severity__exact="critical") == ["grave"]
    assert titles(client, priority__exact=str(int(Priority.HIGH))) == ["urgent"]
    assert titles(client, playbook="parade") == ["Human Approve: parade"]
    assert titles(client, state__exact="in_review") == []


def test_the_filter_names_only_playbooks_in_which_the_reader_has_a_part(liaison, auditor, client_for):
    published()
    published(steps({"id": "pay", "role": "human:treasurer"}, id="secret_budget"))

    def offered(reader):
        (by_playbook,) = [f for f in client_for(reader).get(INBOX).context["cl"].filter_specs if f.title == "playbook"]
        return [slug for slug, _ in by_playbook.lookup_choices]

    assert offered(liaison) == ["protest_permit"]
    assert offered(auditor) == ["protest_permit", "secret_budget"]


@pytest.mark.parametrize("query", [{"tab": "nonsense"}, {"playbook": "nonsense"}, {"o": "1.-2"}, {"p": "99999999999"}])
def test_a_query_that_makes_no_sense_does_no_harm(query, validator, liaison, client_for):
    asked(validator, "still there")

    page = client_for(liaison).get(INBOX, query, follow=True)

    assert page.status_code == 200
    assert "still there" in read(page).words


def test_a_character_that_no_database_keeps_is_said_to_be_none(liaison, client_for):
    assert client_for(liaison).get(INBOX, {"q": "\x00"}).status_code == 400


def test_who_has_neither_a_role_nor_the_right_to_see_runs_has_no_inbox(staff_member, client_for):
    assert client_for(staff_member).get(INBOX).status_code == 403


def test_no_row_is_added_changed_or_deleted_by_hand(validator, liaison, superuser, client_for):
    request = asked(validator, "Buy a domain")

    for reader in (liaison, superuser):
        client = client_for(reader)
        evidence = evidence_of(request)
        assert client.get(evidence).status_code == 200
        assert client.post(evidence, {"title": "Buy a castle", "state": "fulfilled"}).status_code == 403
        assert client.post(evidence_of(request, "delete"), {"post": "yes"}).status_code == 403
        assert client.post(f"{INBOX}add/", {"title": "x"}).status_code == 403
    assert list(ActionRequest.objects.values_list("title", "state")) == [("Buy a domain", "pending")]


def test_the_evidence_shows_the_votes_and_leads_to_the_decision_page(validator, liaison, client_for):
    request = asked(validator, "Buy a domain")
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS", reason="it is ours by right")
    client = client_for(liaison)

    page = read(client.get(evidence_of(request)))
    front = client.get(evidence_of(request, "open_page"))

    assert "it is ours by right" in page.words
    assert request.digest[:16] in page.words
    assert (front.status_code, front["Location"]) == (302, page_of(request))


@pytest.mark.parametrize("page", ["change", "history", "open_page"])
def test_the_pages_of_a_request_are_found_by_its_id_as_it_is_read(page, validator, liaison, client_for):
    """Not only as the admin writes it; every other figure or letter after the `_` is another trap."""
    client = client_for(liaison)
    for request in [asked(validator, f"Request {number}") for number in range(4)]:
        answer = client.get(f"{INBOX}{request.pk}/{page}/")

        if page == "open_page":
            assert answer["Location"] == page_of(request)
        else:
            assert answer.status_code == 200
            assert request.pk in answer.content.decode()


def test_the_evidence_of_a_foreign_request_is_not_found(validator, liaison, client_for):
    foreign = asked(validator, "For others", role="human:treasurer")
    client = client_for(liaison)

    for page in ("change", "history", "open_page", "delete"):
        # The admin leads away from what is not there, without a word of what it may be.
        answer = client.get(evidence_of(foreign, page))
        assert answer.status_code in {302, 403, 404}
        assert "For others" not in answer.content.decode()


def test_the_number_of_queries_does_not_grow_with_the_rows(validator, liaison, client_for, django_assert_num_queries):
    client = client_for(liaison)
    waiting_for_a_person(validator)
    client.get(INBOX)  # what a process reads once
    queries = QUERIES + (connection.vendor == "postgresql")  # where the clock is asked for by a query
    with django_assert_num_queries(queries):
        client.get(INBOX)
    for number in range(5):
        asked(validator, f"another {number}")
        waiting_for_a_person(validator)

    with django_assert_num_queries(queries):
        rows = client.get(INBOX).context["cl"].result_list

    assert len(rows) == 11


def barring(validator, number):
    """Requests that need more to be known before it can be said who may decide: several votes, some of them given and
    voided by a change; a permission; other people than another step's."""
    two = {"required_approvals": 2}
    revised = asked(validator, f"Two of us {number}", policy=two)
    services.decide(request_id=revised.pk, actor=user(f"early-{number}", "human", LIAISON), outcome="PASS")
    revise_request(request_id=revised.pk, actor=validator, changes={"title": f"Both of us {number}"})
    asked(validator, f"With a permission {number}", policy={"stages": [{"rules": [{"permission": "runs.control"}]}]})
    play = Play(human("first"), human("second", policy={"distinct_from_steps": ["first"]}), id=f"apart-{number}")
    services.decide(
        request_id=play.question("first").pk, actor=user(f"first-{number}", "human", LIAISON), outcome="PASS"
    )


def test_what_bars_a_person_from_each_is_read_at_once(validator, liaison, client_for, django_assert_num_queries):
    client = client_for(liaison)
    barring(validator, 0)
    client.get(INBOX)
    with CaptureQueriesContext(connection) as few:
        client.get(INBOX)
    for number in range(1, 5):
        barring(validator, number)

    with django_assert_num_queries(len(few)):
        page = client.get(INBOX)

    assert len(page.context["cl"].result_list) == 15
