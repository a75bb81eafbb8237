# SPDX-License-Identifier: Apache-2.0
"""What a reader of the decision page does around the decision: comment, attach, keep a draft, take back a secret.

Each is a POST of its own. Done, it goes back to the page; refused, the page comes back under the refusal's status,
with what was typed, but for secrets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from approvals import secret_services, talk
from approvals.around import replacement_form, typed_answer
from approvals.models import ActionRequest
from approvals.notify import link_to
from approvals.viewing import note_view
from approvals.views import ANSWER, REASON_CHARACTERS, actor_of, page_as_it_is, see_other, visible_request
from config.api import problem
from config.errors import Invalid, Problem, Refused
from playbooks.secret_parts import holds_secret

COMMENT_CHARACTERS = 10_000
Act = Callable[[HttpRequest, ActionRequest], str]


def _page_act(act: Act) -> Callable[..., HttpResponse]:
    """`act` does it, and says in a sentence what was done."""

    @require_POST
    def view(request: HttpRequest, request_id: str) -> HttpResponse:
        asked = visible_request(request, request_id)
        by_script = request.get_preferred_type(["text/html", "application/json"]) == "application/json"
        try:
            said = act(request, asked)
        except Refused as refusal:
            if by_script:
                document = problem(refusal.status, refusal.code, refusal.detail)
                return JsonResponse(document, status=refusal.status, content_type="application/problem+json")
            return page_as_it_is(request, request_id, refusal)
        if by_script:
            return JsonResponse({"said": said})
        messages.success(request, said)
        return see_other(link_to(asked))

    return view


@_page_act
def comment(request: HttpRequest, asked: ActionRequest) -> str:
    text = request.POST.get("comment", "")
    if not text.strip() or len(text) > COMMENT_CHARACTERS:
        remedy = f"Write something, of at most {COMMENT_CHARACTERS} characters."
        raise Invalid(remedy, errors=[Problem("comment", "empty or too long", remedy)])
    talk.comment(request_id=asked.pk, actor=actor_of(request), text=text)
    return "Your comment stands below."


@_page_act
def attach(request: HttpRequest, asked: ActionRequest) -> str:
    file: Any = request.FILES.get("file")
    if not isinstance(file, UploadedFile) or file.size is None:
        raise Invalid("Choose a file.", errors=[Problem("file", "missing", "Choose a file.")])
    talk.refuse_too_large(file.size)
    _, is_new = talk.attach(request_id=asked.pk, actor=actor_of(request), name=file.name or "", content=file.read())
    return "The file is attached." if is_new else "This file was attached before; once is enough."


@_page_act
def draft(request: HttpRequest, asked: ActionRequest) -> str:
    notes = request.POST.get("reason", "")[:REASON_CHARACTERS]
    saved = talk.save_draft(
        request_id=asked.pk,
        actor=actor_of(request),
        outcome=request.POST.get("outcome", "")[:64],
        notes=notes,
        response_data=typed_answer(asked, request.POST, prefix=ANSWER),
    )
    kept = "Draft saved" if not holds_secret(asked.form) else "Draft saved, without what is secret in it"
    return f"{kept}, {saved.saved_at:%H:%M} UTC."


@_page_act
def seen(request: HttpRequest, asked: ActionRequest) -> str:
    """Said by the page itself, once it is shown."""
    is_first = note_view(request_id=asked.pk, actor=actor_of(request))
    return "Noted: you are the first to look at it." if is_first else "Nothing to note."


@_page_act
def secret(request: HttpRequest, asked: ActionRequest) -> str:
    """Take back what one gave, or give another."""
    actor = actor_of(request)
    if "revoke" in request.POST:
        secret_services.revoke_secret(request_id=asked.pk, actor=actor)
        return "Taken back and destroyed. Tell who asked, if they still need it."
    secret_services.replace_secret(request_id=asked.pk, actor=actor, values=_replacements(request, asked))
    return "Replaced; what you had given before is destroyed."


def _replacements(request: HttpRequest, asked: ActionRequest) -> dict[str, Any]:
    """The fields that were filled in. Raises Invalid."""
    filled = replacement_form(asked, sent=request.POST)
    if filled is None:
        raise Invalid("There is nothing left to replace.")
    if not filled.is_valid():
        sentences = [f"{label}: {sentence}" for _, label, sentence in filled.faults]
        raise Invalid(" ".join(sentences), errors=[Problem("response_data", sentence) for sentence in sentences])
    return dict(filled.payload)


# By their part of the address.
ACTS = {"comment": comment, "attach": attach, "draft": draft, "seen": seen, "secret": secret}
