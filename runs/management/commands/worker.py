# SPDX-License-Identifier: Apache-2.0
"""`manage.py worker`: a supervised django-q2 cluster that performs what is due.

The supervisor watches *progress*, not process life: a worker killed while idle leaves its cluster's queue locked
and looking alive. When the oldest due row waits too long while processes are free and none takes up work, the
cluster's whole process group is killed and started again; what its processes held comes back when the leases end.
"""

from __future__ import annotations

import os
import signal
import socket
import time
from contextlib import suppress
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, close_old_connections
from django_q.models import Schedule

from config import clock
from runs import cluster, due
from runs.models import WorkerHost

LOOK_SECONDS = 1.0
STALLED_SECONDS = 5.0  # so long the oldest due row may wait while processes are free and none takes up work,
# or, on a machine so slow that this is longer, as long as the cluster's start took.
LONGEST_START_SECONDS = 120.0
BEAT_SECONDS = 5.0
FORGOTTEN_AFTER = timedelta(days=1)  # a host that was killed leaves its row behind


class Command(BaseCommand):
    help = "Perform what is due, until stopped (Ctrl-C or SIGTERM ends gracefully)."

    def handle(self, *args: Any, **options: Any) -> None:
        Supervisor(say=self.stdout.write).run()


class Supervisor:
    def __init__(self, say: Any) -> None:
        self.say = say
        self.holder = f"{socket.gethostname()}:{os.getpid()}"[:100]
        self.stopping = False
        self.restarts = 0
        self.beaten_at = 0.0
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        self.cluster = cluster.Cluster(self.holder)

    def run(self) -> None:
        try:
            _seed_housekeeping()
            _forget_lost_hosts()
            self.say(f"worker {self.holder}: {settings.WORKERS} processes, waiting for what is due")
            while not self.stopping:
                self._rest()
                self._look_again()
        finally:
            self._end()

    def _rest(self) -> None:
        end = time.monotonic() + LOOK_SECONDS
        while not self.stopping and time.monotonic() < end:
            time.sleep(LOOK_SECONDS / 10)

    def _look_again(self) -> None:
        try:
            self._look()
        except (OperationalError, InterfaceError) as fault:
            self.say(f"worker: the database does not answer ({fault}); looking again")
            self.cluster.excuse()
            close_old_connections()

    def _look(self) -> None:
        if self.stopping:
            return
        self.cluster.listen()
        if self.cluster.has_ended():
            self._restart("it ended")
        elif self._stalled():
            self._restart("it makes no progress")
        if time.monotonic() - self.beaten_at >= BEAT_SECONDS:
            self._beat()

    def _stalled(self) -> bool:
        start_seconds = self.cluster.start_seconds()
        if self.cluster.looked_at is None:
            return start_seconds > LONGEST_START_SECONDS
        patience = max(STALLED_SECONDS, start_seconds)
        if self.cluster.quiet_seconds() < patience or self.cluster.at_work() >= settings.WORKERS:
            return False
        oldest = due.oldest_due()
        return oldest is not None and (clock.now() - oldest).total_seconds() >= patience

    def _restart(self, why: str) -> None:
        self.say(f"worker: restarting the cluster, {why}")
        self.cluster.kill()
        self.restarts += 1
        self.cluster = cluster.Cluster(self.holder)
        self._beat()

    def _beat(self) -> None:
        now = clock.now()
        values = {"beat_at": now, "restarts": self.restarts}
        WorkerHost.objects.update_or_create(
            name=self.holder, defaults=values, create_defaults={**values, "started_at": now}
        )
        self.beaten_at = time.monotonic()

    def _stop(self, *_: Any) -> None:
        self.stopping = True

    def _end(self) -> None:
        """Let the cluster finish what it holds, then go."""
        if not self.cluster.end(settings.CALL_TIMEOUT_SECONDS + 10):
            self.say("worker: the cluster did not end in time")
        self.cluster.kill()
        with suppress(OperationalError, InterfaceError):  # the row is only a sign of life
            WorkerHost.objects.filter(name=self.holder).delete()
        self.say("worker: stopped")


def _seed_housekeeping() -> None:
    """The one job in django-q2's own table: no arguments, so nothing in it could be tampered with to our harm."""
    Schedule.objects.update_or_create(
        name="housekeep",
        defaults={"func": "runs.jobs.housekeep", "schedule_type": Schedule.MINUTES, "minutes": 1, "repeats": -1},
    )


def _forget_lost_hosts() -> None:
    WorkerHost.objects.filter(beat_at__lt=clock.now() - FORGOTTEN_AFTER).delete()
