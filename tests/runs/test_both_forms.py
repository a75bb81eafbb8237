# SPDX-License-Identifier: Apache-2.0
"""A batch written as one statement leaves just what it leaves when it is written in turn: every row, every entry.

A history is drawn from a seed and played twice, each time from the same numbers and with the same secrets. Only
the clock goes on between the two, so moments are compared in steps of five seconds.
"""

import base64
import json
import random
import re
import secrets
from contextlib import nullcontext
from datetime import datetime, timedelta

import pytest
from django.db import connection, transaction

from approvals import services as approvals
from approvals.models import ActionRequest, Notification, RequestState, Vote
from audit.canonical import leaf_hash, opened
from audit.models import Disclosure, Entry
from config import clock
from config.batch import in_turn
from config.errors import Refused
from runs import asking, due, jobs, services, stopping
from runs.leases import hashed
from runs.models import Effect, Notice, Run, Task, TaskState
from tests.factories import founder, later, published, steps

pytestmark = [pytest.mark.django_db, pytest.mark.postgresql]

STORY = steps(
    {"id": "screen", "role": "agent:validator", "retries": {"maximum_attempts": 3, "initial_interval": 5}},
    {"id": "approve", "role": "human:police_liaison"},
    {"id": "pay", "role": "svc:finance", "call": "tests.charge $40"},
)
MODELS = (Run, Task, Effect, Notice, ActionRequest, Vote, Notification, Entry, Disclosure)
SEEDS, EVENTS = range(6), 90
STEP = timedelta(seconds=5)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


class NothingThere(Exception):
    """No row is in the state that an act needs."""


class City:
    """Whoever acts in a history. What is done next, and to which row, is drawn; what is refused is refused."""

    def __init__(self, seed, validator, liaison, founder):
        self.draw = random.Random(seed)
        self.validator, self.liaison, self.founder = validator, liaison, founder
        self.tokens = {}

    def play(self):
        often = [self.claim, self.complete, self.complete, self.decide, self.resume]
        acts = [*often, *often, self.start, self.fail, self.release, self.renew, self.ask, self.ask, self.cancel,
                self.wait, self.perform, self.perform]  # fmt: skip
        for _ in range(EVENTS):
            try:
                self.draw.choice(acts)()
            except (Refused, NothingThere):
                continue

    def start(self):
        payload = {"form_id": self.draw.randint(1, 9), "note": "4 \u2603 'quoted' %s \\"}
        services.start_run(actor=self.founder, playbook="story", payload=payload, labels={"n": str(len(self.tokens))})

    def claim(self):
        for lease in services.claim_tasks(role="agent:validator", actor=self.validator, limit=self.draw.choice([1, 7])):
            self.tokens[lease.task.pk] = lease.token

    def complete(self):
        said = [("PASS", {"n": [1, None]}), ("PASS", None), ("PASS", 0.5), ("PASS", []), ("FAIL", {}), ("PERHAPS", 1)]
        outcome, output = self.draw.choice(said)
        services.complete_task(**self.held(), outcome=outcome, output=output, note=self.draw.choice(["", "why"]))

    def fail(self):
        services.fail_task(**self.held(), error_type="Busy", message="line", retryable=self.draw.random() < 0.7)

    def release(self):
        services.release_task(**self.held(), note="later")

    def renew(self):
        services.extend_lease(**self.held(), renewal=self.draw.random() < 0.5)

    def ask(self):
        asking.request_approval(**self.held(), reason="may I?", role="human:police_liaison")

    def resume(self):
        task = self.one_of(Task.objects.filter(state=TaskState.APPROVED))
        lease = asking.resume_task(task_id=task, token=self.tokens.get(task, ""), actor=self.validator)
        self.tokens[task] = lease.token

    def decide(self):
        request = self.one_of(ActionRequest.objects.filter(state=RequestState.PENDING))
        outcome = self.draw.choice(["PASS", "PASS", "PASS", "FAIL"])
        approvals.decide(request_id=request, actor=self.liaison, outcome=outcome, reason="because", response_data={})

    def cancel(self):
        if self.draw.random() < 0.2:
            stopping.cancel_run(run_id=self.one_of(Run.objects.all()), actor=self.founder, reason="not any more")

    def wait(self):
        later(seconds=self.draw.choice([10, 30, 70]))
        due.sweep()

    def perform(self):
        for source, row_id in due.look().tickets:
            if source == "task":
                jobs.perform(source, row_id)

    def held(self):
        task = self.one_of(Task.objects.filter(state=TaskState.RUNNING))
        token = self.tokens[task] if self.draw.random() < 0.8 else "somebody else's"
        return {"task_id": task, "actor": self.validator, "token": token}

    def one_of(self, rows):
        found = list(rows.order_by("pk").values_list("pk", flat=True))
        if not found:
            raise NothingThere
        return self.draw.choice(found)


