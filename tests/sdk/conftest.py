# SPDX-License-Identifier: Apache-2.0
"""A scripted server, and clients that speak to it without waiting between their attempts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hms_act import Client
from tests.sdk.wire import Wire


@pytest.fixture
def wire() -> Iterator[Wire]:
    server = Wire()
    yield server
    server.close()
    assert not server.unscripted, f"calls that no test expected: {server.unscripted}"


@pytest.fixture
def waits() -> list[float]:
    """The waits between attempts, which the client notes here instead of waiting."""
    return []


@pytest.fixture
def client(wire: Wire, waits: list[float]) -> Iterator[Client]:
    with Client(wire.url, "hmsact_key", sleep=waits.append) as client:
        yield client


@pytest.fixture
def environment(wire: Wire, monkeypatch: pytest.MonkeyPatch, tmp_path) -> pytest.MonkeyPatch:
    """A shell that speaks to the scripted server with an API key, and keeps its state in a folder of its own."""
    monkeypatch.setenv("HMS_ACT_URL", wire.url)
    monkeypatch.setenv("HMS_ACT_TOKEN", "hmsact_key")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return monkeypatch
