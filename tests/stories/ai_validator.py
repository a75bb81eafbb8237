# SPDX-License-Identifier: Apache-2.0
"""What the agent of the protest-permit story calls, as far as the story tells of it."""

from typing import Any


def check_form(form: dict[str, Any]) -> dict[str, Any]:
    return {"suggestion": "APPROVE", "form_id": form["form_id"]}