@pytest.fixture
def city(validator, liaison, tmp_path, monkeypatch):
    monkeypatch.setenv("HMS_ACT_TEST_MARKS", str(tmp_path))
    published(STORY)
    return lambda seed: City(seed, validator, liaison, founder())


@pytest.fixture
def same_numbers(city):
    """Wherever the numbers of rows have got to, they go on from the same one, which nobody has had."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT max(last_value) FROM pg_sequences")
        (highest,) = cursor.fetchone()

    def begin():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT setval(quote_ident(schemaname) || '.' || quote_ident(sequencename), %s) FROM pg_sequences",
                [highest + 1],
            )

    return begin


@pytest.fixture
def same_secrets(monkeypatch):
    """From a seed on, all that is drawn at random is drawn alike."""

    def begin(seed):
        drawn = random.Random(seed)
        monkeypatch.setattr(secrets, "token_bytes", drawn.randbytes)
        monkeypatch.setattr(secrets, "token_hex", lambda count: drawn.randbytes(count).hex())
        monkeypatch.setattr(secrets, "token_urlsafe", lambda count: base64.b32encode(drawn.randbytes(count)).decode())
        random.seed(seed)

    return begin


def test_the_same_histories_leave_the_same_rows_in_both_forms(city, same_numbers, same_secrets):
    happened = set()
    for seed in SEEDS:
        at_once, turn_by_turn = (
            played(city, same_numbers, same_secrets, seed, form) for form in (nullcontext, in_turn)
        )
        for model in MODELS:
            assert at_once[model] == turn_by_turn[model], (seed, model.__name__)
        happened |= {entry["action"] for entry in at_once[Entry]}

    assert {"run.completed", "run.cancelled", "run.failed", "task.lease_lost", "task.resumed"} <= happened
    assert {"effect.confirmed", "task.released", "task.failed"} <= happened
    assert any(name.endswith("_denied") for name in happened)


def played(city, same_numbers, same_secrets, seed, form):
    """Model → its rows, as a history leaves them; nothing of it stays."""
    with transaction.atomic(), form():
        same_numbers()
        same_secrets(seed)
        before, began = {model: set(model.objects.values_list("pk", flat=True)) for model in MODELS}, clock.now()
        city(seed).play()
        rows = {model: [told(row, began) for row in model.objects.order_by("pk").exclude(pk__in=before[model])]
                for model in MODELS}  # fmt: skip
        transaction.set_rollback(True)
    return rows


def told(row, began):
    values = {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields}
    if isinstance(row, Entry):
        assert row.entry_hash == leaf_hash(bytes(row.body))
        values |= {"body": in_steps(json.loads(bytes(row.body)), began), "entry_hash": ""}
    if isinstance(row, Disclosure):
        values["items"] = [(item["path"], opened(item["disclosure"])) for item in row.items]
    return {name: in_steps(value, began) for name, value in values.items()}


def in_steps(value, began):
    """The value, with each moment in it as so many steps after the beginning."""
    if isinstance(value, datetime):
        return round((value - began) / STEP)
    if isinstance(value, str):
        return MOMENT.sub(lambda found: str(in_steps(datetime.fromisoformat(found[0]), began)), value)
    if isinstance(value, dict):
        return {key: in_steps(each, began) for key, each in value.items() if key != "commitments"}
    return [in_steps(each, began) for each in value] if isinstance(value, list | tuple) else value


def test_the_seeded_tokens_are_the_ones_that_are_kept(city, same_secrets):
    same_secrets(1)
    made = city(1)
    made.start()
    made.claim()

    task = Task.objects.get(state=TaskState.RUNNING)
    assert task.token_hash == hashed(made.tokens[task.pk])
