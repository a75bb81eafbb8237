# SPDX-License-Identifier: Apache-2.0
"""Lists over HTTP: which filters there are, and one page after the other.

What a list does not know is refused and never ignored: a filter misspelt or left empty would show everything.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

import django_filters
from django import forms
from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django_filters.fields import IsoDateTimeField
from django_filters.rest_framework import DjangoFilterBackend
from rest_framework import exceptions
from rest_framework.pagination import CursorPagination
from rest_framework.request import Request

from config.errors import Invalid, Problem

LARGEST_ROW_NUMBER = 2**63 - 1
LONGEST_PAGE = 200
CURSOR, LIMIT = "cursor", "limit"


# Filters --------------------------------------------------------------------------------------------------


class ListFilters(DjangoFilterBackend):
    """The filters that a view declares by `filterset_class`, and no others."""

    def filter_queryset(self, request: Request, queryset: QuerySet[Any], view: Any) -> Any:
        declared = self.get_filterset_class(view, queryset)
        problems = list(_misunderstood(request.query_params, declared.base_filters if declared else {}))
        if problems:
            raise Invalid(f"The filter {problems[0].path} {problems[0].message}.", errors=problems)
        return super().filter_queryset(request, queryset, view)


def _misunderstood(given: Any, filters: Mapping[str, Any]) -> Iterator[Problem]:
    known = [*filters, CURSOR, LIMIT]
    for name in given:
        values = given.getlist(name)
        if name not in known:
            yield Problem(name, "is not known here", f"Known are {', '.join(known)}.")
        elif not all(values):
            yield Problem(name, "is empty", "Give a value, or leave it out.")
        elif any("\x00" in value for value in values):
            yield Problem(name, "contains the NUL character")
        elif len(values) > 1 and not _takes_several(filters.get(name)):
            yield Problem(name, "is given more than once", "Give it once.")


def _takes_several(declared: Any) -> bool:
    return isinstance(declared, AnyOf) or getattr(declared, "takes_several", False)


class AnyOf(django_filters.MultipleChoiceFilter):
    """One of the words that a column of the row itself may hold, or any of several of them.

    No row is found twice by that, and the library's DISTINCT would have all rows sorted before the first is shown.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, distinct=False, **kwargs)


class WholeNumber(django_filters.Filter):
    """The number of a row or a version."""

    field_class = forms.IntegerField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, min_value=1, max_value=LARGEST_ROW_NUMBER, **kwargs)


class TrueOrFalse(django_filters.TypedChoiceFilter):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        words = [("true", "true"), ("false", "false")]
        super().__init__(*args, choices=words, coerce=lambda word: word == "true", **kwargs)


class _MomentField(IsoDateTimeField):
    def clean(self, value: Any) -> datetime | None:
        try:
            moment: datetime | None = super().clean(value)
            return moment and moment.astimezone(UTC)
        except OverflowError:  # within a day of the first or the last year there is
            raise forms.ValidationError(self.error_messages["invalid"], code="invalid")


class Moment(django_filters.IsoDateTimeFilter):
    """A time of RFC 3339; without an offset it is UTC."""

    field_class = _MomentField

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        wrong = "Give a time of RFC 3339, such as 2025-11-03T14:00:00Z."
        super().__init__(*args, error_messages={"invalid": wrong}, **kwargs)


# Pages ----------------------------------------------------------------------------------------------------


class CursorPages(CursorPagination):
    """`{results, next, previous}`; stable while rows are added."""

    page_size = 50
    page_size_query_param = LIMIT
    max_page_size = LONGEST_PAGE
    ordering: Any = "-id"  # a name, or several

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> Any:
        try:
            self._check_position(queryset, request, view)
            return super().paginate_queryset(queryset, request, view)
        except (exceptions.NotFound, ValidationError, ValueError, OverflowError):
            if CURSOR not in request.query_params:
                raise
            remedy = "Follow the `next` or `previous` of an answer, as it is."
            raise Invalid("The cursor is not one of ours.", errors=[Problem(CURSOR, "is not one of ours", remedy)])

    def _check_position(self, queryset: Any, request: Request, view: Any) -> None:
        """What the library would hand to the database as it stands, to compare the first field of the order with."""
        cursor = self.decode_cursor(request)
        if cursor is None or cursor.position is None:
            return
        first = self.get_ordering(request, queryset, view)[0].lstrip("-")
        position = queryset.model._meta.get_field(first).to_python(cursor.position)
        if isinstance(position, datetime):
            if position.tzinfo is None:
                raise ValueError("the library writes the offset")
            position.astimezone(UTC)  # an OverflowError, where it lies before or after all years

    def get_paginated_response_schema(self, schema: Any) -> dict[str, Any]:
        link = {"type": ["string", "null"], "format": "uri"}
        found = {"results": schema, "next": link, "previous": link}
        return {"type": "object", "required": list(found), "properties": found}

    def decode_cursor(self, request: Request) -> Any:
        given = request.query_params.get(CURSOR)
        if given is not None and not parse_qs(b64decode(given, validate=True)):
            raise ValueError("the library would take it for the first page")
        return super().decode_cursor(request)

    def get_page_size(self, request: Request) -> int:
        given = request.query_params.get(LIMIT)
        if given is None:
            return self.page_size
        if not (given.isdecimal() and len(given) < 10 and 1 <= int(given) <= LONGEST_PAGE):
            what = f"is not a whole number from 1 to {LONGEST_PAGE}"
            raise Invalid(f"The limit {what}.", errors=[Problem(LIMIT, what)])
        return int(given)
