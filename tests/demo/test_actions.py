# SPDX-License-Identifier: Apache-2.0
"""Charging the fee and issuing the permit: at least once called, once done."""

from __future__ import annotations

import hashlib
import io
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from pypdf import PdfReader

from demo.actions import ChargeRefused, FeeServiceBusy, FeeServiceUnavailable, charge, issue
from playbooks import catalogue
from playbooks.catalogue import Verdict

CHARGED = {"Collect-Fee": {"charge_id": "ch_1", "amount": "40.00", "currency": "USD"}}


@pytest.fixture(autouse=True)
def _own_place(settings, tmp_path):
    settings.VAR_DIR = tmp_path
    settings.DEMO_FEE_URL = ""


def text_of(pdf: bytes) -> str:
    return " ".join("\n".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


def issued(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "permits").glob("*.pdf"))


def test_both_actions_are_in_the_catalogue():
    assert catalogue.find("hms_ach.charge").run is charge
    assert catalogue.find("permits.issue").run is issue


# The fee --------------------------------------------------------------------------------------------------


@pytest.fixture
def ledger(fee_server, settings):
    settings.DEMO_FEE_URL = fee_server.url
    return fee_server.ledger


def test_the_fee_is_charged_and_the_charge_is_the_output(ledger, make_call):
    output = charge(make_call())
    assert (output["amount"], output["currency"]) == ("40.00", "USD")
    assert [charged["charge_id"] for charged in ledger.all()] == [output["charge_id"]]


def test_the_same_effect_is_charged_once_however_often_it_is_tried(ledger, make_call):
    first, second = charge(make_call()), charge(make_call(attempt=2, run_id=99))
    assert first == second
    assert len(ledger.all()) == 1


def test_another_effect_is_another_charge(ledger, make_call):
    charge(make_call())
    charge(make_call(effect_key="b" * 64))
    assert len(ledger.all()) == 2


@pytest.mark.parametrize(
    ("fault", "raised"),
    [("down", FeeServiceUnavailable), ("lost", FeeServiceUnavailable), ("busy", FeeServiceBusy), ("declined", Verdict)],
)
def test_each_kind_of_no_is_told_apart_and_after_it_the_same_effect_charges_once(
    fee_server, ledger, make_call, fault, raised
):
    fee_server.add_faults(fault, 1)
    with pytest.raises(raised):
        charge(make_call())
    charge(make_call(attempt=2))
    assert len(ledger.all()) == 1


def test_what_will_never_be_accepted_is_not_tried_again(ledger, make_call):
    charge(make_call())
    with pytest.raises(ChargeRefused, match="422"):
        charge(make_call(arguments={"amount": "50.00", "currency": "USD"}))


def test_no_payment_system_at_the_address_is_a_fault_that_may_pass(settings, make_call):
    settings.DEMO_FEE_URL = "http://127.0.0.1:9"
    with pytest.raises(FeeServiceUnavailable):
        charge(make_call())


def test_no_address_of_a_payment_system_is_a_fault_of_the_set_up(make_call):
    with pytest.raises(ChargeRefused, match="HMS_ACT_DEMO_FEE_URL"):
        charge(make_call())


# The permit -----------------------------------------------------------------------------------------------


def test_the_permit_is_a_pdf_that_says_who_where_and_when(tmp_path, make_call):
    output = issue(make_call(data=CHARGED))
    pdf = (tmp_path / "permits" / output["file"]).read_bytes()
    text = text_of(pdf)

    assert output["sha256"] == hashlib.sha256(pdf).hexdigest()
    assert output["permit_number"] == "PP-000012"
    for said in ("PP-000012", "Ana Ruiz", "Saturday, 10 April 2027", "Market Square", "250", "USD 40.00", "ch_1"):
        assert said in text


def test_the_permit_is_mailed_to_the_applicant_with_the_pdf_attached(tmp_path, make_call):
    output = issue(make_call())
    (message,) = mail.outbox
    ((name, content, kind),) = message.attachments

    assert message.to == ["ana@example.org"]
    assert (name, kind) == ("permit-12.pdf", "application/pdf")
    assert content == (tmp_path / "permits" / name).read_bytes()
    assert message.message()["Message-ID"] == output["message_id"]


def test_the_same_effect_writes_one_file_and_sends_one_mail(tmp_path, make_call):
    first, second = issue(make_call()), issue(make_call(attempt=2))
    assert first == second
    assert issued(tmp_path) == ["permit-12.pdf"]
    assert len(mail.outbox) == 1


def test_two_workers_on_the_same_effect_send_one_mail(make_call):
    together = threading.Barrier(4)
    outputs: list[Any] = []

    def work() -> None:
        together.wait(10)
        outputs.append(issue(make_call()))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert outputs == [outputs[0]] * 4
    assert len(mail.outbox) == 1


def test_a_mail_that_could_not_be_sent_is_sent_by_the_next_attempt(tmp_path, make_call, monkeypatch):
    def unreachable(self: Any, messages: Any) -> int:
        raise ConnectionRefusedError("no mail server")

    with monkeypatch.context() as broken:
        broken.setattr(EmailBackend, "send_messages", unreachable)
        with pytest.raises(Exception, match="its mail was not sent"):
            issue(make_call())
    issue(make_call(attempt=2))

    assert issued(tmp_path) == ["permit-12.pdf"]
    assert len(mail.outbox) == 1


def test_what_the_liaison_demands_is_printed_as_conditions(tmp_path, make_call):
    issue(make_call(data={"Human-Approve": {"conditions": "No loudspeakers after 20:00.\nTwo medics."}}))
    text = text_of((tmp_path / "permits" / "permit-12.pdf").read_bytes())
    assert "No loudspeakers after 20:00." in text
    assert "Two medics." in text


@pytest.mark.parametrize(
    ("name", "printed"),
    [("Łucja Żądło & Söhne <b>", "Łucja Żądło & Söhne <b>"), ("Dvořák Őze", "Dvo"), ("\u202eevil", "evil")],
)
def test_any_name_can_be_printed_and_none_is_markup(tmp_path, make_call, name, printed):
    issue(make_call(payload={**make_call().payload, "applicant_name": name}))
    assert printed in text_of((tmp_path / "permits" / "permit-12.pdf").read_bytes())


def test_the_same_permit_is_the_same_bytes(tmp_path, make_call):
    first = issue(make_call())
    (tmp_path / "permits" / f".issued-{'a' * 64}.json").unlink()
    assert issue(make_call())["sha256"] == first["sha256"]
