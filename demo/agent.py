# SPDX-License-Identifier: Apache-2.0
"""The validator agent of the protest-permit story: a process of its own that knows the HTTP API and nothing else.

HMS_ACT_URL=http://localhost:8000 HMS_ACT_TOKEN=hmsact_… python -m demo.agent
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

from demo.screening import Booking, Calendar, booking_of, screen
from hms_act import Client, Task, Worker
from hms_act.errors import HmsActError

ROLE = "agent:validator"
PLAYBOOK = "protest_permit"


class Applications:
    """Who was given, and who asks for, which place on which day, read from the server's runs.

    A run's payload never changes and a granted permit stays granted, so each is read once.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._booking_of: dict[int, Booking | None] = {}

    def bookings(self, status: str, *, before: int) -> dict[Booking, int]:
        """Place and day → the earliest run with this status that began before run `before`."""
        numbers = [run.id for run in self._client.runs(playbook=PLAYBOOK, status=status) if run.id < before]
        found = {number: self._booking(number) for number in sorted(numbers, reverse=True)}
        return {booking: number for number, booking in found.items() if booking is not None}

    def _booking(self, number: int) -> Booking | None:
        if number not in self._booking_of:
            self._booking_of[number] = booking_of(self._client.run(number).payload)
        return self._booking_of[number]


def make_worker(client: Client, city: Calendar) -> Worker:
    worker = Worker(client)
    applications = Applications(client)

    @worker.handles(ROLE)
    def check_form(task: Task) -> dict[str, object]:
        calendar = city.knowing(
            granted=applications.bookings("completed", before=task.run_id),
            asked_for=applications.bookings("running", before=task.run_id),
        )
        screening = screen(task.payload, calendar, datetime.now(UTC).date())
        return {"outcome": screening.outcome, "output": screening.as_output(), "note": screening.note}

    return worker


def main() -> int:
    logging.basicConfig(level=logging.WARNING, format="agent: %(message)s")
    with Client() as client:
        try:
            make_worker(client, Calendar.load()).run()
        except HmsActError as error:
            print(f"agent: stopped: {error}", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
