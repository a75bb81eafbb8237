# SPDX-License-Identifier: Apache-2.0
"""How a page inside the admin asks for the strict content security policy; `config/middleware.py` sends it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http import HttpRequest

STRICT_ATTRIBUTE = "strict_content_security_policy"


def strict_csp(view: Callable[..., Any]) -> Callable[..., Any]:
    """For pages inside the admin that need nothing of the skin's scripts: decision pages first of all."""

    def strict(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        response = view(request, *args, **kwargs)
        setattr(response, STRICT_ATTRIBUTE, True)
        return response

    return strict
