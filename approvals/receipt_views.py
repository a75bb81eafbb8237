# SPDX-License-Identifier: Apache-2.0
"""The decision page's part about receipts: what an approval does, what it permitted, and the form that undoes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.views.decorators.http import require_POST

from accounts.models import User
from accounts.pages import actor_of
from approvals import constraints, holding, proposals
from approvals.choices import in_words
from approvals.condition_fields import fields_of
from approvals.evidence import ChangeShown, Value, changes_shown, values_of
from approvals.models import ActionRequest, Receipt, ReceiptState
from approvals.models.receipts import Executor, receipt_of
from approvals.notify import link_to
from approvals.proposals import ProposalVoid
from audit.shown import made_visible
from config import clock
from config.errors import Refused

REASON_CHARACTERS = 2000


@dataclass(frozen=True, slots=True)
class ProposalShown:
    sentence: str
    values: tuple[Value, ...]
    void: str = ""  # why it cannot be done any more
    changes: tuple[ChangeShown, ...] = ()  # of what it rests on, since it was asked


@dataclass(frozen=True, slots=True)
class ReceiptShown:
    row: Receipt
    conditions: str
    may_undo: bool
    time_left: str
    run_id: int | None
    way_left: str  # to reverse what was done


def parts_of(asked: ActionRequest, reader: User, sent: Mapping[str, str]) -> dict[str, Any]:
    """For the decision page: `proposal`, `receipt`, `superseding`, and the fields of `conditions` as sent."""
    proposal = _proposal(asked) if asked.action else None
    if asked.is_open:
        return {"proposal": proposal, "conditions": fields_of(asked, sent)}
    receipt = receipt_of(asked)
    shown = _receipt(receipt, asked, reader) if receipt is not None else None
    return {"proposal": proposal, "receipt": shown, "superseding": _superseding(asked)}


def _proposal(asked: ActionRequest) -> ProposalShown:
    action = asked.action or {}
    void = _void(asked)
    changes = changes_shown(proposals.changes_since(action)) if void else ()
    return ProposalShown(proposals.sentence(asked), values_of(constraints.material(action)), void, changes)


def _void(asked: ActionRequest) -> str:
    if not asked.is_open or proposals.executor_of(asked) != Executor.ENGINE:
        return ""
    try:
        proposals.startable(asked)
    except ProposalVoid as void:
        return made_visible(void.detail)
    return ""


def _receipt(receipt: Receipt, asked: ActionRequest, reader: User) -> ReceiptShown:
    left = receipt.not_before - clock.now()
    is_held = receipt.state == ReceiptState.HELD and left > timedelta(0)
    return ReceiptShown(
        row=receipt,
        conditions=made_visible("; ".join(constraints.in_words(receipt.constraints))),
        may_undo=is_held and holding.may_undo(asked, reader),
        time_left=in_words(left.total_seconds()),
        run_id=receipt.spendings.values_list("run", flat=True).first(),
        way_left=holding.way_left(receipt) if receipt.state in (ReceiptState.READY, ReceiptState.SPENT) else "",
    )


def _superseding(asked: ActionRequest) -> dict[str, str] | None:
    again = asked.superseded_by.order_by("-created_at").first()
    return None if again is None else {"id": again.pk, "url": link_to(again)}


# The act --------------------------------------------------------------------------------------------------


class UndoForm(forms.Form):
    reason = forms.CharField(required=False, max_length=REASON_CHARACTERS)


@require_POST
def undo_page(request: HttpRequest, request_id: str) -> HttpResponse:
    """Undo, then back to a page that says what became of it."""
    asked = ActionRequest.objects.visible_to(request.user).filter(pk=request_id).first()
    if asked is None:
        raise Http404
    form = UndoForm(request.POST)
    reason = form.cleaned_data["reason"] if form.is_valid() else ""
    try:
        again = holding.undo(request_id=request_id, actor=actor_of(request), reason=reason)
    except Refused as refusal:
        messages.error(request, refusal.detail)
        return HttpResponseRedirect(link_to(asked), status=303)
    messages.success(request, f"Undone: {made_visible(asked.title)}. Nothing was done; the same is asked again.")
    return HttpResponseRedirect(link_to(again), status=303)
