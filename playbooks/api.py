# SPDX-License-Identifier: Apache-2.0
"""`/acts/playbooks…`: documents in, versions out."""

from __future__ import annotations

from typing import Any

from django.db.models import Prefetch, QuerySet
from rest_framework import serializers
from rest_framework.generics import ListAPIView
from rest_framework.parsers import BaseParser
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.calls import Call
from config.api import MAX_BODY_BYTES, NothingIn, TextField, TooLarge, WholeField, parse_json, validated
from config.errors import Forbidden, NotFound, Problem, Unparseable
from config.lists import CursorPages
from config.openapi import described, listed
from playbooks import described as shown
from playbooks import facts, services
from playbooks.models import Playbook, Version, VersionState
from playbooks.parse import (
    DocumentInvalid,
    DocumentUnparseable,
    Parsed,
    digest,
    document_schema,
    parse,
    parse_data,
    to_document,
)
from playbooks.version_acts import locked


class Text(str):
    """A document's text, still to be parsed, so that its errors can name lines."""

    data: Any = None  # what it says as JSON, where it was sent as such


class YAMLParser(BaseParser):
    """Hands the text on as it is: the document parser reads YAML, with lines."""

    media_type = "application/yaml"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        body = stream.read(MAX_BODY_BYTES + 1)
        if len(body) > MAX_BODY_BYTES:
            raise TooLarge
        try:
            return Text(body.decode("utf-8"))
        except UnicodeDecodeError:
            what = Problem("", "is not UTF-8", "Save it as UTF-8, and send it again.")
            raise DocumentUnparseable("The document is not UTF-8.", errors=[what])


class TextYAMLParser(YAMLParser):
    media_type = "text/yaml"


class OldYAMLParser(YAMLParser):
    """The name from before RFC 9512, which many programs still send."""

    media_type = "application/x-yaml"


