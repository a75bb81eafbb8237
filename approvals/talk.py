# SPDX-License-Identifier: Apache-2.0
"""Acts around a request that decide nothing: comments, attachments, and a person's own draft of an answer.

Who reads a request reads its comments and attachments; who has a part in it adds to them. An auditor reads.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db.models import QuerySet

from accounts.models import User
from approvals import rights
from approvals.attachments import KINDS, MAX_NAME, kind_of, plain_name
from approvals.models import OPEN_REQUESTS, ActionRequest, Asked, Attachment, Comment, Draft, Vote
from approvals.reading import locked
from approvals.secrets import without_secrets
from audit import actions
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem, Refused, TooLarge, WrongState
from runs.models import LOOK_AGAIN

MAX_COMMENTS = 500  # on one request
MAX_ATTACHMENTS = 20  # on one revision of one request
MAX_DRAFT_CHARACTERS = 64 * 1024

log = logging.getLogger(__name__)


class AttachmentDamaged(Refused):
    """What is stored is not what was attached: its SHA-256 differs. It is not handed out; tell an administrator."""

    code = "attachment_damaged"


# Comments -------------------------------------------------------------------------------------------------


@act(actions.REQUEST_TALK_DENIED)
def comment(*, request_id: str, actor: User, text: str) -> Comment:
    """Say something about a request, open or closed. Raises NotFound, Forbidden, Invalid."""
    request = _to_talk_about(request_id, actor)
    if Comment.objects.filter(request=request.pk).count() >= MAX_COMMENTS:
        raise Invalid(f"There are {MAX_COMMENTS} comments on this request already.")
    at = clock.now()
    said = Comment.objects.create(request=request, revision=request.revision, author=actor, text=text, created_at=at)
    facts = {"comment": str(said.pk), "revision": request.revision}
    record([Line(actions.REQUEST_COMMENTED, request.audit_subject(), actor, at, data=facts, private={"text": text})])
    return said


def comments_for(request: ActionRequest, reader: Any) -> QuerySet[Comment]:
    """Oldest first. Who is to vote blind does not see what others said who have voted."""
    found = Comment.objects.filter(request=request.pk).select_related("author").order_by("id")
    if not (request.is_open and rights.rules_of(request).blind):
        return found
    voters = Vote.objects.filter(request=request.pk, revision=request.revision).values_list("voter", flat=True)
    return found if reader.pk in set(voters) else found.exclude(author__in=voters)


# Attachments ----------------------------------------------------------------------------------------------


@act(actions.REQUEST_TALK_DENIED)
def attach(*, request_id: str, actor: User, name: str, content: bytes) -> tuple[Attachment, bool]:
    """Add a file to what is asked now: (attachment, whether this call added it).

    The same file again, from the same person, is the same attachment. Raises NotFound, Forbidden, WrongState,
    TooLarge, Invalid.
    """
    request = _to_talk_about(request_id, actor)
    if not request.is_open:
        raise WrongState("The request is closed; nothing is attached to it any more.", subject=request)
    called = plain_name(name)
    media_type = _media_type(called, content)
    sha256 = hashlib.sha256(content).hexdigest()
    there = Attachment.objects.filter(request=request.pk, revision=request.revision)
    known = there.filter(uploader=actor.pk, sha256=sha256).defer("content").first()
    if known is not None:
        return known, False
    if there.count() >= MAX_ATTACHMENTS:
        raise Invalid(f"There are {MAX_ATTACHMENTS} attachments on this revision already.")
    at = clock.now()
    added = Attachment.objects.create(
        request=request, revision=request.revision, uploader=actor, name=called, media_type=media_type,
        size=len(content), sha256=sha256, content=content, created_at=at,
    )  # fmt: skip
    facts = {"attachment": str(added.pk), "sha256": sha256, "size": added.size, "media_type": media_type}
    record([Line(actions.REQUEST_ATTACHED, request.audit_subject(), actor, at, data=facts, private={"name": called})])
    return added, True


def refuse_too_large(size: int) -> None:
    """Raise TooLarge for a file of so many bytes."""
    if size > settings.ATTACHMENT_MAX_BYTES:
        raise TooLarge(f"The file has more than {settings.ATTACHMENT_MAX_BYTES} bytes. Keep it elsewhere and name it.")


def _media_type(name: str, content: bytes) -> str:
    """Of what may be attached. Raises TooLarge, Invalid."""
    refuse_too_large(len(content))
    if len(name) > MAX_NAME:
        problem = Problem("name", f"longer than {MAX_NAME} characters", "Give it a shorter name.")
        raise Invalid("The file's name is too long.", errors=[problem])
    if not content:
        raise Invalid("The file is empty.", errors=[Problem("content", "empty", "Attach a file with something in it.")])
    kind = kind_of(content)
    if kind is None:
        taken = ", ".join(each.label for each in KINDS)
        problem = Problem("content", "of no kind that is taken", f"Taken are {taken}, by their content.")
        raise Invalid("Files of this kind cannot be attached.", errors=[problem])
    return kind.media_type


def attachments_of(request: ActionRequest) -> QuerySet[Attachment]:
    """Oldest first, without their content."""
    found = Attachment.objects.filter(request=request.pk).select_related("uploader")
    return found.defer("content").order_by("id")


def attachment(*, request: ActionRequest, number: int) -> Attachment:
    """One with its content, which is what was attached. Raises NotFound, AttachmentDamaged."""
    found = Attachment.objects.filter(request=request.pk, pk=number).first()
    if found is None:
        raise NotFound(f"There is no attachment {number} on {request.pk}.")
    if not hmac.compare_digest(hashlib.sha256(found.content).hexdigest(), found.sha256):
        log.error("attachment %s of %s is not what was stored: its SHA-256 differs", found.pk, request.pk)
        raise AttachmentDamaged(subject=request)
    return found


# Drafts ---------------------------------------------------------------------------------------------------


@act(actions.REQUEST_TALK_DENIED)
def save_draft(
    *, request_id: str, actor: User, outcome: str = "", notes: str = "", response_data: Mapping[str, Any] | None = None
) -> Draft:
    """Keep what a person has written so far, in place of their last draft; secrets are left out, and nothing is judged.

    Raises NotFound, Forbidden, WrongState, Invalid.
    """
    request = _to_talk_about(request_id, actor)
    if not actor.is_human:
        raise Forbidden("Drafts are people's: programs decide nothing.", subject=request)
    if not request.is_open:
        raise WrongState("The request is closed; there is nothing to draft.", subject=request)
    answer = without_secrets(request, response_data or {})
    if len(json.dumps(answer)) + len(notes) > MAX_DRAFT_CHARACTERS:
        raise Invalid("The draft is too long to be kept.")
    at = clock.now()
    written = {
        "revision": request.revision, "outcome": outcome, "notes": notes, "response_data": answer,
        "saved_at": at, "next_check_at": at + LOOK_AGAIN,
    }  # fmt: skip
    return Draft.objects.update_or_create(request=request, person=actor, defaults=written)[0]


def draft_of(request: ActionRequest, person: Any) -> Draft | None:
    """This person's, while the request is open."""
    return Draft.objects.filter(request=request.pk, person=person.pk).first() if request.is_open else None


