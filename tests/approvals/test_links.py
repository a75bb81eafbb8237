# SPDX-License-Identifier: Apache-2.0
"""Links in mails: reading them changes nothing; where a policy lets them decide, they do it once, under every rule."""

from __future__ import annotations

import hashlib
import re

import pytest
from django.core import mail
from django.db import IntegrityError, connection, transaction
from django.test import Client

from accounts.models import User
from approvals import revising, services
from approvals.models import MailLink, Vote
from audit import actions
from audit.models import Entry, Result
from runs import jobs
from tests.approvals.outside import CANARY, TITLE, question
from tests.config.test_every_admin_page import content_of_the_database
from tests.factories import later, reloaded
from tests.people import person

pytestmark = pytest.mark.django_db

BY_LINK = {"assurance": {"low": "link"}}
LINK = re.compile(r"http://localhost:8000(/\S+?)[\s\"<]")


def asked_by_link(validator, **more):
    """A question of low severity that may be answered by a link, and the link that the liaison has been sent."""
    request = question(validator, severity="low", **{"policy": BY_LINK, **more})
    jobs.tick()
    return request, answer_link(mail.outbox[-1])


def answer_link(message) -> str:
    (found,) = {each for each in LINK.findall(message.body) if each.startswith("/forms/answer/")}
    return found


def links_in(message) -> set[str]:
    return set(LINK.findall(message.body)) | set(LINK.findall(str(message.alternatives[0][0])))


def answered(path: str, request, outcome: str = "PASS", **more):
    return Client().post(path, {"outcome": outcome, "digest": request.digest, "reason": "", **more})


# Reading --------------------------------------------------------------------------------------------------


def test_t01_reading_any_link_of_any_mail_changes_nothing_and_uses_nothing_up(validator, liaison, client_for):
    high = question(validator, severity="high")
    request, link = asked_by_link(validator, title="Water the plants")
    found = set.union(*(links_in(message) for message in mail.outbox))
    assert {link, f"/admin/approvals/actionrequest/{high.pk}/decide/"} <= found
    before = content_of_the_database()

    for client in (Client(), client_for(liaison)):
        before = content_of_the_database() if client.session.session_key else before
        for path in sorted(found) * 2:
            for method in ("GET", "HEAD", "OPTIONS"):
                # A browser that fetches ahead, and the guard of a mail program that opens what it has not read.
                for agent in ({"Sec-Purpose": "prefetch;prerender"}, {"User-Agent": "SafeLinks scanner"}):
                    assert client.generic(method, path, headers=agent).status_code < 500
        assert content_of_the_database() == before

    assert MailLink.objects.get().used_at is None
    assert answered(link, request).status_code == 200
    assert reloaded(request).state == "fulfilled"


def test_by_default_a_mails_link_is_that_of_the_page_which_asks_for_a_log_in(validator, liaison):
    for severity in ("low", "critical"):
        question(validator, severity=severity)
    question(validator, severity="medium", policy={"assurance": "link"})  # low alone is answered by a link
    question(validator, severity="low", policy=BY_LINK, required_fields={"key": "The key"})
    jobs.tick()

    assert not MailLink.objects.exists()
    for message in mail.outbox:
        for path in links_in(message):
            assert Client().get(path)["Location"].startswith("/admin/login/")


def test_the_page_of_a_link_shows_the_question_and_no_argument_that_the_policy_hides(validator, liaison):
    shown = {**BY_LINK, "notify": {"show": ["amount"]}}
    request, link = asked_by_link(validator, policy=shown, description="For <b>permit</b> \u202e123")
    page = Client().get(link)

    text = page.content.decode()
    assert TITLE in text
    assert "&lt;b&gt;permit&lt;/b&gt; &lt;U+202E&gt;123" in text
    assert '<dd dir="auto">40</dd>' in text
    assert CANARY not in text
    assert page["Cache-Control"].startswith("max-age=0, no-cache, no-store")
    assert page["Referrer-Policy"] == "same-origin"
    assert "script-src" not in page["Content-Security-Policy"]
    assert request.digest in text


# Deciding -------------------------------------------------------------------------------------------------


def test_a_decision_by_link_is_its_readers_and_is_recorded_as_what_it_is(validator, liaison):
    request, link = asked_by_link(validator)

    assert "Your answer is recorded" in answered(link, request).content.decode()
    vote = Vote.objects.get()
    assert (vote.voter, vote.channel, vote.assurance) == (liaison, "link", "link")
    entry = Entry.objects.get(action=actions.REQUEST_FULFILLED)
    assert (entry.actor_name, entry.channel) == ("liaison", "link")


def test_a_link_decides_once(validator, liaison):
    request, link = asked_by_link(validator)
    answered(link, request)

    for answer in (answered(link, request), Client().get(link)):
        assert answer.status_code == 410
        assert "This link is over" in answer.content.decode()
    assert Vote.objects.count() == 1
    assert Entry.objects.filter(action=actions.LINK_DENIED, result=Result.DENIED).count() == 1


