# SPDX-License-Identifier: Apache-2.0
"""`/hitl/requests/{id}/comment`, `attachments`, `draft`: the talk around a request."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Any

from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils.http import content_disposition_header
from rest_framework import serializers
from rest_framework.exceptions import ParseError
from rest_framework.generics import ListAPIView
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from approvals import talk
from approvals import talk_described as shown
from approvals.api import RequestCall, one_request
from approvals.attachments import KINDS, download_name
from approvals.models import Attachment, Comment
from config.api import StrictJSONParser, TextField, validated
from config.errors import Invalid, NotFound, Problem, Unparseable
from config.lists import CursorPages
from config.openapi import described, listed

PARTS_AROUND = 64 * 1024  # bytes of a multipart body beside the file
SANDBOX = "sandbox; default-src 'none'; frame-ancestors 'none'"


class OldestFirst(CursorPages):
    ordering = ("id",)


# Comments -------------------------------------------------------------------------------------------------


class CommentIn(serializers.Serializer[Any]):
    text = TextField(max_length=10_000)


class CommentOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    author = serializers.CharField(source="author.username")
    text = serializers.CharField()
    revision = serializers.IntegerField()
    created_at = serializers.DateTimeField()


@listed("list_comments", "See what was said about a request", CommentOut, shows=shown.COMMENT)
class Comments(Call, ListAPIView[Comment]):
    """GET /hitl/requests/{id}/comment: what was said, oldest first. POST: say something; 201."""

    serializer_class = CommentOut
    pagination_class = OldestFirst

    def get_queryset(self) -> QuerySet[Comment]:
        return talk.comments_for(one_request(self.request, self.kwargs["request_id"]), self.actor)

    @described(
        "comment_request",
        "Comment on a request",
        about="For all who may read the request; it decides nothing.",
        asks=CommentIn,
        example=shown.COMMENTING,
        answers={201: CommentOut},
        shows=shown.COMMENT,
    )
    def post(self, request: Request, request_id: str) -> Response:
        text = validated(CommentIn, request.data)["text"]
        said = talk.comment(request_id=request_id, actor=self.actor, text=text)
        return Response(CommentOut(said).data, status=201)


# Attachments ----------------------------------------------------------------------------------------------


class FileInParts(MultiPartParser):
    """One file, within the size that attachments may have; what is larger is not read."""

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        try:
            length = int(stream.META.get("CONTENT_LENGTH") or 0)
        except ValueError:
            length = 0
        talk.refuse_too_large(length - PARTS_AROUND)
        try:
            return super().parse(stream, media_type, parser_context)
        except ParseError as fault:
            raise Unparseable(f"The body is no multipart form: {fault.detail}")


class AttachIn(serializers.Serializer[Any]):
    name = TextField(max_length=1000)
    content = TextField(max_length=1024 * 1024)  # base64


class AttachmentOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    media_type = serializers.CharField()
    size = serializers.IntegerField()
    sha256 = serializers.CharField()
    revision = serializers.IntegerField()
    uploaded_by = serializers.CharField(source="uploader.username")
    created_at = serializers.DateTimeField()
    href = serializers.SerializerMethodField()

    def get_href(self, attachment: Attachment) -> str:
        return href_of(attachment)


def href_of(attachment: Attachment) -> str:
    return f"/hitl/requests/{attachment.request_id}/attachments/{attachment.pk}"


@listed("list_attachments", "See what was attached to a request", AttachmentOut, shows=shown.ATTACHMENT)
class Attachments(Call, ListAPIView[Attachment]):
    """GET /hitl/requests/{id}/attachments: oldest first. POST: attach a file; once is enough."""

    serializer_class = AttachmentOut
    pagination_class = OldestFirst
    parser_classes = [StrictJSONParser, FileInParts]
    repeatable = False  # a file sent twice is one attachment, with or without a key

    def get_queryset(self) -> QuerySet[Attachment]:
        return talk.attachments_of(one_request(self.request, self.kwargs["request_id"]))

    @described(
        "attach_to_request",
        "Attach a file",
        about="As JSON with its content in base64, or as `multipart/form-data` with one `file`. What it is, is found "
        "in its bytes. 200 if it was there already.",
        asks={"application/json": AttachIn, "multipart/form-data": shown.IN_PARTS},
        example=shown.ATTACHING,
        answers={201: AttachmentOut, 200: AttachmentOut},
        shows=shown.ATTACHMENT,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, request_id: str) -> Response:
        name, content = _file_of(request)
        added, is_new = talk.attach(request_id=request_id, actor=self.actor, name=name, content=content)
        return Response(AttachmentOut(added).data, status=201 if is_new else 200)


def _file_of(request: Request) -> tuple[str, bytes]:
    """(name, content) of what was sent. Raises Invalid, TooLarge."""
    if not request.content_type.startswith("multipart/"):
        given = validated(AttachIn, request.data)
        try:
            return given["name"], b64decode(given["content"], validate=True)
        except (binascii.Error, ValueError):
            raise Invalid(
                "The content is not base64.", errors=[Problem("content", "not base64", "RFC 4648, section 4.")]
            )
    files = request.FILES.getlist("file")
    if len(files) != 1 or len(request.FILES) != 1:
        raise Invalid("Send one file, as `file`.", errors=[Problem("file", "not one file", "One part named `file`.")])
    (sent,) = files
    talk.refuse_too_large(sent.size)
    return str(sent.name or ""), sent.read()


class OneAttachment(Call):
    """GET /hitl/requests/{id}/attachments/{n}: the file, for saving; its SHA-256 was compared."""

    @described(
        "get_attachment",
        "Download an attachment",
        answers={(200, kind.media_type): shown.FILE for kind in KINDS},
        refuses=("attachment_damaged",),
    )
    def get(self, request: Request, request_id: str, attachment_id: str) -> HttpResponse:
        return download(talk.attachment(request=one_request(request, request_id), number=int(attachment_id)))


def download(attachment: Attachment) -> HttpResponse:
    """For saving, and for nothing else: no browser runs it, shows it in our name, or guesses another kind."""
    text = "; charset=utf-8" if attachment.media_type == "text/plain" else ""
    name = download_name(attachment.name, attachment.media_type)
    response = HttpResponse(bytes(attachment.content), content_type=attachment.media_type + text)
    response["Content-Disposition"] = content_disposition_header(True, name)
    response["Content-Security-Policy"] = SANDBOX
    response["X-Content-Type-Options"] = "nosniff"
    response["Cross-Origin-Resource-Policy"] = "same-origin"
    response["Cache-Control"] = "private, no-store"
    return response


# Drafts ---------------------------------------------------------------------------------------------------


class DraftIn(serializers.Serializer[Any]):
    outcome = TextField(required=False, default="", allow_blank=True, max_length=64)
    notes = TextField(required=False, default="", allow_blank=True, max_length=10_000)
    response_data = serializers.DictField(required=False, default=dict)


class DraftOut(serializers.Serializer[Any]):
    outcome = serializers.CharField()
    notes = serializers.CharField()
    response_data = serializers.SerializerMethodField()
    revision = serializers.IntegerField()
    saved_at = serializers.DateTimeField()

    def get_response_data(self, draft: Any) -> dict[str, Any]:
        found: dict[str, Any] = draft.response_data
        return found


class OwnDraft(RequestCall):
    """GET /hitl/requests/{id}/draft: what you wrote and have not sent. POST: keep it, in place of the last one."""

    limit_scope = "create"

    @described(
        "get_draft",
        "See your draft",
        about="404 where you have none, and once the request is closed.",
        answers={200: DraftOut},
        shows=shown.DRAFT,
    )
    def get(self, request: Request, request_id: str) -> Response:
        found = talk.draft_of(one_request(request, request_id), self.actor)
        if found is None:
            raise NotFound(f"You have no draft on {request_id}.")
        return Response(DraftOut(found).data)

    @described(
        "save_draft",
        "Keep a draft",
        about="For you alone, until the request is closed. Nothing is judged, and secrets are left out.",
        asks=DraftIn,
        example=shown.DRAFTING,
        answers={200: DraftOut},
        shows=shown.DRAFT,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, request_id: str) -> Response:
        given = validated(DraftIn, request.data)
        saved = talk.save_draft(request_id=request_id, actor=self.actor, **given)
        return Response(DraftOut(saved).data)
