# SPDX-License-Identifier: Apache-2.0
"""Rows read with the row that they belong to."""

import pytest
from django.db.models import OuterRef

from config.listed import Listed
from runs.models import Run, Task
from tests.factories import started, steps

pytestmark = pytest.mark.django_db


def listed(*names, **wanted):
    tasks = Task.objects.filter(run=OuterRef("pk"), **wanted).order_by("id")
    return dict(Run.objects.annotate(found=Listed(tasks, *names)).values_list("pk", "found"))


def test_rows_come_in_their_order_with_texts_numbers_and_json_as_they_are():
    odd = {"a": [1, 2.5, None, True, {"b": "%s 'é\\\" \U0001f600"}]}
    first, second = (started(steps({"id": "one", "role": "agent:validator"}, id=name)) for name in ("one", "two"))
    for number, output in enumerate([odd, "text", 0], 2):
        Task.objects.create(
            run=first, step="%s", path=f"p{number}", kind="wait", role="", created_at=first.created_at, input=output,
            scheduled_at=first.created_at, next_check_at=first.created_at,
        )  # fmt: skip

    found = listed("step", "attempt", "input", path__startswith="p")

    assert found[first.pk] == [["%s", 1, odd], ["%s", 1, "text"], ["%s", 1, 0]]
    assert not found[second.pk]
