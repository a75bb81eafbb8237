# SPDX-License-Identifier: Apache-2.0
"""Receipts and signing keys in the admin: evidence, read-only. What is done about them is done on the decision page."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals import constraints, proof
from approvals.choices import label_of
from approvals.inlines import ReadOnlyInline, block
from approvals.models import ActionRequest, Receipt, SigningKey, Spending
from approvals.notify import link_to
from approvals.signing import why_untrusted
from audit.services import log_origin
from audit.shown import as_text, made_visible
from config.admin import EvidenceAdmin


class SpendingInline(ReadOnlyInline):
    model = Spending
    fields = readonly_fields = ("number", "by", "effective", "digest", "started", "spent_at")
    verbose_name_plural = "effective actions"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Spending]:
        return super().get_queryset(request).select_related("spent_by")

    @admin.display(description="used by")
    def by(self, spent: Spending) -> str:
        return made_visible(spent.spent_by.get_username()) if spent.spent_by else "the engine"

    @admin.display(description="effective action")
    def effective(self, spent: Spending) -> SafeString:
        return block(as_text(spent.action))

    @admin.display(description="run")
    def started(self, spent: Spending) -> str:
        return f"run {spent.run_id}" if spent.run_id else ""


@admin.register(Receipt)
class ReceiptAdmin(EvidenceAdmin):
    list_display = ("id", "about", "state", "executor", "approved_by", "used", "made_at")
    list_filter = ("state", "executor")
    show_facets = admin.ShowFacets.NEVER
    search_fields = ("id", "request__id", "nonce")
    search_help_text = "Receipt (rcp_…), request (har_…) or nonce"
    ordering = ("-minted_at", "-id")
    sortable_by = ()
    inlines = (SpendingInline,)
    fieldsets = (
        ("What it permits", {"fields": ("id", "about", "executor", "approved", "digest", "conditions")}),
        ("Three records", {"fields": ("proposed_digest", "digest_approved", "digest_effective")}),
        ("Who approved", {"fields": ("approved_by", "chosen", "revision", "content_digest")}),
        ("When", {"fields": ("state", "used", "made_at", "usable_from", "usable_until", "closed_at")}),
        ("Proof", {"fields": ("genuine", "statement", "signature", "key_id", "nonce")}),
    )

    class Media:
        css = {"all": ("audit/evidence.css",)}

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Of the pages; which rows they hold is for `visible_to` to say."""
        user: Any = request.user
        return user.is_authenticated and user.is_human and bool(user.roles or user.has_perm("runs.view"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Receipt]:
        seen = ActionRequest.objects.visible_to(request.user).values("pk")
        return super().get_queryset(request).filter(request__in=seen).select_related("request")

    @admin.display(description="request")
    def about(self, receipt: Receipt) -> SafeString:
        return format_html(
            '<a href="{}" dir="auto">{}</a>', link_to(receipt.request), made_visible(receipt.request.title)
        )

    @admin.display(description="approved by")
    def approved_by(self, receipt: Receipt) -> str:
        return made_visible(", ".join(voter["name"] for voter in receipt.voters)) or "the product itself"

    @admin.display(description="used")
    def used(self, receipt: Receipt) -> str:
        return f"{receipt.uses} of {receipt.uses_allowed}"

    @admin.display(description="made at")
    def made_at(self, receipt: Receipt) -> datetime:
        return receipt.minted_at

    @admin.display(description="usable from")
    def usable_from(self, receipt: Receipt) -> datetime:
        return receipt.not_before

    @admin.display(description="usable until", empty_value="no end")
    def usable_until(self, receipt: Receipt) -> datetime | None:
        return receipt.not_after

    @admin.display(description="chosen")
    def chosen(self, receipt: Receipt) -> str:
        return label_of(receipt.request, receipt.outcome)

    @admin.display(description="approved action")
    def approved(self, receipt: Receipt) -> SafeString:
        return block(as_text(receipt.action))

    @admin.display(description="conditions")
    def conditions(self, receipt: Receipt) -> str:
        return made_visible("; ".join(constraints.in_words(receipt.constraints))) or "none"

    @admin.display(description="approved digest")
    def digest_approved(self, receipt: Receipt) -> str:
        return receipt.digest

    @admin.display(description="effective digest")
    def digest_effective(self, receipt: Receipt) -> str:
        return ", ".join(receipt.spendings.values_list("digest", flat=True)) or "nothing was done yet"

    @admin.display(description="genuine")
    def genuine(self, receipt: Receipt) -> str:
        why = why_untrusted(receipt)
        return f"No: {why}." if why else f"Yes: signed under the key {receipt.key_id}."

    @admin.display(description="statement")
    def statement(self, receipt: Receipt) -> SafeString:
        return block(as_text(proof.statement(receipt, log=log_origin())))


@admin.register(SigningKey)
class SigningKeyAdmin(EvidenceAdmin):
    list_display = ("id", "public_key", "created_at", "distrusted_at")
    fields = ("id", "public_key", "created_at", "distrusted_at")
    sortable_by = ()

    class Media:
        css = {"all": ("audit/evidence.css",)}
