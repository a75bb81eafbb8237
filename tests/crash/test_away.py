# SPDX-License-Identifier: Apache-2.0
"""A call that meets a database that does not answer."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection

from accounts.models import IdempotentCall
from runs.models import Run
from tests.factories import published

pytestmark = pytest.mark.django_db


def full(execute, sql, params, many, context):
    if 'INSERT INTO "runs_task"' in sql:
        raise OperationalError("could not extend file: No space left on device")
    return execute(sql, params, many, context)


def test_it_is_told_to_come_again_and_has_left_nothing_partial(validator, api_for, caplog):
    published()
    api = api_for(validator)
    call = {"data": {"playbook": "protest_permit"}, "headers": {"Idempotency-Key": "permit-1"}}

    with connection.execute_wrapper(full):
        answer = api.post("/acts/run", **call)

    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "unavailable", "2")
    assert "No space left" in caplog.text
    assert "No space left" not in answer.text, "what is inside is told to the operator alone"
    assert (Run.objects.count(), IdempotentCall.objects.count()) == (0, 0)
    assert api.post("/acts/run", **call).status_code == 202
