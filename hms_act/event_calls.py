# SPDX-License-Identifier: Apache-2.0
"""What a client hears of what happens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hms_act.answers import Event
from hms_act.calls import DEFAULT_WAIT_SECONDS, LONGEST_WAIT_SECONDS, Calls, given, query
from hms_act.transport import Call


class EventCalls(Calls):
    """Part of `Client`."""

    def events(
        self,
        types: Sequence[str] = (),
        *,
        after: str | None = None,
        wait: int = DEFAULT_WAIT_SECONDS,
        run_id: int | None = None,
        request_id: str | None = None,
        follow: bool = True,
    ) -> Iterator[Event]:
        """What happens, for ever, in order and without a gap; first what happened behind `after`, an event's id.

        Without `after` it begins now. Each call waits up to `wait` seconds for something to happen. Unless it is to
        `follow`, it ends where the log ends.
        """
        filters = given(run_id=run_id, request_id=request_id, type=list(types) or None)
        place = after if after is not None else self.newest_event()
        seconds = min(wait, LONGEST_WAIT_SECONDS) if follow else 0
        more = True
        while follow or more:
            params = query({**filters, "after": place, "wait": seconds})
            answer = self._transport.send(Call("GET", "/acts/events", params=params, patience=seconds))
            yield from answer.parsed(lambda said: [Event.from_answer(one) for one in said["results"]])
            place, more = answer.parsed(lambda said: (str(said["after"]), bool(said.get("more"))))

    def newest_event(self) -> str:
        """Where the log ends now: what happens from now on is behind it."""
        return self._get("/acts/events", {"after": "now"}).parsed(lambda said: str(said["after"]))
