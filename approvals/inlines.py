# SPDX-License-Identifier: Apache-2.0
"""What stands beside a request on its page of evidence: votes, comments, attachments, what became of its secrets."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import TabularInline

from approvals.models import ActionRequest, Attachment, Comment, Secret, Vote
from approvals.rights import rules_of
from audit.shown import made_visible


class ReadOnlyInline(TabularInline):
    """Rows that are evidence, as the row they stand beside is."""

    extra = 0
    can_delete = False
    hide_title = True

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # of the row it stands beside, which has been checked

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class VoteInline(ReadOnlyInline):
    model = Vote
    fields = readonly_fields = ("by", "outcome", "said", "revision", "shown", "channel", "voted_at")
    verbose_name_plural = "votes"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Vote]:
        return super().get_queryset(request).select_related("voter")

    @admin.display(description="voter")
    def by(self, vote: Vote) -> str:
        return made_visible(vote.voter.get_username())

    @admin.display(description="reason")
    def said(self, vote: Vote) -> str:
        return made_visible(vote.reason)

    @admin.display(description="digest of what was shown")
    def shown(self, vote: Vote) -> str:
        return vote.digest[:16]


class CommentInline(ReadOnlyInline):
    model = Comment
    fields = readonly_fields = ("by", "said", "revision", "created_at")
    verbose_name_plural = "comments"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Comment]:
        return super().get_queryset(request).select_related("author")

    @admin.display(description="author")
    def by(self, comment: Comment) -> str:
        return made_visible(comment.author.get_username())

    @admin.display(description="text")
    def said(self, comment: Comment) -> SafeString:
        return block(made_visible(comment.text))


class AttachmentInline(ReadOnlyInline):
    model = Attachment
    fields = readonly_fields = ("file", "media_type", "size", "sha256", "by", "revision", "created_at")
    verbose_name_plural = "attachments"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attachment]:
        return super().get_queryset(request).select_related("uploader").defer("content")

    @admin.display(description="name")
    def file(self, attachment: Attachment) -> str:
        return made_visible(attachment.name)

    @admin.display(description="attached by")
    def by(self, attachment: Attachment) -> str:
        return made_visible(attachment.uploader.get_username())


class SecretInline(ReadOnlyInline):
    """What became of the secrets; there is nothing of their values to show."""

    model = Secret
    fields = readonly_fields = ("name", "state", "by", "given_at", "expires_at", "ended_at", "key_id")
    verbose_name_plural = "secrets given"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Secret]:
        return super().get_queryset(request).select_related("given_by").defer("ciphertext", "wrapped_key")

    @admin.display(description="field")
    def name(self, secret: Secret) -> str:
        return made_visible(secret.field)

    @admin.display(description="given by")
    def by(self, secret: Secret) -> str:
        return made_visible(secret.given_by.get_username())


def inlines_of(request: ActionRequest | None) -> list[type[ReadOnlyInline]]:
    """While votes are blind, neither they nor what is said about them is shown: there is a page for that."""
    if request is not None and request.is_open and rules_of(request).blind:
        return [AttachmentInline]
    return [VoteInline, CommentInline, AttachmentInline, SecretInline]


def block(text: str) -> SafeString:
    return format_html('<pre class="evidence" dir="auto" tabindex="0">{}</pre>', text)
