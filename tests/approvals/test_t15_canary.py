# SPDX-License-Identifier: Apache-2.0
"""A secret stands nowhere: its whole way is walked, refusals and faults included, and then everything is searched.

The same search finds a word that is no secret, in each place where it should be: it can see.
"""

from __future__ import annotations

import json
import logging
from base64 import b64encode
from html import escape
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings as django_settings
from django.contrib.sessions.models import Session
from django.core import mail
from django.core.cache import cache
from django.db import connection

from approvals.models import ActionRequest, Secret
from audit.models import Entry
from playbooks.connector_services import Terms, create_connector
from runs.jobs import tick
from runs.models import Task
from tests.approvals.pages import INBOX, evidence_of, page_of, sent
from tests.factories import claimed, later, started, steps
from tests.playbooks.loopback import listening

pytestmark = pytest.mark.django_db(transaction=True)

CORE = "sk_live_51Canary7wQ"
CANARY = f'é"{CORE}\\&<x>'  # written differently in JSON, HTML, an address and base64
PLAIN = "plain-word-4711"
FORM = {
    "type": "object",
    "properties": {
        "api_key": {"type": "string", "format": "password", "title": "Key", "minLength": 5},
        "login": {
            "type": "object",
            "properties": {"user": {"type": "string"}, "password": {"type": "string", "writeOnly": True}},
        },
        "account": {"type": "string", "title": "Account", "maxLength": 40},
    },
    "required": ["api_key", "account"],
}
ANSWER = {"api_key": CANARY, "login": {"user": "ops", "password": CANARY}, "account": PLAIN}
REQUESTS = "/hitl/requests"


def disguises(core: str) -> set[bytes]:
    """The word as it may stand in stored bytes: as it is, in hexadecimal, in UTF-16, in base64 at any offset."""
    raw = core.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), core.encode("utf-16-le"), raw[::-1]}
    for before in range(3):
        encoded = b64encode(b"\x00" * before + raw)
        found.add(encoded[4 if before else 0 : -4])
    return found


def holds(text: object, core: str) -> bool:
    raw = bytes(text) if isinstance(text, bytes | memoryview) else str(text).encode("utf-8", "surrogatepass")
    return any(disguise in raw for disguise in disguises(core))


def places_in_the_database(core: str) -> set[str]:
    """Every column of every table in which the word stands."""
    found = set()
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')
            columns = [column[0] for column in cursor.description]
            for row in cursor.fetchall():
                found |= {f"{table}.{name}" for name, value in zip(columns, row, strict=True) if holds(value, core)}
    return found


def files_with(core: str, folders: list[Path]) -> set[str]:
    files = {file for folder in folders for file in folder.rglob("*") if file.is_file()}
    return {str(file) for file in files if holds(file.read_bytes(), core)}


def places_in_memory(core: str) -> set[str]:
    """Sessions, which are stored in a form of their own, and the cache."""
    sessions = {"session" for session in Session.objects.all() if holds(json.dumps(session.get_decoded()), core)}
    return sessions | {"cache" for value in getattr(cache, "_cache", {}).values() if holds(value, core)}


def mails_with(core: str) -> list[str]:
    return [message.subject for message in mail.outbox if holds(message.message().as_bytes(), core)]


def folders() -> list[Path]:
    """Where this installation keeps files: under var, and, on SQLite, the database with its journals."""
    found = [Path(django_settings.VAR_DIR)]
    if connection.vendor == "sqlite":
        found.append(Path(connection.settings_dict["NAME"]).parent)
    return found


class Everything(logging.Handler):
    """All that is logged, by whatever logger and at whatever level, with its traceback."""

    def __init__(self):
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(args)s"))
        self.lines = []

    def emit(self, record):
        self.lines.append(self.format(record))


