# SPDX-License-Identifier: Apache-2.0
"""The receiver of effects, and the environment of processes that may die."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.conf import settings

from tests.crash.receiver import Receiver


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    with Receiver() as listening:
        monkeypatch.setenv("HMS_ACT_TEST_RECEIVER", listening.url)
        yield listening


@pytest.fixture
def environment(process_environment: dict[str, str], receiver: Receiver) -> dict[str, str]:
    return {
        **process_environment,
        "HMS_ACT_ACTIONS": "tests.crash.actions",
        "HMS_ACT_CALL_TIMEOUT": "5",  # seconds; a worker holds a lease for twice that
        "HMS_ACT_TEST": "yes",
        "HMS_ACT_TEST_RECEIVER": receiver.url,
        "PYTHONPATH": str(settings.BASE_DIR),
    }
