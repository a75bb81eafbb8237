# SPDX-License-Identifier: Apache-2.0
"""Secrets that a person gave: handles that show a mask wherever they are printed, logged or sent, and open once.

    key = client.request(request_id).response_data["api_key"]
    print(key)                      # ••••••••
    stripe.api_key = key.reveal()   # the value; the server has destroyed its copy

The value never passes through a handle: it is fetched when it is revealed, and handed over. So it does not end in a
prompt, a trace or a log by accident.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hms_act.errors import Problem, SecretGone

MASK = "••••••••"


class Secret(str):
    """One secret value of an answer. As a text it is a mask."""

    _vault: Vault
    field: str

    def __new__(cls, vault: Vault, field: str) -> Secret:
        made = super().__new__(cls, MASK)
        made._vault, made.field = vault, field
        return made

    def reveal(self) -> Any:
        """The value. The first handle of an answer that is revealed fetches all its secrets; the server keeps none.

        Raises SecretGone if it was revealed before, fetched by another, revoked, or not fetched in time.
        """
        return self._vault.take(self.field)

    def __repr__(self) -> str:
        return f"<secret {self.field}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return str, (MASK,)  # a copy is the mask alone


class Vault:
    """The secrets of one answer on their way from the server to whoever reveals them."""

    def __init__(self, fetch: Callable[[], Mapping[str, Any]]) -> None:
        self._fetch = fetch
        self._values: dict[str, Any] | None = None
        self._lock = threading.Lock()

    def handles(self, answer: Mapping[str, Any], fields: Sequence[str]) -> dict[str, Any]:
        """The answer with a handle for each of these fields."""
        return {name: Secret(self, name) if name in fields else value for name, value in answer.items()}

    def take(self, field: str) -> Any:
        with self._lock:
            if self._values is None:
                self._values = dict(self._fetch())
            if field not in self._values:
                detail = f"The secret {field!r} was revealed already: keep what reveal() gave you."
                raise SecretGone(Problem(410, code="secret_gone", title="Secret gone", detail=detail))
            return self._values.pop(field)

    def __repr__(self) -> str:
        return "<vault>"