class JSONDocumentParser(YAMLParser):
    """Hands JSON on as text too, once it is sure that it is JSON."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: Any = None, parser_context: Any = None) -> Any:
        text: Text = super().parse(stream, media_type, parser_context)
        try:
            text.data = parse_json(text.encode())
        except Unparseable as fault:
            raise _fault_with_its_line(text) or fault
        return text


def _fault_with_its_line(text: Text) -> DocumentUnparseable | None:
    """Why the document parser could not read it either. It reads YAML: then JSON is all that is wrong."""
    try:
        parse(text)
    except DocumentUnparseable as fault:
        return fault
    except DocumentInvalid:
        return None
    return None


DOCUMENT_PARSERS = [JSONDocumentParser, YAMLParser, TextYAMLParser, OldYAMLParser]


class VersionOut(serializers.Serializer[Any]):
    version = serializers.IntegerField(source="number")
    state = serializers.ChoiceField(choices=VersionState.choices)
    digest = serializers.CharField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(source="created_by.username")
    published_at = serializers.DateTimeField(allow_null=True)
    retired_at = serializers.DateTimeField(allow_null=True)


class VersionDetailOut(VersionOut):
    playbook = serializers.CharField(source="playbook.slug")
    document = serializers.DictField()


class PublishedOut(VersionOut):
    """A version that has been published, with what its publisher should know."""

    warnings = shown.FaultOut(many=True)


class PlaybookOut(serializers.Serializer[Any]):
    id = serializers.CharField(source="slug")
    number = serializers.IntegerField(source="pk")
    title = serializers.CharField()
    owner = serializers.CharField(source="owner.username", allow_null=True)
    created_at = serializers.DateTimeField()
    current_version = serializers.SerializerMethodField()
    versions = VersionOut(many=True)

    def get_current_version(self, playbook: Playbook) -> int | None:
        """The newest published one: what a start without `version` takes."""
        published = [v.number for v in playbook.versions.all() if v.state == VersionState.PUBLISHED]
        return max(published, default=None)


def _playbooks() -> QuerySet[Playbook]:
    versions = Version.objects.select_related("created_by").order_by("-number")
    return Playbook.objects.select_related("owner").prefetch_related(Prefetch("versions", versions))


def _playbook(slug: str) -> Playbook:
    """By id, or by number as the first stories call it."""
    named = {"pk": int(slug)} if slug.isdecimal() and len(slug) < 19 else {"slug": slug}
    found = _playbooks().filter(**named).first() or _playbooks().filter(slug=slug).first()
    if found is None:
        raise NotFound(f"There is no playbook {slug!r}.")
    return found


def _parsed(request: Request, default_id: str = "") -> Parsed:
    data = request.data
    return parse(data, default_id=default_id) if isinstance(data, Text) else parse_data(data, default_id=default_id)


@listed("list_playbooks", "List the playbooks", PlaybookOut, shows=shown.PLAYBOOK)
class Playbooks(Call, ListAPIView[Playbook]):
    """GET /acts/playbooks: all of them. POST: a new one from its document, as a draft; 409 `playbook_exists`.

    `?id=` names a document that does not name itself.
    """

    serializer_class = PlaybookOut
    pagination_class = CursorPages
    parser_classes = DOCUMENT_PARSERS

    def get_queryset(self) -> QuerySet[Playbook]:
        return _playbooks()

    @described(
        "create_playbook",
        "Store a new playbook as a draft",
        about="The document may be JSON or YAML. It is not startable before it is published.",
        asks=shown.DOCUMENT,
        example=shown.NEW,
        queries=[shown.DEFAULT_ID],
        answers={201: PlaybookOut},
        shows=shown.PLAYBOOK,
        refuses=("unparseable_document", "invalid_document", "playbook_exists"),
    )
    def post(self, request: Request) -> Response:
        parsed = _parsed(request, default_id=request.query_params.get("id", ""))
        version = services.create_playbook(actor=self.actor, parsed=parsed)
        return Response(PlaybookOut(_playbook(version.playbook.slug)).data, status=201)


class OnePlaybook(Call):
    """GET /acts/playbooks/{id}."""

    @described("get_playbook", "See a playbook and its versions", answers={200: PlaybookOut}, shows=shown.PLAYBOOK)
    def get(self, request: Request, slug: str) -> Response:
        return Response(PlaybookOut(_playbook(slug)).data)


class CloneIn(serializers.Serializer[Any]):
    clone = WholeField(min_value=1, max_value=2**31 - 1)


class RetireIn(serializers.Serializer[Any]):
    reason = TextField(required=False, default="", allow_blank=True, max_length=10_000)


class Versions(Call):
    """POST /acts/playbooks/{id}/versions: a draft from a document, or `{"clone": 1}` copies version 1.

    201 with the draft; 200 with the newest version if it says the same already.
    """

    parser_classes = DOCUMENT_PARSERS

    @described(
        "add_version",
        "Add a version as a draft",
        asks=shown.DOCUMENT_OR_COPY,
        example=shown.CHANGED,
        answers={201: VersionDetailOut, 200: VersionDetailOut},
        shows=shown.VERSION_IN_FULL,
        refuses=("unparseable_document", "invalid_document"),
    )
    def post(self, request: Request, slug: str) -> Response:
        owner = _playbook(slug)
        asked = getattr(request.data, "data", None)
        if isinstance(asked, dict) and set(asked) == {"clone"}:
            number = validated(CloneIn, asked)["clone"]
            version, made = services.clone_version(actor=self.actor, playbook=owner.slug, number=number), True
        else:
            parsed = _parsed(request, default_id=owner.slug)
            version, made = services.add_version(actor=self.actor, playbook=owner.slug, parsed=parsed)
        return Response(VersionDetailOut(version).data, status=201 if made else 200)


class VersionCall(Call):
    """A call on one version, which may be held against its ETag."""

    def etag_now(self, **named: Any) -> str | None:
        owner = locked(Playbook, _playbook(named["slug"]).slug)
        version = owner.versions.filter(number=named["number"]).first()
        return version.etag if version else None


class OneVersion(VersionCall):
    """GET /acts/playbooks/{id}/versions/{n}. PUT replaces a draft's document; 409 for a published one."""

    parser_classes = DOCUMENT_PARSERS

    @described(
        "get_version",
        "See a version",
        about="With its document.",
        answers={200: VersionDetailOut},
        shows=shown.VERSION_IN_FULL,
        etag=True,
    )
    def get(self, request: Request, slug: str, number: int) -> Response:
        version = _version(slug, number)
        return Response(VersionDetailOut(version).data, headers={"ETag": version.etag})

    @described(
        "edit_version",
        "Replace the document of a draft",
        about="A published version never changes: clone it to the next one, and edit that.",
        asks=shown.DOCUMENT,
        example=shown.CHANGED,
        answers={200: VersionDetailOut},
        shows=shown.VERSION_IN_FULL,
        refuses=("unparseable_document", "invalid_document", "version_published"),
    )
    def put(self, request: Request, slug: str, number: int) -> Response:
        owner = _playbook(slug)
        parsed = _parsed(request, default_id=owner.slug)
        services.edit_draft(actor=self.actor, playbook=owner.slug, number=number, parsed=parsed)
        return Response(VersionDetailOut(_version(slug, number)).data)


