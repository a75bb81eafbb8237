# SPDX-License-Identifier: Apache-2.0
"""What a client says about runs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from hms_act.answers import Json, Run
from hms_act.calls import Calls, etag_of, given, number_of, path_of, told


class RunCalls(Calls):
    """Part of `Client`."""

    def start_run(
        self,
        playbook: str | int,
        *,
        payload: Json | None = None,
        version: int | None = None,
        labels: Json | None = None,
        priority: str | None = None,
        idempotency_key: str | None = None,
    ) -> Run:
        """Start `playbook`, by id or by number, in its newest published version unless one is named.

        With an `idempotency_key` of your own, a start repeated by another process is still one run.
        """
        named = {"protocol_id": playbook} if isinstance(playbook, int) else {"playbook": playbook}
        chosen = given(version=version, labels=labels, priority=priority)
        body = {**named, "payload": payload or {}, **chosen}
        return self._change("POST", "/acts/run", body, key=idempotency_key).parsed(Run.from_answer)

    def runs(self, **filters: Any) -> Iterator[Run]:
        """Newest first. Filters are those of the API: status, playbook, label, started_by, created_after …"""
        return self._list("/acts/runs", filters, Run.from_answer)

    def run(self, run_id: int) -> Run:
        answer = self._get(path_of("acts", "runs", run_id))
        return answer.parsed(lambda said: Run.from_answer(said, etag=answer.etag))

    def cancel_run(self, run: int | Run, *, reason: str = "", if_match: str = "") -> Run:
        """Given the `Run` that was read, not just its number: raises StaleRevision if it has moved since."""
        path = path_of("acts", "runs", number_of(run), "cancel")
        if_match = if_match or etag_of(run)
        return self._change("PATCH", path, told(reason=reason), if_match=if_match).parsed(Run.from_answer)

    def terminate_run(self, run: int | Run, *, reason: str, if_match: str = "") -> Run:
        """End a run at once; nothing is undone. Given the `Run` that was read: raises StaleRevision."""
        path = path_of("acts", "runs", number_of(run), "terminate")
        answer = self._change("PATCH", path, {"reason": reason}, if_match=if_match or etag_of(run))
        return answer.parsed(Run.from_answer)

    def send_signal(self, run: int | Run, name: str, data: Any = None, *, idempotency_key: str | None = None) -> Run:
        """Tell a run that something has happened, in whatever state it is by now. `data` is the output of the step
        that waits for the signal; with none waiting, the signal is kept for the next that does.

        With an `idempotency_key` of your own, a signal repeated by another process is still one.
        """
        path = path_of("acts", "runs", number_of(run), "signals", name)
        return self._change("POST", path, given(data=data), key=idempotency_key).parsed(Run.from_answer)

    def wait_for_run(self, run_id: int, *, timeout: float | None = None) -> Run:
        """The run once it has ended. Raises TimeoutError after `timeout` seconds; the run goes on."""
        end = time.monotonic() + timeout if timeout is not None else None
        pause = 0.2
        while not (run := self.run(run_id)).ended:
            if end is not None and time.monotonic() + pause > end:
                raise TimeoutError(f"run {run_id} has not ended within {timeout} seconds; it goes on")
            self._sleep(pause)
            pause = min(pause * 1.5, 5.0)
        return run