def drop_drafts(request_id: str) -> None:
    """The request is closed: what was not sent counts for nothing."""
    Draft.objects.filter(request=request_id).delete()


def look_at_drafts(now: datetime) -> int:
    """Drop those of requests that were closed otherwise than by a decision, and look again later at the others."""
    due = Draft.objects.filter(next_check_at__lte=now)
    if not due.exists():
        return 0
    dropped, _ = due.exclude(request__state__in=OPEN_REQUESTS).delete()
    return dropped + due.update(next_check_at=now + LOOK_AGAIN)


# Who ------------------------------------------------------------------------------------------------------


def _to_talk_about(request_id: str, actor: User) -> ActionRequest:
    """The request, locked. Raises NotFound, Forbidden."""
    request = locked(request_id, actor)
    if not has_part_in(request, actor):
        raise Forbidden("You may read this request, and have no part in it.", subject=request)
    return request


def has_part_in(request: ActionRequest, user: Any) -> bool:
    """Who asked, decides or decided, and who works in its run; not who merely may read everything."""
    if user.pk in {request.requester_id, request.decided_by_id, request.assigned_to_id}:
        return True
    if request.role in user.roles or Asked.objects.filter(request=request.pk, user=user.pk).exists():
        return True
    if request.run is None:
        return False
    return request.run.started_by_id == user.pk or request.run.version.roles.filter(name__in=user.roles).exists()
