# SPDX-License-Identifier: Apache-2.0
"""Refusals: what the product says when an act is not done.

A refusal is part of the interface. Its class carries a `code` (a promise to API clients), an HTTP
`status`, and a docstring that is the sentence its reader needs. `config/api.py` alone turns refusals
into problem+json; pages show `detail` as it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault among several in the same input: where it is and what to do about it."""

    path: str
    message: str
    remedy: str = ""
    line: int | None = None
    code: str = ""  # for programs, where there is one

    def as_json(self) -> dict[str, Any]:
        code = {"code": self.code} if self.code else {}
        line = {} if self.line is None else {"line": self.line}
        return {**code, "path": self.path, **line, "message": self.message, "remedy": self.remedy}


class Refused(Exception):
    """The act was refused and changed nothing."""

    code = "refused"
    status = 409

    def __init__(
        self,
        detail: str = "",
        *,
        errors: Sequence[Problem] = (),
        subject: Any = None,
        headers: dict[str, str] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        self.detail = detail or (self.__doc__ or "").strip()
        self.errors = tuple(errors)
        self.subject = subject  # the row the refusal is about, for its DENIED entry
        self.headers = headers or {}
        self.extra = extra or {}  # further members of the problem document
        super().__init__(self.detail)


class Unparseable(Refused):
    """The body cannot be read."""

    code = "unparseable"
    status = 400


class TooLarge(Refused):
    """The body is larger than 1 MiB. Send large material elsewhere and name it here."""

    code = "too_large"
    status = 413


class Invalid(Refused):
    """The input was read but is not valid."""

    code = "invalid"
    status = 422


class NotAuthenticated(Refused):
    """Log in first, or send `Authorization: Bearer` with an API key or a token."""

    code = "not_authenticated"
    status = 401


class Forbidden(Refused):
    """You may not do this."""

    code = "forbidden"
    status = 403


class RoleRequired(Forbidden):
    """Only members of the role may do this."""

    code = "role_required"


class NotFound(Refused):
    """There is no such thing, or you may not see it."""

    code = "not_found"
    status = 404


class WrongState(Refused):
    """The state it is in does not allow this."""

    code = "wrong_state"


class LeaseLost(Refused):
    """The lease on this task is not yours, or no longer. Claim the next task; this one may have gone to another."""

    code = "lease_lost"


class AlreadyDecided(Refused):
    """This request has been decided already."""

    code = "already_decided"


class StaleRevision(Refused):
    """It changed since you read it. Read it again, then decide."""

    code = "stale_revision"


class RateLimited(Refused):
    """Too many calls. Wait as long as Retry-After says."""

    code = "rate_limited"
    status = 429


class Unavailable(Refused):
    """The database does not answer, or did not in time. Send the same call again, with the same Idempotency-Key."""

    code = "unavailable"
    status = 503
