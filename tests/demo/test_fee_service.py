# SPDX-License-Identifier: Apache-2.0
"""The stand-in for the payment system charges once per key, whatever happens around it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx2
import pytest

from demo.fee_service import FeeServer, Ledger, Order

pytestmark = pytest.mark.once  # it is a service of its own

ROOT = Path(__file__).parents[2]
ORDER = {"amount": "40.00", "currency": "USD", "reference": "permit-fee-1"}


def post(url: str, order: Any = ORDER, *, key: str | None = "k1") -> httpx2.Response:
    headers = {"Idempotency-Key": key} if key is not None else {}
    return httpx2.post(f"{url}/charges", json=order, headers=headers)


def charges(url: str) -> list[dict[str, str]]:
    return list(httpx2.get(f"{url}/charges").json()["charges"])


def test_a_charge_is_made_and_the_same_key_gives_the_same_charge_again(fee_server):
    first, again = post(fee_server.url), post(fee_server.url)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert re.fullmatch(r"ch_[0-9a-f]{16}", first.json()["charge_id"])
    assert charges(fee_server.url) == [first.json()]


def test_the_same_order_under_two_keys_is_two_charges(fee_server):
    assert [post(fee_server.url, key=key).status_code for key in ("k1", "k2")] == [201, 201]
    assert len(charges(fee_server.url)) == 2


@pytest.mark.parametrize("change", [{"amount": "41.00"}, {"currency": "EUR"}, {"reference": "another"}])
def test_other_content_under_a_known_key_is_refused(fee_server, change):
    post(fee_server.url)
    assert post(fee_server.url, {**ORDER, **change}).status_code == 422
    assert len(charges(fee_server.url)) == 1


def test_the_same_amount_written_differently_is_the_same_content(fee_server):
    post(fee_server.url)
    assert post(fee_server.url, {**ORDER, "amount": "40.0"}).status_code == 200


def test_two_threads_racing_under_one_key_make_one_charge(fee_server):
    together = threading.Barrier(8)
    answers: list[httpx2.Response] = []

    def race() -> None:
        together.wait(10)
        answers.append(post(fee_server.url))

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert len({answer.json()["charge_id"] for answer in answers}) == 1
    assert len(charges(fee_server.url)) == 1


@pytest.mark.parametrize(
    "order",
    [
        None,
        [],
        {},
        {**ORDER, "more": "x"},
        {**ORDER, "amount": 40},
        {**ORDER, "amount": "0.00"},
        {**ORDER, "amount": "-1"},
        {**ORDER, "amount": "1.001"},
        {**ORDER, "amount": "NaN"},
        {**ORDER, "amount": "1e99"},
        {**ORDER, "currency": "usd"},
        {**ORDER, "reference": ""},
    ],
)
def test_an_order_that_cannot_be_read_charges_nothing(fee_server, order):
    assert post(fee_server.url, order).status_code == 400
    assert charges(fee_server.url) == []


@pytest.mark.parametrize("key", [None, "", "k" * 256])
def test_without_a_key_nothing_is_charged(fee_server, key):
    assert post(fee_server.url, key=key).status_code == 400
    assert charges(fee_server.url) == []


def test_it_can_be_told_to_fail_and_charges_nothing_while_it_does(fee_server):
    assert httpx2.post(f"{fee_server.url}/faults", json={"times": 2}).status_code == 200
    assert [post(fee_server.url).status_code for _ in range(3)] == [503, 503, 201]
    assert len(charges(fee_server.url)) == 1


def test_a_lost_answer_has_charged_and_the_same_key_finds_the_charge(fee_server):
    fee_server.add_faults("lost", 1)
    with pytest.raises(httpx2.TransportError):
        post(fee_server.url)
    assert post(fee_server.url).status_code == 200
    assert len(charges(fee_server.url)) == 1


def test_charges_survive_the_end_of_the_process(tmp_path):
    first = Ledger(tmp_path / "fees.sqlite3")
    with FeeServer(first):
        charge, made = first.charge("k1", Order.read(ORDER))
    again, made_again = Ledger(tmp_path / "fees.sqlite3").charge("k1", Order.read(ORDER))
    assert (made, made_again) == (True, False)
    assert again == charge


def test_it_runs_as_a_program_that_says_its_address_and_ends_on_sigterm(tmp_path):
    command = [sys.executable, "-m", "demo.fee_service", f"--state={tmp_path / 'fees.sqlite3'}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=os.environ) as program:
        assert program.stdout is not None
        url = program.stdout.readline().strip()
        assert post(url).status_code == 201
        program.send_signal(signal.SIGTERM)
        assert program.wait(10) == 0
