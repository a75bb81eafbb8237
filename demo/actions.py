# SPDX-License-Identifier: Apache-2.0
"""Service actions of the protest-permit story: charge the fee, issue the permit.

Each is called at least once and takes effect once. The fee rests on the payment system, which is given
the effect's key; the permit on files named after the key, written so that each is there whole or not at all.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
from django.conf import settings
from django.core.mail import EmailMessage

from demo.permit import Permit
from demo.screening import Calendar, in_words
from playbooks.catalogue import ActionCall, Permanent, Verdict, action

# The payment system --------------------------------------------------------------------------------------

CHARGE_TIMEOUT = httpx2.Timeout(10.0, connect=3.0)  # seconds


class FeeServiceUnavailable(Exception):
    """No usable answer: whether it charged is unknown. Asking again under the same key finds out."""


class FeeServiceBusy(Exception):
    """It asked to be left alone for a moment."""


class ChargeRefused(Permanent):
    """It will never accept this charge: the order or our set-up is wrong."""


@action("hms_ach.charge", title="Charge a fee")
def charge(call: ActionCall) -> dict[str, Any]:
    """Charge `amount` and `currency` once per effect key. A bank that declines is a verdict, not a fault."""
    if not settings.DEMO_FEE_URL:
        raise ChargeRefused("there is no payment system: set HMS_ACT_DEMO_FEE_URL to its address")
    # The reference is part of what the key stands for, so it must not change with a retry or a fork.
    reference = f"permit-fee-{call.effect_key[:16]}"
    order = {"amount": call.arguments["amount"], "currency": call.arguments["currency"], "reference": reference}
    answer = _order(order, key=call.effect_key)
    return {
        "charge_id": answer["charge_id"],
        "amount": answer["amount"],
        "currency": answer["currency"],
        "charged_at": answer["charged_at"],
    }


def _order(order: Mapping[str, str], *, key: str) -> dict[str, str]:
    try:
        # It runs on this machine: a proxy named in the environment has no business in between.
        with httpx2.Client(timeout=CHARGE_TIMEOUT, trust_env=False) as client:
            answer = client.post(f"{settings.DEMO_FEE_URL}/charges", json=order, headers={"Idempotency-Key": key})
    except httpx2.TransportError as fault:
        raise FeeServiceUnavailable(f"no answer from the payment system: {type(fault).__name__}")
    if answer.status_code in {200, 201}:
        return dict(answer.json())
    said = f"the payment system said {answer.status_code}: {answer.text[:200]}"
    if answer.status_code == 402:
        raise Verdict(said)
    if answer.status_code == 429:
        raise FeeServiceBusy(said)
    if answer.status_code >= 500:
        raise FeeServiceUnavailable(said)
    raise ChargeRefused(said)


# The permit office ---------------------------------------------------------------------------------------

STANDING_CONDITIONS = (
    "Access for ambulances, fire engines and the police stays free at all times.",
    "The crowd-control plan of the application is followed; stewards can be recognised.",
    "The crowd does not grow beyond the number stated above.",
    "The place is left clean by 22:00.",
    "This permit is carried on site and shown on request.",
)


class MailNotSent(Exception):
    """The mail could not be handed over; trying again sends it."""


@action("permits.issue", title="Write the permit and mail it")
def issue(call: ActionCall) -> dict[str, Any]:
    """Write one PDF per effect key and mail it to the applicant; a repetition returns what was issued."""
    folder = settings.VAR_DIR / "permits"
    folder.mkdir(parents=True, exist_ok=True)
    receipt = folder / f".issued-{call.effect_key}.json"
    with _alone(receipt.with_suffix(".lock")):
        if receipt.exists():
            return dict(json.loads(receipt.read_text()))
        # Here and not above: what draws pages is large, and only the process that issues a permit needs it.
        from demo.permit_pdf import render

        permit = permit_of(call)
        pdf, file = render(permit), folder / f"permit-{call.run_id}.pdf"
        _write_whole(file, pdf)
        message_id = _mail(permit, pdf, file.name, to=str(call.payload["email"]), key=call.effect_key)
        issued = {
            "permit_number": permit.number,
            "file": file.name,
            "sha256": hashlib.sha256(pdf).hexdigest(),
            "message_id": message_id,
        }
        _write_whole(receipt, json.dumps(issued).encode())
    return issued


def permit_of(call: ActionCall) -> Permit:
    application = call.payload
    place = Calendar.load().places.get(str(application["place"]))
    charged = call.data.get("Collect-Fee") or {}
    said = (call.data.get("Human-Approve") or {}).get("conditions") or ""
    return Permit(
        number=f"PP-{call.run_id:06d}",
        applicant=str(application["applicant_name"]),
        event_date=date.fromisoformat(application["event_date"]),
        place=place.name if place else str(application["place"]),
        crowd_size=int(application["crowd_size"]),
        purpose=str(application["purpose"]),
        conditions=(*STANDING_CONDITIONS, *(line.strip() for line in str(said).splitlines() if line.strip())),
        approved_by="the police liaison",
        fee=f"{charged['currency']} {charged['amount']}, charge {charged['charge_id']}" if charged else "none",
        reference=f"HMS-ACT run {call.run_id} · effect {call.effect_key[:16]}",
    )


def _mail(permit: Permit, pdf: bytes, name: str, *, to: str, key: str) -> str:
    """Hand the permit over by mail. The id is made of the key, so that a second copy can be told for one."""
    message_id = f"<{key[:32]}@permits.hms-act.invalid>"
    message = EmailMessage(
        subject=f"Your protest permit {permit.number}",
        body=(
            f"Dear {permit.applicant},\n\n"
            f"your protest at {permit.place} on {in_words(permit.event_date)} is permitted.\n"
            f"The permit is attached. Carry it on site.\n\n"
            f"Fee: {permit.fee}\n\nThe permit office\n"
        ),
        to=[to],
        attachments=[(name, pdf, "application/pdf")],
        headers={"Message-ID": message_id},
    )
    try:
        message.send()
    except OSError as fault:  # smtplib's faults are OSErrors too
        raise MailNotSent(f"the permit is written, but its mail was not sent: {fault}")
    return message_id


# Files ---------------------------------------------------------------------------------------------------


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """A worker that lost its lease may still be at it when another one begins: then this one waits."""
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _write_whole(path: Path, content: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
