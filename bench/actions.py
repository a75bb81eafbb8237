# SPDX-License-Identifier: Apache-2.0
"""The service action of the measured playbooks: it does nothing, and tells when it began and for which run."""

from __future__ import annotations

import threading
import time
from typing import Any

from playbooks.catalogue import ActionCall, action

called = threading.local()
"""`called.runs`: those that calls in this thread were for, since it was emptied."""


@action("bench.charge")
def charge(call: ActionCall) -> dict[str, Any]:
    if hasattr(called, "runs"):
        called.runs.append(call.run_id)
    return {"paid": 40, "started_at": time.time()}
