# SPDX-License-Identifier: Apache-2.0
"""Statistics in the admin: one page, by period. It shows what `GET /hitl/statistics` tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from accounts.pages import actor_of
from approvals import statistics
from approvals.models import OPEN_REQUESTS, RequestState, RequestTally, RequestType
from audit.shown import made_visible
from config.admin import EvidenceAdmin, admin_page
from config.errors import Forbidden, Refused
from runs.timeline import seconds_in_words

NOTHING = "\N{EN DASH}"
MEASURES = {"view": "until it is seen", "claim": "until it is claimed", "decide": "until it is decided"}
SHARES = {
    "sla_met": "in time",
    "timed_out": "timed out",
    "overridden": "overridden",
    "undone": "taken back",
    "revised": "asked anew",
}


class Times(NamedTuple):
    what: str
    clock: str
    values: tuple[str, ...]  # p50, p90, p95, average
    answers: int


class Line(NamedTuple):
    name: str
    open: int | None
    closed: int
    median: str  # until it is decided
    p95: str
    shares: tuple[str, ...]


@admin.register(RequestTally)
class RequestTallyAdmin(EvidenceAdmin):
    class Media:
        css = {"all": ("hms_act/pages.css",)}

    list_display = ("scope", "name", "period", "count")

    def has_module_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(statistics.VIEW)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm(statistics.VIEW)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        if not self.has_view_permission(request):
            raise Forbidden(f"The permission {statistics.VIEW} is needed.")
        user = actor_of(request)
        may_see_people, refusal = user.has_perm(statistics.PEOPLE), None
        wanted: Mapping[str, Any] = {"period": "", "people": False}
        try:
            wanted = statistics.asked_for(request.GET)
            found = statistics.report(user, **wanted)
        except Refused as refused:
            refusal, found = refused, statistics.report(user)
        return admin_page(
            request,
            self,
            "approvals/statistics.html",
            title="Statistics",
            status=refusal.status if refusal else 200,
            refusal=refusal,
            period=wanted["period"],
            people=wanted["people"],
            may_see_people=may_see_people,
            **shown(found),
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """A row by itself says nothing that the page does not."""
        self.find(request, unquote(object_id))
        return redirect("admin:approvals_requesttally_changelist")


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """The report in the words of the page."""
    decided = found["times"]["decide"]["wall"] or {}
    return {
        "facts": {
            "Asked": found["total_requests"],
            "Open": found["open"],
            "Fulfilled": found["by_status"][RequestState.FULFILLED],
            "Rejected": found["by_status"][RequestState.REJECTED],
            "Answered within, half of them": _span(decided.get("p50")),
            "On average": _span(decided.get("average")),
        },
        "uncounted": found["uncounted"],
        "statuses": [
            (RequestState(name).label, number, name in OPEN_REQUESTS) for name, number in found["by_status"].items()
        ],
        "times": list(_times(found["times"])),
        "share_names": list(SHARES.values()),
        "shares": [(name, _share(found["shares"][key])) for key, name in SHARES.items()],
        "types": _lines({RequestType(name).label: part for name, part in found["types"].items()}),
        "priorities": _lines(found["priorities"]),
        "roles": _lines(found["by_role"]),
        "agents": _lines(found["by_agent"]),
        "persons": _lines(found.get("by_person", {})),
    }


def _times(times: Mapping[str, Any]) -> list[Times]:
    found = []
    for name, what in MEASURES.items():
        for clock in ("wall", "working"):
            spread = times[name][clock]
            if spread is not None:
                values = tuple(_span(spread[each]) for each in ("p50", "p90", "p95", "average"))
                found.append(
                    Times(what, "working time" if clock == "working" else "wall clock", values, spread["count"])
                )
    return found


def _lines(parts: Mapping[str, Any]) -> list[Line]:
    return [_line(name, part) for name, part in parts.items()]


def _line(name: str, part: Mapping[str, Any]) -> Line:
    decided = part["times"]["decide"]["wall"] or {}
    shares = tuple(_share(part["shares"][key]) for key in SHARES)
    return Line(
        made_visible(name),
        part.get("open"),
        part["closed"],
        _span(decided.get("p50")),
        _span(decided.get("p95")),
        shares,
    )


def _span(seconds: float | None) -> str:
    return NOTHING if seconds is None else seconds_in_words(seconds)


def _share(share: float | None) -> str:
    return NOTHING if share is None else f"{100 * share:.1f} %"
