# SPDX-License-Identifier: Apache-2.0
"""The acts on a request beside deciding it, each a page of its own: ask back, want changes, change it, answer, break
the glass. GET shows a form; POST hands it to one service, which alone judges it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from django import forms
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import re_path, reverse
from unfold.widgets import UnfoldAdminRadioSelectWidget, UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from accounts import assurance
from accounts.pages import actor_of
from approvals import revising, rights, services
from approvals.models import DECIDABLE_REQUESTS, OPEN_REQUESTS, ActionRequest, RequestState
from approvals.notify import link_to
from audit.shown import made_visible
from config.admin import form_page

Title = str


@dataclass(frozen=True, slots=True)
class More:
    """An act that the decision page offers beside deciding."""

    title: str
    url: str


class TextForm(forms.Form):
    text = forms.CharField(max_length=revising.MAX_TEXT, widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}))

    def __init__(self, sent: Any, *, label: str, help_text: str = "") -> None:
        super().__init__(sent)
        self.fields["text"].label, self.fields["text"].help_text = label, help_text


class ReviseForm(forms.Form):
    """What is asked, as it can be changed. Whatever is JSON is written as JSON."""

    title = forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget)
    description = forms.CharField(
        required=False, max_length=20_000, widget=UnfoldAdminTextareaWidget(attrs={"rows": 3})
    )
    reason = forms.CharField(
        max_length=2000, widget=UnfoldAdminTextInputWidget, help_text="Why it is changed; kept in the log."
    )
    revision = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, sent: Any, *, asked: ActionRequest) -> None:
        held = {**_editable(asked), "title": asked.title, "description": asked.description, "revision": asked.revision}
        super().__init__(sent, initial=held)
        for name in _editable(asked):
            self.fields[name] = forms.JSONField(
                required=False,
                widget=UnfoldAdminTextareaWidget(attrs={"rows": 8, "spellcheck": "false", "class": "code"}),
            )
        self.order_fields(["title", "description", *_editable(asked), "reason"])


class EmergencyForm(forms.Form):
    outcome = forms.ChoiceField(widget=UnfoldAdminRadioSelectWidget)
    reason = forms.CharField(
        max_length=10_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4}),
        help_text="What the emergency is, and why now.",
    )
    revision = forms.IntegerField(widget=forms.HiddenInput)

    def __init__(self, sent: Any, *, asked: ActionRequest) -> None:
        super().__init__(sent, initial={"revision": asked.revision})
        offered = [(each["key"], each["label"]) for each in asked.options] or [(services.APPROVE, "Approve")]
        self.fields["outcome"].choices = [*offered, (services.REJECT, "Reject")]  # type: ignore[attr-defined]


def _editable(asked: ActionRequest) -> dict[str, Any]:
    action = asked.action or {}
    return {"context": asked.asked.get("context", {})} | {
        name: action[name] for name in ("payload", "input") if name in action
    }


# What is offered ------------------------------------------------------------------------------------------


def more_for(asked: ActionRequest, reader: Any, *, may_decide: bool) -> list[More]:
    """The acts that would not be refused to this reader as things stand."""
    return [More(title, _url(name, asked)) for name, title in _offered(asked, reader, may_decide=may_decide)]


def _offered(asked: ActionRequest, reader: Any, *, may_decide: bool) -> Iterator[tuple[str, Title]]:
    rules = rights.rules_of(asked)
    is_asker = reader.pk == asked.requester_id
    if asked.state in DECIDABLE_REQUESTS and may_decide:
        yield "ask", "Ask whoever asked something"
        yield "changes", "Have it asked otherwise"
    if asked.state == RequestState.INFO_REQUESTED and is_asker:
        yield "answer", "Answer the question"
    if asked.state in OPEN_REQUESTS and (is_asker or (may_decide and rules.edits.allowed)):
        yield "revise", "Change what is asked"
    glass = rules.break_glass
    if asked.state in DECIDABLE_REQUESTS and glass is not None and glass.role in reader.roles and not is_asker:
        yield "emergency", "Decide alone, in an emergency"


# The pages ------------------------------------------------------------------------------------------------


def urls(owner: Any, request_id: str) -> list[Any]:
    """For the admin of requests."""
    return [
        re_path(
            rf"^(?P<request_id>{request_id})/{name}/\Z",
            owner.admin_site.admin_view(_page(owner, make)),
            name=f"approvals_actionrequest_{name}",
        )
        for name, make in PAGES.items()
    ]


def _page(owner: Any, make: Callable[[Any, HttpRequest, ActionRequest], HttpResponse]) -> Callable[..., HttpResponse]:
    def page(request: HttpRequest, request_id: str) -> HttpResponse:
        found = ActionRequest.objects.visible_to(request.user).select_related("run").filter(pk=request_id).first()
        if found is None:
            raise Http404
        assurance.recall(request)
        return make(owner, request, found)

    return page


def _ask(owner: Any, request: HttpRequest, asked: ActionRequest) -> HttpResponse:
    def act(given: Mapping[str, Any]) -> str:
        revising.request_info(request_id=asked.pk, actor=actor_of(request), question=given["text"])
        return "Your question is sent. The clock stands until it is answered."

    return _text_page(
        owner,
        request,
        asked,
        title="Ask about",
        label="Question",
        button="Send the question",
        act=act,
        intro="Until whoever asked has answered, nobody decides, and deadlines wait.",
    )


def _changes(owner: Any, request: HttpRequest, asked: ActionRequest) -> HttpResponse:
    def act(given: Mapping[str, Any]) -> str:
        revising.request_changes(request_id=asked.pk, actor=actor_of(request), feedback=given["text"])
        return "Sent back. Whoever asked can ask anew, otherwise."

    return _text_page(
        owner,
        request,
        asked,
        title="Have it asked otherwise:",
        label="What would have to be otherwise",
        button="Send it back",
        act=act,
        intro="This is no rejection: whoever asked sends a new revision, which is then decided.",
    )


def _answer(owner: Any, request: HttpRequest, asked: ActionRequest) -> HttpResponse:
    def act(given: Mapping[str, Any]) -> str:
        revising.answer_info(request_id=asked.pk, actor=actor_of(request), answer=given["text"])
        return "Your answer is sent, and the clock goes on."

    question = next((said["text"] for said in reversed(asked.exchange) if said["kind"] == "question"), "")
    return _text_page(
        owner,
        request,
        asked,
        title="Answer about",
        label="Answer",
        button="Send the answer",
        act=act,
        intro=made_visible(f"You are asked: {question}"),
    )


def _revise(owner: Any, request: HttpRequest, asked: ActionRequest) -> HttpResponse:
    def act(given: Mapping[str, Any]) -> str:
        names = ("title", "description", *_editable(asked))
        held = {**_editable(asked), "title": asked.title, "description": asked.description}
        changes = {name: given[name] for name in names if given[name] != held[name]}
        about = {"reason": given["reason"], "revision": given["revision"]}
        revising.revise_request(request_id=asked.pk, actor=actor_of(request), changes=changes, **about)
        return "What is asked is changed. Votes on what was asked before count no more, unless it only narrows."

    return form_page(
        request,
        owner,
        lambda sent: ReviseForm(sent, asked=asked),
        title=f"Change: {made_visible(asked.title)}",
        button="Ask it like this",
        act=act,
        back=link_to(asked),
        intro="This makes a new revision. Whoever changes what is asked is a maker of it, and cannot approve it then.",
    )


def _emergency(owner: Any, request: HttpRequest, asked: ActionRequest) -> HttpResponse:
    def act(given: Mapping[str, Any]) -> str:
        services.decide(request_id=asked.pk, actor=actor_of(request), emergency=True, **given)
        return "Decided, and told to everybody who was to decide. It will be reviewed."

    return form_page(
        request,
        owner,
        lambda sent: EmergencyForm(sent, asked=asked),
        title=f"In an emergency: {made_visible(asked.title)}",
        button="Decide alone",
        act=act,
        back=link_to(asked),
        intro="You decide alone what others were to decide with you. They are told at once, and it is reviewed.",
        danger=True,
    )


def _text_page(
    owner: Any, request: HttpRequest, asked: ActionRequest, *, title: str, label: str, button: str, act: Any, intro: str
) -> HttpResponse:
    return form_page(
        request,
        owner,
        lambda sent: TextForm(sent, label=label),
        title=f"{title} {made_visible(asked.title)}",
        button=button,
        act=act,
        back=link_to(asked),
        intro=intro,
    )


def _url(name: str, asked: ActionRequest) -> str:
    return reverse(f"admin:approvals_actionrequest_{name}", args=[asked.pk])


PAGES: Mapping[str, Callable[[Any, HttpRequest, ActionRequest], HttpResponse]] = {
    "ask": _ask,
    "changes": _changes,
    "answer": _answer,
    "revise": _revise,
    "emergency": _emergency,
}
