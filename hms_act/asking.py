# SPDX-License-Identifier: Apache-2.0
"""`HITLService`: requests to people as one user, waiting for their answers, and hearing of them.

Kept true here: the ends without a yes are told apart by their type. Reading carries nothing out.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from hms_act.answers import Event, Json, Request
from hms_act.client import LONGEST_WAIT_SECONDS, Client
from hms_act.shortcuts import default_client

CREATED, CLAIMED = "hitl.request.created", "hitl.request.claimed"
WAITING = ("pending", "in_review")
FULFILLED, REJECTED = "hitl.request.fulfilled", "hitl.request.rejected"
EXPIRED, CANCELLED = "hitl.request.expired", "hitl.request.cancelled"

SLICE_SECONDS = 5.0  # for which a thread waits at a time for somebody who may be cancelled

log = logging.getLogger("hms_act.hitl")

Handler = TypeVar("Handler", bound=Callable[[Event], Any])


class NotFulfilled(Exception):
    """The request was closed without a yes. Go by the subclass: a no, a silence and a change of plan are different."""

    def __init__(self, request: Request) -> None:
        because = request.rejection_reason or request.notes
        super().__init__(f"{request.id} is {request.status}" + (f": {because}" if because else ""))
        self.request = request


class Rejected(NotFulfilled):
    """A person said no: `request.rejection_reason` says why, `request.fulfilled_by` who."""


class Expired(NotFulfilled):
    """Nobody answered in time. That is no person's no."""


class Cancelled(NotFulfilled):
    """Whoever asked took the question back."""


class NotRequired(NotFulfilled):
    """Its task or run ended without it."""


class Superseded(NotFulfilled):
    """Another request asks the same anew: wait for `request.superseded_by`."""


WITHOUT_A_YES: dict[str, type[NotFulfilled]] = {
    "rejected": Rejected,
    "expired": Expired,
    "cancelled": Cancelled,
    "not_required": NotRequired,
    "superseded": Superseded,
}