def _version(slug: str, number: int) -> Version:
    owner = _playbook(slug)
    found = Version.objects.select_related("playbook", "created_by").filter(playbook=owner, number=number).first()
    if found is None:
        raise NotFound(f"Playbook {owner.slug!r} has no version {number}.")
    return found


class Publish(VersionCall):
    """POST /acts/playbooks/{id}/versions/{n}/publish: frozen, and startable; 422 with every reason why not."""

    @described(
        "publish_version",
        "Publish a version",
        asks=NothingIn,
        example={},
        answers={200: PublishedOut},
        shows=shown.PUBLISHED,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, slug: str, number: int) -> Response:
        validated(NothingIn, request.data)
        done = services.publish_version(actor=self.actor, playbook=_playbook(slug).slug, number=number)
        return Response(
            {**VersionOut(_version(slug, number)).data, "warnings": [each.as_json() for each in done.warnings]}
        )


class Retire(VersionCall):
    """POST /acts/playbooks/{id}/versions/{n}/retire: no new runs on it."""

    @described(
        "retire_version",
        "Retire a version",
        asks=RetireIn,
        example=shown.RETIRE,
        answers={200: VersionOut},
        shows=shown.RETIRED,
        refuses=("wrong_state",),
    )
    def post(self, request: Request, slug: str, number: int) -> Response:
        given = validated(RetireIn, request.data)
        services.retire_version(actor=self.actor, playbook=_playbook(slug).slug, number=number, **given)
        return Response(VersionOut(_version(slug, number)).data)


NOTHING_MORE: dict[str, Any] = {"warnings": [], "notes": [], "digest": None}


class Validate(Call):
    """POST /acts/playbooks/validate: what is wrong with a document, and what publishing would refuse or warn of."""

    repeatable = False  # it changes nothing
    parser_classes = DOCUMENT_PARSERS

    @described(
        "validate_playbook",
        "See what is wrong with a document",
        asks=shown.CLAIMED_DOCUMENT,
        example=shown.NEW,
        answers={200: shown.ValidityOut},
        shows=shown.VALID,
    )
    def post(self, request: Request) -> Response:
        if not (self.actor.has_perm("playbooks.write") or self.actor.is_human):
            raise Forbidden("The permission playbooks.write is needed.")
        try:
            parsed = _parsed(request, default_id="unnamed")
        except DocumentInvalid as fault:
            errors = [problem.as_json() for problem in fault.errors]
            return Response({"valid": False, "publishable": False, "errors": errors, **NOTHING_MORE})
        findings = facts.findings(parsed.definition, parsed.lines)
        told = {level: [each.as_json() for each in findings if each.level == level] for level in ("error", "warning")}
        return Response(
            {
                "valid": True,
                "publishable": not told["error"],
                "errors": told["error"],
                "warnings": told["warning"],
                "notes": list(parsed.notes),
                "digest": digest(to_document(parsed.definition)),
            }
        )


class Schema(Call):
    """GET /acts/playbooks/schema: the JSON Schema of playbook documents (Draft 2020-12)."""

    @described(
        "playbook_schema",
        "Get the JSON Schema of documents",
        answers={200: shown.A_JSON_SCHEMA},
        shows=shown.JSON_SCHEMA,
    )
    def get(self, request: Request) -> Response:
        return Response(document_schema())
