# SPDX-License-Identifier: Apache-2.0
"""What the stream of events tells of runs and tasks, beside what every entry says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from audit.models import Entry
from runs.models import Run


def of_runs(user: Any, entries: Sequence[Entry]) -> dict[int, Mapping[str, Any]]:
    """Number of the entry → the playbook of its run, where the reader may see the run."""
    wanted = {entry.run_id for entry in entries if entry.run_id is not None}
    slugs = dict(Run.objects.visible_to(user).filter(pk__in=wanted).values_list("pk", "version__playbook__slug"))
    return {entry.pk: {"playbook": slugs[entry.run_id]} for entry in entries if entry.run_id in slugs}