@pytest.fixture
def logged():
    handler, root = Everything(), logging.getLogger()
    loggers = [
        root,
        logging.getLogger("django"),
        logging.getLogger("django.db.backends"),
        logging.getLogger("django-q"),
    ]
    before = [(logger, logger.level) for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    root.addHandler(handler)
    connection.force_debug_cursor = True  # so that every statement is logged, with its values
    yield handler.lines
    connection.force_debug_cursor = False
    root.removeHandler(handler)
    for logger, level in before:
        logger.setLevel(level)


@pytest.fixture
def asked(api_for, validator):
    """The id of a request for a key, made over the API."""
    body = {
        "title": "The key of the mail provider",
        "request_type": "api_key",
        "form": FORM,
        "role": "human:police_liaison",
    }
    answer = api_for(validator).post(REQUESTS, body, HTTP_IDEMPOTENCY_KEY="asking")
    assert answer.status_code == 201, answer.content
    return answer.json()["id"]


TYPED = {"answer-api_key": CANARY, "answer-login.user": "ops", "answer-login.password": CANARY, "answer-account": PLAIN}


def test_t15_a_secret_stands_in_no_table_file_mail_page_log_or_error_report(
    asked, validator, liaison, auditor, superuser, api_for, client_for, settings, logged
):
    request, desk, browser = ActionRequest.objects.get(pk=asked), api_for(liaison), client_for(liaison)
    asker, at = api_for(validator), f"{REQUESTS}/{asked}"
    answers = []  # all that anybody was told, but for the one answer that hands the secret out

    # Refused: an answer that does not fit, on the page and over the API; a draft; a decision on something else.
    refused = sent(browser, request, "PASS", **{**TYPED, "answer-account": "x" * 41})
    assert refused.status_code == 422
    answers += [refused, desk.post(f"{at}/fulfill", {"response_data": {**ANSWER, "account": 7}})]
    answers += [desk.post(f"{at}/fulfill", {"response_data": {**ANSWER, "api_key": [CANARY]}})]
    answers += [desk.post(f"{at}/fulfill", {"response_data": ANSWER, "revision": 9})]
    answers += [desk.post(f"{at}/fulfill", {"response_data": ANSWER, "notes": f"It is {CANARY}."})]
    answers += [desk.post(f"{at}/fulfill", {"response_data": ANSWER, "outcome": "PERHAPS"})]
    answers += [asker.post(f"{at}/fulfill", {"response_data": ANSWER})]
    assert [answer.status_code for answer in answers[1:]] == [422, 422, 409, 422, 422, 403]
    draft = desk.post(f"{at}/draft", {"response_data": ANSWER, "notes": "soon"})
    assert draft.json()["response_data"] == {"account": PLAIN}
    answers += [
        draft,
        browser.post(f"{page_of(request)}draft/", {**TYPED, "reason": "soon"}),
        browser.get(page_of(request)),
    ]

    # A fault of ours in the middle of it, with and without DEBUG.
    ring, desk.raise_request_exception, browser.raise_request_exception = settings.SECRETS_KEYS, False, False
    settings.SECRETS_KEYS = (b"no key of 32 bytes",)
    for debug in (False, True):
        settings.DEBUG = debug
        answers += [sent(browser, request, "PASS", **TYPED), desk.post(f"{at}/fulfill", {"response_data": ANSWER})]
    assert [answer.status_code for answer in answers[-4:]] == [500] * 4
    settings.DEBUG, settings.SECRETS_KEYS = False, ring

    # Given on the page; and, to a second request, over the API under a key of repetition.
    given = sent(browser, request, "PASS", **TYPED)
    assert given.status_code == 303, given.content
    second = asker.post(REQUESTS, {"title": "Another", "form": FORM, "role": "human:police_liaison"}).json()["id"]
    body = {"response_data": ANSWER, "notes": "here"}
    for _ in range(2):
        answers.append(desk.post(f"{REQUESTS}/{second}/fulfill", body, HTTP_IDEMPOTENCY_KEY="giving"))
        assert answers[-1].status_code == 200, answers[-1].content
    answers.append(desk.post(f"{REQUESTS}/{second}/replace-secret", {"response_data": {"api_key": f"{CANARY}2"}}))
    assert answers[-1].status_code == 200, answers[-1].content

    # Looked at from everywhere, and mailed about.
    tick()
    for api in (asker, desk, api_for(auditor)):
        answers += [api.get(at), api.get(REQUESTS), api.get(f"{at}/comment")]
    for reader in (liaison, auditor, superuser):
        page = client_for(reader)
        answers += [page.get(page_of(request)), page.get(INBOX, {"tab": "decided"})]
        answers += [page.get(evidence_of(request)), page.get(evidence_of(request, "history"))]
        answers += [page.get("/admin/audit/entry/"), page.get("/admin/")]
    assert {answer.status_code for answer in answers if answer.status_code not in range(400, 501)} <= {200, 302, 303}
    assert [answer.content for answer in answers if holds(answer.content, CORE)] == []
    assert any(holds(answer.content, PLAIN) for answer in answers)

    everywhere_but_with_its_asker(logged, CORE)

    # Fetched once; a second time it is gone, and that is on record.
    told = asker.post(f"{at}/unwrap")
    assert told.json()["values"] == {"api_key": CANARY, "login": ANSWER["login"]}
    assert (told["Cache-Control"], told.status_code) == ("no-store", 200)
    assert asker.post(f"{at}/unwrap").status_code == 410
    assert Entry.objects.get(action="hitl.secret.unwrap_denied", result="DENIED").code == "secret_gone"
    assert Secret.objects.filter(request=asked, ciphertext__isnull=False).count() == 0

    everywhere_but_with_its_asker(logged, CORE)
    seen = places_in_the_database(PLAIN)
    assert {"approvals_actionrequest.response_data", "audit_disclosure.items"} <= seen
    assert files_with(PLAIN, folders()) or connection.vendor == "postgresql"
    assert any(holds(line, PLAIN) for line in logged)


def everywhere_but_with_its_asker(logged, core):
    assert places_in_the_database(core) == set()
    assert places_in_memory(core) == set()
    assert files_with(core, folders()) == set()
    assert mails_with(core) == []
    assert [line for line in logged if holds(line, core)] == []


ASKING = steps(
    {"id": "Ask-Key", "role": "human:police_liaison", "form": FORM},
    {"id": "Deploy", "role": "agent:validator", "call": "deploy"},
    id="deployment",
)


def test_t15_a_secret_that_a_step_asked_for_stands_in_no_row_of_its_run(
    validator, liaison, api_for, client_for, superuser, logged
):
    run = started(ASKING)
    request = ActionRequest.objects.get(run=run)
    api_for(liaison).post(f"{REQUESTS}/{request.pk}/fulfill", {"response_data": ANSWER})
    lease = claimed(validator)
    asker = api_for(validator)

    told = asker.post(f"{REQUESTS}/{request.pk}/unwrap", {"task": lease.task.pk, "token": lease.token})
    asker.post(f"/acts/tasks/{lease.task.pk}/complete", {"token": lease.token, "output": {"done": True}})

    assert told.json()["values"]["api_key"] == CANARY
    assert lease.data["Ask-Key"]["api_key"] == {"secret_of": request.pk, "field": "api_key"}
    page = client_for(superuser).get(f"/admin/runs/run/{run.pk}/change/")
    assert page.status_code == 200
    assert not holds(page.content, CORE)
    assert not holds(asker.get(f"/acts/runs/{run.pk}").content, CORE)
    everywhere_but_with_its_asker(logged, CORE)


REGISTERING = steps(
    {"id": "Ask-Key", "role": "human:police_liaison", "form": FORM},
    {
        "id": "Register",
        "role": "svc:mail",
        "call": "mail.register",
        "input": {"key": 'data["Ask-Key"].api_key', "login": 'data["Ask-Key"].login'},
        "retries": 2,
        "on_exhausted": "INCIDENT",
    },
    id="registering",
)


def repeating(heard):
    """What a service says that repeats all it was sent, as text, in JSON and in HTML."""
    key = heard.json["input"]["key"]
    return [
        (200, {"echo": key, key: [heard.json["input"]], "page": escape(key), "link": f"https://x/?key={quote(key)}"}),
        (402, f"No: {key}".encode()),
        (422, json.dumps({"detail": key}, ensure_ascii=False).encode()),
        (503, f"<p>{escape(key)}</p>{'x' * 150}{key}".encode()),
        (200, f'{{"broken": {key}'.encode()),
        None,
    ]


@pytest.mark.parametrize("number", range(6))
def test_t15_a_secret_that_a_connector_is_sent_stands_in_no_row_log_or_page(
    number, liaison, administrator, superuser, api_for, client_for, settings, logged
):
    with listening(think=lambda heard: repeating(heard)[number]) as service:
        settings.CONNECTOR_HOSTS = frozenset({("127.0.0.1", service.port)})
        terms = Terms(url=f"{service.url}/keys", verdict_statuses=(402,))
        create_connector(actor=administrator, name="mail.register", terms=terms)
        run = started(REGISTERING)
        request = ActionRequest.objects.get(run=run)
        api_for(liaison).post(f"{REQUESTS}/{request.pk}/fulfill", {"response_data": ANSWER})
        for _ in range(4):  # the call, what follows from it, another attempt, the incident
            tick()
            later(hours=2)

    (heard,) = service.heard
    assert heard.json["input"] == {"key": CANARY, "login": ANSWER["login"]}
    assert set(Secret.objects.values_list("state", flat=True)) == {"unwrapped"}
    assert Task.objects.filter(run=run, step="Register").exclude(state__in=["pending", "running"]).exists()
    page = client_for(superuser).get(f"/admin/runs/run/{run.pk}/change/")
    told = [page, api_for(superuser).get(f"/acts/runs/{run.pk}"), client_for(superuser).get("/admin/audit/entry/")]
    assert [answer.status_code for answer in told] == [200] * 3
    assert [answer.content for answer in told if holds(answer.content, CORE)] == []
    everywhere_but_with_its_asker(logged, CORE)


def test_the_search_sees_a_word_however_it_is_written():
    word = "needle-4711-needle"
    for written in (
        word,
        f"x{word}",
        word.encode().hex(),
        b64encode(f"a{word}b".encode()),
        f"ab{word}".encode("utf-16-le"),
    ):
        assert holds(written, word), written
    assert holds(b64encode(f"ab{word}cd".encode()).decode(), word)
    assert not holds("needle-4712-needle", word)