class HITLService:
    """Requests to people, as one user. Every method raises `HmsActError` where the server refuses."""

    def __init__(self, client: Client | None = None) -> None:
        self.client = client or default_client()

    def create_request(self, *, title: str = "", **asked: Any) -> Request:
        """Ask people: `request_type`, `title`, `description`, `required_fields`, `priority`, `context`, `role`,
        `template`, `workflow_id` … What is left out, the type's template says. Asked again while it is open, it is
        the same request."""
        return self.client.create_request(title=title, **asked)

    def get_request(self, request_id: str) -> Request:
        """As it is now. Raises NotFound."""
        return self.client.request(request_id)

    def list_requests(self, *, limit: int | None = None, **filters: Any) -> list[Request]:
        """By `status`, `priority`, `agent_id`, `request_type`, `workflow_id`, `role`. Newest first, unless `order` is
        `created_at`."""
        found: list[Request] = []
        for request in self.client.requests(**filters):
            if limit is not None and len(found) == limit:
                break
            found.append(request)
        return found

    def inbox(self, *, limit: int | None = None, **filters: Any) -> list[Request]:
        """What waits for a person, the oldest first, claimed or not. For whoever works through a list: with the newest
        first, the oldest is never reached while more comes in."""
        return self.list_requests(limit=limit, **{"status": WAITING, "order": "created_at", **filters})

    def fulfill_request(
        self,
        request_id: str,
        *,
        fulfilled_by: str = "",
        response_data: Json | None = None,
        notes: str = "",
        outcome: str | None = None,
    ) -> Request:
        """Approve, or answer. Who decides is who this service speaks as; `fulfilled_by` is kept as a claim."""
        return self.client.fulfill(
            request_id, response_data=response_data, notes=notes, outcome=outcome, fulfilled_by=fulfilled_by
        )

    def reject_request(self, request_id: str, *, reason: str, rejected_by: str = "") -> Request:
        return self.client.reject(request_id, reason=reason, rejected_by=rejected_by)

    def cancel_request(self, request_id: str, *, reason: str = "") -> Request:
        """Take one's own question back. To stop waiting is not to cancel: a program that ends leaves it open."""
        return self.client.cancel_request(request_id, reason=reason)

    def get_statistics(self, **filters: Any) -> dict[str, Any]:
        return self.client.statistics(**filters)

    # --- waiting

    def wait_for(self, request: str | Request, *, timeout: float | None = None, follow: bool = True) -> Request:
        """The request once it is fulfilled; a request that has been superseded is followed to the one that asks anew,
        unless `follow` is false.

        Raises Rejected, Expired, Cancelled, NotRequired or Superseded; TimeoutError after `timeout` seconds, and then
        the request stays open. May be called again, also by another process.
        """
        request_id = request if isinstance(request, str) else request.id
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            found = self.client.request(request_id, wait=_patience(end))
            if found.status == "fulfilled":
                return found
            if found.superseded_by and follow:
                request_id = found.superseded_by
            elif found.closed:
                raise WITHOUT_A_YES.get(found.status, NotFulfilled)(found)
            elif end is not None and time.monotonic() >= end:
                raise TimeoutError(f"{request_id} is {found.status} after {timeout} seconds; it stays open")

    async def answer_to(self, request: str | Request, *, timeout: float | None = None, follow: bool = True) -> Request:
        """`wait_for`, for programs that do other things meanwhile."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = SLICE_SECONDS if end is None else min(SLICE_SECONDS, end - time.monotonic())
            try:
                return await asyncio.to_thread(self.wait_for, request, timeout=left, follow=follow)
            except TimeoutError:
                if end is not None and time.monotonic() >= end:
                    raise

    def events(self, *types: str, after: str | None = None) -> Iterator[Event]:
        """What happens to requests, for ever: of these types, or all of them. `after` is the id of an event."""
        return self.client.events(types or ("hitl.request.*",), after=after)

    def subscribe(self, *types: str, after: str | None = None) -> Callable[[Handler], Handler]:
        """Above a function, plain or async, that is called with each `Event`, one after the other.

        The thread that reads begins at once, and ends with the process or with the function's `unsubscribe()`. What
        the function raises is logged, and the next event is told.
        """

        def decorate(handler: Handler) -> Handler:
            subscription = _Subscription(self, types, handler, after)
            handler.unsubscribe = subscription.stop  # type: ignore[attr-defined]
            subscription.start()
            return handler

        return decorate


class _Subscription:
    def __init__(self, service: HITLService, types: tuple[str, ...], handler: Callable[..., Any], after: str | None):
        # The place is known before the decorator returns: what happens from then on is told.
        self._after = after if after is not None else service.client.newest_event()
        self._service, self._types, self._handler = service, types, handler
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="hms-act-events", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No event is told any more. The call that waits for the next one ends by itself."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._tell()
            except Exception:
                log.exception("the events cannot be read; trying again")
                self._stopped.wait(5)

    def _tell(self) -> None:
        for event in self._service.events(*self._types, after=self._after):
            if self._stopped.is_set():
                return
            self._after = event.id
            try:
                _call(self._handler, event)
            except Exception:
                log.exception("%s failed at event %s", self._handler, event.id)


def _call(handler: Callable[..., Any], event: Event) -> None:
    result = handler(event)
    if inspect.isawaitable(result):
        asyncio.run(_awaited(result))


async def _awaited(result: Any) -> None:
    await result


def _patience(end: float | None) -> int:
    """For how many seconds the server may hold back its answer: whole ones, and at least one."""
    if end is None:
        return LONGEST_WAIT_SECONDS
    return max(1, min(int(end - time.monotonic()) + 1, LONGEST_WAIT_SECONDS))


_services: dict[tuple[str | None, str | None], HITLService] = {}


def get_hitl_service() -> HITLService:
    """For HMS_ACT_URL and HMS_ACT_TOKEN as they are now; the same one as long as they are the same."""
    environment = os.environ.get("HMS_ACT_URL"), os.environ.get("HMS_ACT_TOKEN")
    if environment not in _services:
        _services[environment] = HITLService()
    return _services[environment]
