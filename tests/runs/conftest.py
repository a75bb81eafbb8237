# SPDX-License-Identifier: Apache-2.0
from collections.abc import Iterator

import pytest

from runs.broker import DueBroker


@pytest.fixture
def broker() -> Iterator[DueBroker]:
    """Looks for what is due, in the process of the test."""
    found = DueBroker(list_key="test")
    yield found
    if found._listening is not None:
        found._listening.close()
