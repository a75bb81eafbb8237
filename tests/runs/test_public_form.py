# SPDX-License-Identifier: Apache-2.0
"""The public form of a playbook: who sees it, what it accepts, and that one form starts one run."""

from __future__ import annotations

import re
import threading
from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core import signing
from django.db import connections
from django.test import Client

from accounts.models import User
from audit.models import Entry
from playbooks.models import Version
from playbooks.parse import parse_data
from playbooks.services import create_playbook, publish_version, retire_version
from runs import intake
from runs.models import Run
from runs.views import MAX_FORM_BYTES, SENDER

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls("runs.form_urls")]

DOCUMENT: dict[str, Any] = {
    "id": "street_party",
    "title": "Street party",
    "steps": [{"id": "Look", "type": "agent", "role": "agent:reader"}],
    "payload_schema": {
        "type": "object",
        "required": ["name", "guests"],
        "properties": {
            "name": {"type": "string", "title": "Your name", "maxLength": 100},
            "guests": {"type": "integer", "title": "Guests", "minimum": 1},
            "music": {"type": "boolean", "title": "There will be music"},
        },
    },
    "web_form": {"public": True, "title": "Ask for a street party", "intro": "Tell us.", "thanks": "We will write."},
}
GOOD = {"name": "Ana Ruiz", "guests": "40"}


@pytest.fixture
def author() -> User:
    user = User.objects.create_user("author", password="x")
    names = ["write", "publish"]
    user.user_permissions.set(Permission.objects.filter(content_type__app_label="playbooks", codename__in=names))
    return user


def published(author: User, **changes: Any) -> Version:
    draft = create_playbook(actor=author, parsed=parse_data({**DOCUMENT, **changes}))
    return publish_version(actor=author, playbook=draft.playbook.slug, number=draft.number).version


@pytest.fixture
def street_party(author: User) -> Version:
    return published(author)


@pytest.fixture
def citizen() -> Client:
    return Client(enforce_csrf_checks=True)


