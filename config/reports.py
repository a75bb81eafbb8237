# SPDX-License-Identifier: Apache-2.0
"""What a report of one of our own faults may say: where it was, and nothing that anybody sent or typed.

A body may hold a person's password, and so may any variable of the code that was reading it. The library's own filter
hides what is marked, and nothing at all where DEBUG is on; this one shows no value in either case.
"""

from __future__ import annotations

from types import FrameType
from typing import Any

from django.http import HttpRequest, QueryDict
from django.utils.datastructures import MultiValueDict
from django.views.debug import SafeExceptionReporterFilter


class NothingOfOthers(SafeExceptionReporterFilter):
    def is_active(self, request: HttpRequest | None) -> bool:
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> MultiValueDict[str, str]:
        """The names of the fields. A body that could not be read has none."""
        sent = {} if request is None else getattr(request, "_post", QueryDict())
        return MultiValueDict({name: [self.cleansed_substitute] for name in sent})

    def get_traceback_frame_variables(self, request: HttpRequest | None, tb_frame: FrameType) -> Any:
        """The names of the variables, with their types."""
        return [(name, _Hidden(type(value).__name__)) for name, value in tb_frame.f_locals.items()]

    def get_safe_cookies(self, request: HttpRequest | None) -> dict[str, str]:
        return dict.fromkeys(getattr(request, "COOKIES", {}), self.cleansed_substitute)


class _Hidden:
    """Stands for a value; the report prints its representation."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}, not shown>"