def test_a_refused_answer_leaves_the_link_and_what_was_typed(validator, liaison):
    request, link = asked_by_link(validator)

    assert answered(link, request, "FAIL").status_code == 422  # a rejection says why
    assert answered(link, request, "MAYBE").status_code == 422
    assert answered(link, request, digest="0" * 64).status_code == 409
    kept = answered(link, request, "MAYBE", reason="too <loud>")
    assert "too &lt;loud&gt;" in kept.content.decode()
    assert answered(link, request, "FAIL", reason="too loud").status_code == 200
    assert reloaded(request).rejection_reason == "too loud"


def test_a_link_is_over_after_a_day(validator, liaison):
    request, link = asked_by_link(validator)
    later(hours=24, seconds=1)

    assert Client().get(link).status_code == 410
    assert answered(link, request).status_code == 410
    assert reloaded(request).is_open


def test_a_link_is_over_once_its_request_has_ended(validator, liaison):
    request, link = asked_by_link(validator)
    services.decide(request_id=request.pk, actor=liaison, outcome="PASS")
    assert answered(link, request).status_code == 410
    jobs.tick()

    assert MailLink.objects.get().revoked_at is not None
    assert answered(link, request).status_code == 410


def test_a_link_is_over_once_something_else_is_asked(validator, liaison):
    request, link = asked_by_link(validator)
    revising.revise_request(request_id=request.pk, actor=validator, changes={"context": {"amount": 900}}, reason="more")

    assert answered(link, request).status_code == 410
    jobs.tick()
    fresh = answer_link(mail.outbox[-1])
    assert fresh != link
    assert answered(fresh, reloaded(request)).status_code == 200


@pytest.mark.parametrize(("how", "status"), [("inactive", 403), ("roleless", 404), ("maker", 403)])
def test_a_link_gives_no_right_that_its_reader_has_lost_or_never_had(validator, liaison, how, status):
    asker = liaison if how == "maker" else validator  # a maker is told, and may not answer
    request, link = asked_by_link(asker)
    if how == "inactive":
        User.objects.filter(pk=liaison.pk).update(is_active=False)
    if how == "roleless":
        liaison.groups.clear()
    answer = answered(link, request)

    assert answer.status_code == status
    assert reloaded(request).is_open
    assert Entry.objects.filter(result=Result.DENIED, channel__in=["web", "link"]).exists()
    assert MailLink.objects.get().used_at is None


def test_of_a_link_only_the_digest_of_its_token_is_kept(validator, liaison, caplog):
    request, link = asked_by_link(validator)
    token = link.rpartition("/")[2]
    assert answered(link, request, "MAYBE").status_code == 422
    assert token not in caplog.text

    assert len(token) == 43  # 256 bits
    assert MailLink.objects.get().token_hash == hashlib.sha256(token.encode()).hexdigest()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names():
            cursor.execute(f'SELECT * FROM "{table}"')
            assert token not in repr(cursor.fetchall()), table


def test_each_reader_has_a_link_of_their_own(validator, liaison):
    colleague = person("colleague", "human:police_liaison")
    request = question(validator, severity="low", policy=BY_LINK)
    jobs.tick()
    found = {message.to[0]: answer_link(message) for message in mail.outbox}

    assert found[liaison.email] != found[colleague.email]
    answered(found[colleague.email], request)
    assert Vote.objects.get().voter == colleague


@pytest.mark.parametrize("path", ["/forms/answer/" + "x" * 43, "/forms/answer/short", "/forms/answer/" + "é" * 43])
def test_a_token_that_never_was_leads_nowhere(db, path):
    assert Client().get(path).status_code == 404
    assert Client().post(path, {"outcome": "PASS"}).status_code == 404


def test_a_form_on_another_site_answers_nothing(validator, liaison):
    request, link = asked_by_link(validator)
    elsewhere = Client(enforce_csrf_checks=True)

    assert elsewhere.post(link, {"outcome": "PASS", "digest": request.digest}).status_code == 403
    assert reloaded(request).is_open


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE approvals_maillink SET recipient_id = recipient_id + 1",
        "UPDATE approvals_maillink SET expires_at = '2099-01-01 00:00:00'",
        "UPDATE approvals_maillink SET used_at = NULL WHERE used_at IS NOT NULL",
        "UPDATE approvals_maillink SET revoked_at = '2099-01-01 00:00:00'",
        "DELETE FROM approvals_maillink",
    ],
)
def test_a_link_is_not_lengthened_and_a_spent_one_not_renewed(validator, liaison, change):
    request, link = asked_by_link(validator)
    answered(link, request)

    with pytest.raises(IntegrityError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(change)
