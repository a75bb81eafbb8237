# SPDX-License-Identifier: Apache-2.0
"""Odd texts in every field of the forms that people send: taken as they are or refused, and never a fault of ours."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.db import transaction
from django.test import Client

from approvals import links
from approvals.asking import create_request
from approvals.models import ActionRequest, ExternalSystem, Notification
from demo.cast import DOCUMENT
from playbooks.models import Playbook
from runs.intake import Ticket
from runs.models import Run
from tests.factories import PERMIT, published
from tests.people import PASSWORD

pytestmark = pytest.mark.django_db

FORM = "application/x-www-form-urlencoded"
DONE = {302, 303}
ANSWERS = DONE | {200, 400, 403, 409, 413, 422}
VALUES = (
    "",
    "+",
    "%00",
    "a%00b",
    "%FF%FE",
    "%ED%A0%80",
    "%E2%80%AE%EF%BF%BE",
    "%F0%9F%92%A9" * 300,
    "%0D%0AX-Injected%3A+1",
    "%D9%A3",
    "-1",
    "1e309",
    "NaN",
    "9" * 20,
    "9" * 5000,
    "0000-00-00",
    "10000-01-01",
    "%5B" * 2000,
    "%7B%22a%22%3A" * 2000,
    '%7B"a"%3A1%2C"a"%3A2%7D',
    "%27+OR+1%3D1+--",
    "..%2F..%2Fetc%2Fpasswd",
    "x" * 70_000,
)
APPLICATION = {
    "applicant_name": "Ana Ruiz",
    "email": "ana@example.org",
    "event_date": "2030-05-04",
    "place": "riverside-park",
    "crowd_size": "250",
    "purpose": "Clean air",
    "crowd_control_plan": "Ten stewards in yellow vests.",
    "is_true": "on",
}


WISHES = {
    "zone": "Europe/Berlin",
    "reach": "mail",
    "rhythm": "daily",
    "summary_at": "09:00",
    "quiet_from": "22:00",
    "quiet_until": "07:00",
}


def _answer_link(everybody: Any, validator: Any) -> tuple[str, dict[str, str]]:
    """A question that its reader may answer by a link, and the form behind it."""
    policy = {"assurance": {"low": "link"}}
    asked = create_request(actor=validator, role="human:police_liaison", title="Water?", severity="low", policy=policy)
    told = Notification.objects.get(request=asked, recipient=everybody)
    path = links.address_for(told).removeprefix("http://localhost:8000")
    return path, {"outcome": "FAIL", "reason": "too wet", "digest": asked.digest}


def forms(everybody: Any, validator: Any) -> dict[str, tuple[str, dict[str, str]]]:
    """Of each form its address, and what is accepted there."""
    published(json.loads(DOCUMENT.read_bytes()))
    run, playbook = Run.objects.earliest("pk"), Playbook.objects.earliest("pk")
    asked = ActionRequest.objects.earliest("created_at")
    system = ExternalSystem.objects.get()
    decision = {"revision": str(asked.revision), "digest": asked.digest, "outcome": "FAIL", "reason": "too loud"}
    seconds = {"connect_seconds": "5", "read_seconds": "5", "total_seconds": "9"}
    connector = {"url": "https://bank.example.org/pay", "method": "POST", "secret_header": "Authorization", **seconds}
    return {
        "log in": ("/admin/login/", {"username": everybody.username, "password": PASSWORD, "next": "/admin/"}),
        "apply": ("/forms/protest_permit", {**APPLICATION, "_ticket": Ticket.new("protest_permit").signed()}),
        "start": ("/admin/runs/run/start/protest_permit/", APPLICATION),
        "cancel": (f"/admin/runs/run/{run.pk}/cancel/", {"reason": "twice"}),
        "decide": (f"/admin/approvals/actionrequest/{asked.pk}/decide/", decision),
        "claim": (f"/admin/approvals/actionrequest/{asked.pk}/decide/", {"claim": "1", "reason": "so far"}),
        "playbook": ("/admin/playbooks/playbook/add/", {"text": json.dumps({**PERMIT, "id": "another"})}),
        "version": (f"/admin/playbooks/playbook/{playbook.pk}/version/", {"text": json.dumps(PERMIT)}),
        "connector": ("/admin/playbooks/connector/add/", {**connector, "name": "tests.other"}),
        "user": ("/admin/accounts/user/add/", {"username": "eve", "kind": "human", "email": "eve@example.org"}),
        "key": ("/admin/accounts/apikey/add/", {"user": str(validator.pk), "name": "night shift", "days": "30"}),
        "role": ("/admin/auth/group/add/", {"name": "agent:another"}),
        "wishes": ("/admin/approvals/preference/mine/", WISHES),
        "system": (
            "/admin/approvals/externalsystem/add/",
            {"name": "other", "secret_ref": "env:CLEARANCE_SECRET", "url": "", "title": "Other", "roles": ""},
        ),
        "link": (f"/admin/approvals/externalsystem/{system.pk}/link/", {"outside_id": "1", "username": "founder"}),
        "answer": _answer_link(everybody, validator),
    }


NAMES = (
    *("log in", "apply", "start", "cancel", "decide", "claim"),
    *("playbook", "version", "connector", "user", "key", "role"),
    *("wishes", "system", "link", "answer"),
)


@pytest.mark.parametrize("name", NAMES)
def test_an_odd_text_in_a_field_breaks_nothing(name, everything, everybody, validator, client_for):
    path, fields = forms(everybody, validator)[name]
    client = Client() if name in {"log in", "apply", "answer"} else client_for(everybody)
    accepted = sent(client, path, urlencode(fields))
    assert accepted.status_code in DONE | {200}, f"as it should be: {accepted.status_code}"

    for field in fields:
        others = urlencode({key: value for key, value in fields.items() if key != field})
        for value in VALUES:
            answer = sent(client, path, f"{others}&{quote(field)}={value}")

            assert answer.status_code in ANSWERS, f"{field}={value[:40]}: {answer.status_code}"
            assert "X-Injected" not in answer.headers
            assert not answer.headers.get("Location", "").startswith(("//", "http"))


@pytest.mark.parametrize("name", NAMES)
def test_a_form_of_another_kind_breaks_nothing_and_one_too_large_is_refused(
    name, everything, everybody, validator, client_for
):
    path, fields = forms(everybody, validator)[name]
    client = Client() if name in {"log in", "apply", "answer"} else client_for(everybody)
    body = urlencode(fields)

    for kind in ("application/json", "text/plain", "multipart/form-data", "multipart/form-data; boundary=\xff", ""):
        assert sent(client, path, body, kind).status_code in ANSWERS, kind
    assert sent(client, path, body + "&x=" + "x" * 1024 * 1024).status_code == 413
    assert sent(client, path, body + "&x" * 1001).status_code == 400


def sent(client: Client, path: str, body: str, kind: str = FORM) -> Any:
    """What is answered; what has come of it is undone."""
    with transaction.atomic():
        answer = client.generic("POST", path, body.encode("latin-1"), content_type=kind)
        transaction.set_rollback(True)
    return answer
