# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as types.

The server answers a refusal with an RFC 9457 problem. `error_for` alone turns such an answer into one of
these exceptions: by its `code` where the code has a type of its own, else by its status. Every exception
carries the problem, so that a caller can go by `error.code`, which the server promises to keep.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

CANNOT_SERVE_NOW = frozenset({502, 503, 504})
MALFORMED = frozenset({400, 405, 413, 415, 422})


@dataclass(frozen=True, slots=True)
class FieldError:
    """One of several things wrong with what was sent: where, what, and the way out."""

    path: str
    message: str
    remedy: str = ""
    line: int | None = None
    code: str = ""

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line is not None else ""
        place = ", ".join(part for part in (line, self.path) if part)
        what = " ".join(part for part in (self.message, self.remedy) if part)
        return f"{place}: {what}" if place else what

    @classmethod
    def from_answer(cls, answer: Any) -> FieldError:
        if not isinstance(answer, Mapping):
            return cls(path="", message=str(answer))
        line = answer.get("line")
        return cls(
            path=str(answer.get("path") or ""),
            message=str(answer.get("message") or ""),
            remedy=str(answer.get("remedy") or ""),
            line=line if isinstance(line, int) else None,
            code=str(answer.get("code") or ""),
        )


@dataclass(frozen=True, slots=True)
class Problem:
    """The server's own account of a refusal. `status` is 0 where no answer came."""

    status: int
    code: str = ""
    title: str = ""
    detail: str = ""
    errors: tuple[FieldError, ...] = ()
    retry_after: float | None = None  # seconds

    def __str__(self) -> str:
        what = self.detail or self.title or f"HTTP {self.status}"
        return "; ".join([what, *map(str, self.errors)])

    @classmethod
    def from_answer(cls, status: int, body: Any, *, retry_after: float | None = None) -> Problem:
        said: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        errors = said.get("errors")
        return cls(
            status=status,
            code=str(said.get("code") or ""),
            title=str(said.get("title") or _status_phrase(status)),
            detail=str(said.get("detail") or ""),
            errors=tuple(FieldError.from_answer(one) for one in errors) if isinstance(errors, list) else (),
            retry_after=retry_after,
        )


class HmsActError(Exception):
    """The base of all: something was refused, or could not be done."""

    hint = ""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def code(self) -> str:
        return self.problem.code

    @property
    def title(self) -> str:
        return self.problem.title

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def errors(self) -> tuple[FieldError, ...]:
        return self.problem.errors

    @property
    def retry_after(self) -> float | None:
        """Seconds the server asked to be left alone for, if it did."""
        return self.problem.retry_after

    @property
    def transient(self) -> bool:
        """Whether the same call may succeed if it is simply sent again later."""
        return False

    def __str__(self) -> str:
        return f"{self.problem} ({self.hint})" if self.hint else str(self.problem)


class NotAuthenticated(HmsActError):
    """The server does not know who is calling: no credential, a wrong, an expired or a revoked one."""

    hint = "put an API key or a JWT in HMS_ACT_TOKEN, or log in again"


class Forbidden(HmsActError):
    """The caller is known and may not do this. Code `role_required` says that a role is missing."""


class NotFound(HmsActError):
    """There is no such thing, or the caller may not see it."""


class Conflict(HmsActError):
    """The thing is in a state that does not allow this."""


class LeaseLost(Conflict):
    """The task is no longer held under this token: it expired, was released, or went to somebody else."""


class TokenExpired(Conflict):
    """A person's claim has ended. `renew` it, then decide again."""


class AlreadyDecided(Conflict):
    """Somebody decided the request first."""


class StaleRevision(Conflict):
    """The thing has changed since it was read: read it again, then decide again."""


class SecretGone(HmsActError):
    """The secret does not exist any more: it was fetched, revoked, or not fetched in time. Ask for it again."""


class ReceiptRefused(Conflict):
    """The approval cannot be used for this: do not do it. `code` says why."""


class IdempotencyInFlight(Conflict):
    """The first sending of this very call is still being worked on."""

    @property
    def transient(self) -> bool:
        return True


class Invalid(HmsActError):
    """What was sent cannot be read, or was read and is not valid. `errors` says what, where there are several."""


class RateLimited(HmsActError):
    """Too many calls. `retry_after` says in how many seconds the next one will be heard."""

    @property
    def transient(self) -> bool:
        return True


class ServerError(HmsActError):
    """The server failed. Nothing is known to have happened."""

    @property
    def transient(self) -> bool:
        return self.status in CANNOT_SERVE_NOW


class Unreachable(HmsActError):
    """No usable answer came from the address, which may be wrong."""

    def __init__(self, problem: Problem, *, transient: bool = True) -> None:
        super().__init__(problem)
        self._transient = transient

    @property
    def transient(self) -> bool:
        return self._transient

    @classmethod
    def at(cls, url: str, reason: str, *, check: str, transient: bool = True) -> Unreachable:
        detail = f"No answer from HMS-ACT at {url}: {reason}. {check}"
        return cls(Problem(0, code="unreachable", title="Unreachable", detail=detail), transient=transient)


class NonRetryable(Exception):
    """Raised by a worker's handler to say that another attempt would fail in the same way."""


TYPE_OF_CODE: dict[str, type[HmsActError]] = {
    "lease_lost": LeaseLost,
    "token_expired": TokenExpired,
    "already_decided": AlreadyDecided,
    "stale_revision": StaleRevision,
    "secret_gone": SecretGone,
    "idempotency_in_flight": IdempotencyInFlight,
    "rate_limited": RateLimited,
    **dict.fromkeys(
        (
            "action_mismatch",
            "receipt_spent",
            "receipt_expired",
            "receipt_held",
            "receipt_revoked",
            "receipt_untrusted",
        ),
        ReceiptRefused,
    ),
}
TYPE_OF_STATUS: dict[int, type[HmsActError]] = {
    401: NotAuthenticated,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    412: StaleRevision,
    429: RateLimited,
} | dict.fromkeys(MALFORMED, Invalid)


def error_for(status: int, body: Any, *, retry_after: float | None = None) -> HmsActError:
    """The exception for an answer of 400 or above, whose decoded body is `body` (None if it is not JSON)."""
    problem = Problem.from_answer(status, body, retry_after=retry_after)
    if status >= 500:
        return ServerError(problem)
    kind = TYPE_OF_CODE.get(problem.code) or TYPE_OF_STATUS.get(status, HmsActError)
    return kind(problem)


def _status_phrase(status: int) -> str:
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