class _Inputs(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.values: dict[str, str] = {}

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        given = dict(attrs)
        if tag == "input" and given.get("type") == "hidden":
            self.values[given["name"]] = given["value"]


def hidden_fields(page: Any) -> dict[str, str]:
    inputs = _Inputs()
    inputs.feed(page.content.decode())
    return inputs.values


def opened(citizen: Client) -> dict[str, str]:
    return hidden_fields(citizen.get("/forms/street_party"))


def test_a_form_that_is_sent_starts_a_run_and_thanks_with_its_number(street_party, citizen):
    answer = citizen.post("/forms/street_party", {**opened(citizen), **GOOD}, follow=True)

    run = Run.objects.get()
    assert run.payload == {"name": "Ana Ruiz", "guests": 40, "music": False}
    assert run.version == street_party
    assert run.started_by.username == SENDER
    assert Entry.objects.get(action="run.started").channel == "web"
    page = answer.content.decode()
    assert f"<strong>{run.pk}</strong>" in page
    assert "We will write." in page
    assert "Ana" not in page


def test_the_page_asks_nothing_of_other_hosts_and_runs_no_script(street_party, citizen):
    answer = citizen.get("/forms/street_party")
    page = answer.content.decode()
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert "default-src 'self'" in answer["Content-Security-Policy"]
    assert "<script" not in page
    assert "style=" not in page
    assert not re.search(r"(src|href|action)=.(https?:)?//", page)
    assert "no-store" in answer["Cache-Control"]


def test_faults_stand_in_a_summary_and_at_their_fields_and_what_was_typed_stays(street_party, citizen):
    answer = citizen.post("/forms/street_party", {**opened(citizen), "name": "Ana Ruiz", "guests": "0"})
    page = answer.content.decode()

    assert answer.status_code == 422
    assert "<title>Error:" in page
    assert '<a href="#id_guests">Guests: Ensure this value is greater than or equal to 1.</a>' in page
    assert 'aria-describedby="id_guests_error"' in page
    assert 'id="id_guests_error"' in page
    assert 'value="Ana Ruiz"' in page
    assert not Run.objects.exists()


def test_the_same_form_sent_twice_is_one_run(street_party, citizen):
    form = {**opened(citizen), **GOOD}
    first, second = (citizen.post("/forms/street_party", form, follow=True) for _ in range(2))

    assert Run.objects.count() == 1
    assert [page.status_code for page in (first, second)] == [200, 200]
    assert f"<strong>{Run.objects.get().pk}</strong>" in second.content.decode()


def test_the_same_form_sent_twice_at_the_same_moment_is_one_run(street_party, citizen):
    form = {**opened(citizen), **GOOD}
    together = threading.Barrier(4)
    answers = []

    def send() -> None:
        try:
            browser = Client()
            together.wait(10)
            answers.append(browser.post("/forms/street_party", form).status_code)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert answers == [302] * 4
    assert Run.objects.count() == 1


def test_two_forms_are_two_runs_even_with_equal_content(street_party, citizen):
    for _ in range(2):
        citizen.post("/forms/street_party", {**opened(citizen), **GOOD})
    assert Run.objects.count() == 2


def test_a_form_changed_after_it_was_sent_is_not_taken_for_the_first_and_asks_before_it_is_a_second(
    street_party, citizen
):
    form = {**opened(citizen), **GOOD}
    citizen.post("/forms/street_party", form)
    answer = citizen.post("/forms/street_party", {**form, "guests": "400"})

    assert answer.status_code == 422
    assert "was sent already" in answer.content.decode()
    assert Run.objects.count() == 1

    citizen.post("/forms/street_party", {**form, "guests": "400", **hidden_fields(answer)})
    assert sorted(run.payload["guests"] for run in Run.objects.all()) == [40, 400]


def test_a_ticket_that_is_old_or_forged_is_replaced_and_nothing_typed_is_lost(street_party, citizen, monkeypatch):
    form = {**opened(citizen), **GOOD}
    forged = citizen.post("/forms/street_party", {**form, "_ticket": "made-up"})
    monkeypatch.setattr(intake, "TICKET_SECONDS", -1)
    old = citizen.post("/forms/street_party", form)
    monkeypatch.undo()

    assert not Run.objects.exists()
    for answer in (forged, old):
        assert "open for more than a day" in answer.content.decode()
        assert 'value="Ana Ruiz"' in answer.content.decode()
    assert citizen.post("/forms/street_party", {**form, **hidden_fields(old)}).status_code == 302


def test_a_ticket_of_another_form_is_refused(author, citizen):
    published(author)
    published(author, id="block_party")
    ticket = opened(citizen)
    answer = citizen.post("/forms/block_party", {**ticket, **GOOD})
    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_a_program_that_fills_in_everything_starts_nothing(street_party, citizen):
    answer = citizen.post("/forms/street_party", {**opened(citizen), **GOOD, "_website": "http://spam.example"})
    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_a_form_longer_than_any_person_writes_starts_nothing(author, citizen):
    published(author, payload_schema={"type": "object", "properties": {"name": {"type": "string"}}})
    answer = citizen.post("/forms/street_party", {**opened(citizen), "name": "x" * MAX_FORM_BYTES})
    assert answer.status_code == 422
    assert not Run.objects.exists()


def test_a_post_from_another_site_is_refused(street_party, citizen):
    form = {**opened(citizen), **GOOD}
    del form["csrfmiddlewaretoken"]
    assert citizen.post("/forms/street_party", form).status_code == 403
    assert not Run.objects.exists()


@pytest.mark.parametrize(
    "web_form", [None, {"public": False}, {"title": "For staff"}], ids=["none", "not public", "public not said"]
)
def test_a_playbook_that_does_not_say_public_has_no_form(author, citizen, web_form):
    published(author, web_form=web_form)
    assert citizen.get("/forms/street_party").status_code == 404
    assert citizen.post("/forms/street_party", GOOD).status_code in {403, 404}
    assert not Run.objects.exists()


def test_neither_a_draft_nor_a_retired_version_has_a_form(author, citizen):
    create_playbook(actor=author, parsed=parse_data(DOCUMENT))
    assert citizen.get("/forms/street_party").status_code == 404

    publish_version(actor=author, playbook="street_party", number=1)
    assert citizen.get("/forms/street_party").status_code == 200

    retire_version(actor=author, playbook="street_party", number=1)
    assert citizen.get("/forms/street_party").status_code == 404


def test_the_thanks_of_others_cannot_be_found_by_counting(street_party, citizen):
    citizen.post("/forms/street_party", {**opened(citizen), **GOOD})
    number = Run.objects.get().pk
    assert citizen.get(f"/forms/thanks/{number}").status_code == 404
    assert citizen.get(f"/forms/thanks/{signing.dumps(number, salt='another')}").status_code == 404


def test_reading_a_form_changes_nothing(street_party, citizen):
    entries = Entry.objects.count()
    for method in (citizen.get, citizen.head):
        assert method("/forms/street_party").status_code == 200
    assert citizen.put("/forms/street_party").status_code in {403, 405}
    assert (Run.objects.count(), Entry.objects.count()) == (0, entries)
