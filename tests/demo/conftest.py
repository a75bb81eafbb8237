# SPDX-License-Identifier: Apache-2.0
"""The payment system, running, and the two actions as a worker calls them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from demo.fee_service import FeeServer, Ledger
from playbooks.catalogue import ActionCall

APPLICATION: dict[str, Any] = {
    "applicant_name": "Ana Ruiz",
    "email": "ana@example.org",
    "event_date": "2027-04-10",
    "place": "market-square",
    "crowd_size": 250,
    "purpose": "Clean air for the old town",
    "crowd_control_plan": "Ten stewards in yellow vests, first aid at the fountain.",
    "is_true": True,
}


@pytest.fixture
def fee_server(tmp_path: Path) -> Iterator[FeeServer]:
    with FeeServer(Ledger(tmp_path / "fees.sqlite3")) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture
def make_call() -> Callable[..., ActionCall]:
    def make(**changes: Any) -> ActionCall:
        values: dict[str, Any] = {
            "arguments": {"amount": "40.00", "currency": "USD"},
            "payload": APPLICATION,
            "data": {},
            "run_id": 12,
            "step": "Collect-Fee",
            "attempt": 1,
            "effect_key": "a" * 64,
        }
        return ActionCall(**{**values, **changes})

    return make
