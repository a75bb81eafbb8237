# SPDX-License-Identifier: Apache-2.0
"""The decision page: what is asked and all there is to know about it, and the form that decides.

GET and HEAD show and change nothing. POST hands what was typed to `decide()`, which alone judges it; a refusal comes
back on the same page under its own status, with everything typed still there. So do the acts on the reader's claim,
which the same form sends: to claim, to renew and to give back loses no word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods

from accounts import assurance
from accounts.models import User, members_of
from approvals import claims, inbox, looked, people_views, policy_shown, time_shown
from approvals.around import around, initial_answer
from approvals.choices import Choice, choices_of, label_of, must_confirm, word_to_type
from approvals.claiming import claim_request, release_request, renew_claim
from approvals.condition_fields import conditions_in
from approvals.evidence import CallShown, answer_of, call_shown, evidence_for, revisions_of
from approvals.models import DECIDABLE_REQUESTS, OPEN_REQUESTS, ActionRequest, Draft
from approvals.notify import link_to
from approvals.receipt_views import parts_of
from approvals.request_pages import more_for
from approvals.rights import bar_for, needs_password, rules_of, votes_counted
from approvals.services import decide
from approvals.talk import draft_of
from approvals.told import told_context
from audit.shown import made_visible
from config.api import problem
from config.errors import AlreadyDecided, LeaseLost, Refused, StaleRevision
from runs.form_fields import SECRET_WIDGETS
from runs.forms import SchemaForm, form_class

DECIDERS_SHOWN = 8
REASON_CHARACTERS = 10_000
ANSWER = "answer"  # prefix of the fields that the request's own form asks for
INCOMPLETE = "The page was sent incomplete. Read it again, then decide."
_READ_WITH = (
    "run__version__playbook",
    "run__started_by",
    "task",
    "requester",
    "decided_by",
    "claimed_by",
    "assigned_to",
)


@dataclass(frozen=True, slots=True)
class Fault:
    """One line of the summary of what was wrong; `field_id` is where to go."""

    sentence: str
    field_id: str = ""
    label: str = ""


class DecisionForm(forms.Form):
    """The outcome, why, and what the reviewer was shown. Whether that may be, `decide()` says."""

    outcome = forms.ChoiceField(error_messages={"required": "Choose one."})
    reason = forms.CharField(required=False, max_length=REASON_CHARACTERS, widget=forms.Textarea)
    confirmed = forms.CharField(required=False, max_length=200, label="Confirmation")
    reason_code = forms.ChoiceField(required=False)
    password = forms.CharField(required=False, max_length=4096, strip=False)
    revision = forms.IntegerField(min_value=1)
    digest = forms.RegexField(r"^[0-9a-f]{64}\Z")

    def __init__(self, *args: Any, asked: ActionRequest, choices: Iterable[Choice], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asked = asked
        self.choices = {choice.key: choice for choice in choices}
        outcome: Any = self.fields["outcome"]
        outcome.choices = [(choice.key, choice.label) for choice in self.choices.values()]
        rules = rules_of(asked)
        if rules.reasons.codes:
            codes: Any = self.fields["reason_code"]
            codes.choices = [("", "No reason chosen"), *rules.reasons.codes.items()]
        else:
            del self.fields["reason_code"]
        if not needs_password(asked, rules):
            del self.fields["password"]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.chosen and not self.chosen.fails and must_confirm(self.asked):
            self._refuse_unconfirmed(cleaned.get("confirmed", ""))
        return cleaned

    @property
    def chosen(self) -> Choice | None:
        given = self.data if self.is_bound else self.initial
        return self.choices.get(given.get("outcome", ""))

    @property
    def faults(self) -> Iterator[Fault]:
        ids = {"outcome": "id_outcome_1", "reason": "id_reason", "confirmed": "id_confirmed"}
        ids |= {"reason_code": "id_reason_code", "password": "id_password"}
        for name, sentences in self.errors.items():
            if name in ids:
                yield from (Fault(str(each), ids[name], str(self[name].label)) for each in sentences)
            elif name == "__all__":
                yield from (Fault(str(each)) for each in sentences)
        if {"revision", "digest"} & self.errors.keys():
            yield Fault(INCOMPLETE)

    def _refuse_unconfirmed(self, typed: str) -> None:
        word = word_to_type(self.asked)
        if word and typed.casefold() != word.casefold():
            self.add_error("confirmed", f"Type {word} to confirm that this is the step you mean.")
        elif not typed:
            self.add_error("confirmed", "Tick this once you have read what will happen.")


@require_http_methods(["GET", "HEAD", "POST"])
def decision_page(request: HttpRequest, request_id: str) -> HttpResponse:
    asked = visible_request(request, request_id)
    assurance.recall(request)
    if request.method != "POST":
        return _page(request, asked)
    about_claim = next((act for name, act in CLAIM_ACTS.items() if name in request.POST), None)
    return _decide(request, asked) if about_claim is None else _change_claim(request, asked, about_claim)


def visible_request(request: HttpRequest, request_id: str) -> ActionRequest:
    found = ActionRequest.objects.visible_to(request.user).select_related(*_READ_WITH).filter(pk=request_id).first()
    if found is None:
        raise Http404
    if found.task is not None and found.run is not None:
        found.task.run = found.run  # read once
    return found


WAITS = "Your approval is recorded; more are needed"

# Acting ---------------------------------------------------------------------------------------------------


def _decide(request: HttpRequest, asked: ActionRequest) -> HttpResponse:
    form: DecisionForm | None = None
    answer: SchemaForm | None = None
    if asked.state in DECIDABLE_REQUESTS:
        form = DecisionForm(request.POST, asked=asked, choices=choices_of(asked))
        answer = _answer_form(asked, request.POST, needed=form.chosen is not None and not form.chosen.fails)
        _prove(request, form)
        answer_fits = answer is None or not answer.is_bound or answer.is_valid()
        if not form.is_valid() or not answer_fits:
            status = 403 if bar_for(asked, actor_of(request)) else 422
            return _page(request, asked, form=form, answer=answer, status=status)
    try:
        _send(asked, actor_of(request), form, answer, token=claims.token_of(request, asked))
    except Refused as refusal:
        return _refused(request, refusal, visible_request(request, asked.pk), form, answer)
    claims.drop(request, asked)
    return _decided(request, visible_request(request, asked.pk))


def _prove(request: HttpRequest, form: DecisionForm) -> None:
    """Hold the password against the person's; a wrong one is said beside the field."""
    if "password" in form.fields and not assurance.prove(request, str(form.data.get("password", ""))):
        form.add_error("password", "This is not your password.")


def _send(
    asked: ActionRequest, actor: User, form: DecisionForm | None, answer: SchemaForm | None, *, token: str
) -> None:
    if form is None:  # closed since it was read: nothing that was typed can count, and the attempt is recorded
        decide(request_id=asked.pk, actor=actor, outcome="")
        return
    given = form.cleaned_data
    decide(
        request_id=asked.pk,
        actor=actor,
        outcome=given["outcome"],
        reason=given["reason"],
        reason_code=given.get("reason_code", ""),
        response_data=answer.payload if answer is not None and answer.is_bound else None,
        constraints=conditions_in(asked, form.data) if form.chosen and not form.chosen.fails else None,
        revision=given["revision"],
        shown_digest=given["digest"],
        token=token,
    )


def _decided(request: HttpRequest, asked: ActionRequest) -> HttpResponse:
    """Back to the inbox, which says what was decided, where it goes on, and what is next."""
    said = format_html("{}: {}.", label_of(asked, asked.outcome) if asked.outcome else WAITS, made_visible(asked.title))
    if asked.run_id is not None:
        said += _link(run_url(asked.run_id), f"See run {asked.run_id}")
    following = inbox.next_for(actor_of(request))
    if following is not None:
        said += _link(link_to(following), f"Next: {made_visible(following.title)}")
    messages.success(request, said)
    return see_other(reverse("admin:approvals_actionrequest_changelist"))


def _refused(
    request: HttpRequest, refusal: Refused, asked: ActionRequest, form: DecisionForm | None, answer: SchemaForm | None
) -> HttpResponse:
    """The page as it is now, with the refusal, under the refusal's status."""
    claims.drop_if_lost(request, asked, refusal)
    if form is not None and isinstance(refusal, StaleRevision):
        # What was chosen and confirmed was about something else; what was written may still be of use.
        form = DecisionForm(initial={"reason": form.data.get("reason", "")}, asked=asked, choices=choices_of(asked))
    elif form is not None:
        for problem in refusal.errors:
            form.add_error(problem.path if problem.path in form.fields else None, problem.remedy or problem.message)
    return _page(request, asked, form=form, answer=answer, refusal=refusal, status=refusal.status)


@dataclass(frozen=True, slots=True)
class VoteShown:
    by: str
    label: str  # of the outcome
    at: datetime
    reason: str


def _votes(asked: ActionRequest) -> list[VoteShown]:
    """Votes so far on what is asked now, where one is not enough; none while they are blind."""
    rules = rules_of(asked)
    if rules.is_simple or (rules.blind and asked.state in OPEN_REQUESTS):
        return []
    return [
        VoteShown(vote.voter.get_username(), label_of(asked, vote.outcome), vote.voted_at, vote.reason)
        for vote in votes_counted(asked, "voter")
    ]


def actor_of(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user


def run_url(run_id: int) -> str:
    return reverse("admin:runs_run_change", args=[run_id])


def _link(url: str, text: str) -> SafeString:
    return format_html(' <a class="underline" href="{}">{}</a>', url, text)


def see_other(url: str) -> HttpResponse:
    response = HttpResponseRedirect(url)
    response.status_code = 303
    return response


# Claiming -------------------------------------------------------------------------------------------------


def _claim(request: HttpRequest, asked: ActionRequest) -> str:
    claimed, token = claim_request(request_id=asked.pk, actor=actor_of(request))
    claims.keep(request, claimed, token)
    return f"Claimed: {made_visible(asked.title)}. Others see that you are reviewing it."


def _renew(request: HttpRequest, asked: ActionRequest) -> str:
    renew_claim(request_id=asked.pk, actor=actor_of(request), token=claims.token_of(request, asked))
    return f"Renewed: {made_visible(asked.title)}. Go on."


def _release(request: HttpRequest, asked: ActionRequest) -> str:
    release_request(request_id=asked.pk, actor=actor_of(request))
    claims.drop(request, asked)
    return f"Released: {made_visible(asked.title)}. Anybody in {asked.role} may take it up."


ClaimAct = Callable[[HttpRequest, ActionRequest], str]
CLAIM_ACTS: Mapping[str, ClaimAct] = {"claim": _claim, "renew": _renew, "release": _release}  # by name of the button


def _change_claim(request: HttpRequest, asked: ActionRequest, act: ClaimAct) -> HttpResponse:
    """Do it, and go back to the page with all that was typed; the page's own script is told how it stands now."""
    refusal: Refused | None = None
    said = ""
    try:
        said = act(request, asked)
    except Refused as refused:
        refusal = refused
        claims.drop_if_lost(request, asked, refused)
    if request.get_preferred_type(["text/html", "application/json"]) == "application/json":
        return _told(request, asked, refusal)
    if refusal is None:
        messages.success(request, said)
        if not _typed_anything(request.POST):
            return see_other(link_to(asked))
    return _page_with_text(request, visible_request(request, asked.pk), refusal)


def _told(request: HttpRequest, asked: ActionRequest, refusal: Refused | None) -> HttpResponse:
    if refusal is not None:
        document = problem(refusal.status, refusal.code, refusal.detail)
        return JsonResponse(document, status=refusal.status, content_type="application/problem+json")
    now = visible_request(request, asked.pk)
    claim = claims.claim_on(now, reader=actor_of(request), token=claims.token_of(request, now))
    return JsonResponse({"expires_at": claim.until, "shown": claim.until_shown})


def _page_with_text(request: HttpRequest, asked: ActionRequest, refusal: Refused | None) -> HttpResponse:
    """The page with what was typed, unjudged. A choice made about something else than is asked now is not kept."""
    status = refusal.status if refusal else 200
    if asked.state not in DECIDABLE_REQUESTS:
        return _page(request, asked, refusal=refusal, status=status)
    kept = ["reason"]
    if request.POST.get("digest") == asked.digest:
        kept += ["outcome", "confirmed"]
    else:
        refusal = refusal or StaleRevision()
    typed = {name: request.POST.get(name, "") for name in kept}
    form = DecisionForm(initial=typed, asked=asked, choices=choices_of(asked))
    answer = _answer_form(asked, request.POST, needed=False)
    return _page(request, asked, form=form, answer=answer, refusal=refusal, status=status)


def _typed_anything(sent: QueryDict) -> bool:
    typed = (name for name in sent if name in {"outcome", "reason", "confirmed"} or name.startswith(f"{ANSWER}-"))
    return any(str(sent[name]).strip() for name in typed)


# Showing --------------------------------------------------------------------------------------------------


def _page(
    request: HttpRequest,
    asked: ActionRequest,
    *,
    form: DecisionForm | None = None,
    answer: SchemaForm | None = None,
    refusal: Refused | None = None,
    status: int = 200,
) -> HttpResponse:
    """The page. A form given is shown with what was typed; without one, the form is empty."""
    actor = actor_of(request)
    is_open = asked.state in DECIDABLE_REQUESTS
    choices = choices_of(asked) if is_open else []
    draft = draft_of(asked, actor) if is_open else None
    if is_open and form is None:
        form, answer = _as_drafted(asked, choices, draft) if draft else _empty(asked, choices)
    rules = rules_of(asked)
    bar = bar_for(asked, actor) if asked.state in OPEN_REQUESTS else None
    context = {
        "asked": asked,
        "is_open": is_open,
        "choices": choices,
        "calls": _calls(choices),
        "bar": bar if is_open else None,
        "is_first_look": asked.first_viewed_at is None and bar is None,
        "rules": rules,
        "who_decides": policy_shown.in_words(rules),
        "time": time_shown.shown_of(asked),
        "votes": _votes(asked),
        "deciders": _deciders(asked),
        "could_decide": policy_shown.could_decide(asked.eligible),
        "claim": claims.claim_on(asked, reader=actor, token=claims.token_of(request, asked)) if is_open else None,
        "must_confirm": must_confirm(asked),
        "word": word_to_type(asked),
        "form": form,
        "answer": answer,
        "revisions": revisions_of(asked),
        "drift": looked.drift_of(request, asked),
        "more": [
            *more_for(asked, actor, may_decide=bar is None),
            *people_views.offered(asked, actor, may_decide=bar is None),
        ],
        "reason_label": rules.reasons.codes.get(asked.reason_code, asked.reason_code),
        "evidence": evidence_for(asked, actor),
        "refusal": refusal,
        "claim_lost": isinstance(refusal, LeaseLost) and is_open,
        "has_secrets": answer is not None and _asks_for_secrets(answer),
        "is_repetition": isinstance(refusal, AlreadyDecided) and asked.decided_by_id == actor.pk,
        "faults": _faults(form, answer),
        "typed_reason": request.POST.get("reason", ""),
        "outcome_label": label_of(asked, asked.outcome),
        "given_answer": answer_of(asked),
        "run_url": run_url(asked.run_id) if asked.run_id is not None else "",
        **parts_of(asked, actor, request.POST),
        "inbox_badge": inbox.badge(actor),
        "draft": draft,
        **around(request, asked, actor),
        **told_context(asked),
    }
    return looked.noted(request, asked, render(request, "approvals/decide.html", context, status=status))


def page_as_it_is(request: HttpRequest, request_id: str, refusal: Refused) -> HttpResponse:
    """The page under the refusal of an act around the decision; of the decision itself nothing was sent."""
    return _page(request, visible_request(request, request_id), refusal=refusal, status=refusal.status)


def _empty(asked: ActionRequest, choices: Sequence[Choice]) -> tuple[DecisionForm, SchemaForm | None]:
    return DecisionForm(asked=asked, choices=choices), _answer_form(asked)


def _as_drafted(
    asked: ActionRequest, choices: Sequence[Choice], draft: Draft
) -> tuple[DecisionForm, SchemaForm | None]:
    """As its reader left it. A choice made about an earlier revision is made anew."""
    typed = {"reason": draft.notes, "outcome": draft.outcome if draft.revision == asked.revision else ""}
    form = DecisionForm(initial=typed, asked=asked, choices=choices)
    if asked.form is None:
        return form, None
    return form, form_class(asked.form)(prefix=ANSWER, initial=initial_answer(asked, draft))


def _answer_form(asked: ActionRequest, sent: QueryDict | None = None, *, needed: bool = True) -> SchemaForm | None:
    """The fields the request asks for; where the choice needs no answer, what was typed is kept and not checked."""
    if asked.form is None:
        return None
    kind = form_class(asked.form)
    if sent is None or needed:
        return kind(sent, prefix=ANSWER)
    empty = kind(prefix=ANSWER)
    typed = {
        name: field.widget.value_from_datadict(sent, {}, empty.add_prefix(name)) for name, field in empty.fields.items()
    }
    return kind(prefix=ANSWER, initial=typed)


def _asks_for_secrets(answer: SchemaForm) -> bool:
    """Whether some of what is typed is never written into a page again."""
    return any(isinstance(field.widget, SECRET_WIDGETS) for field in answer.fields.values())


def _faults(form: DecisionForm | None, answer: SchemaForm | None) -> list[Fault]:
    found = list(form.faults) if form is not None and form.is_bound else []
    if answer is not None and answer.is_bound:
        found += [Fault(sentence, field_id, label) for field_id, label, sentence in answer.faults]
    return found


def _calls(choices: Sequence[Choice]) -> list[CallShown]:
    """What begins at once, in full: each call with the choices that lead to it."""
    leading: dict[str, list[str]] = {}
    calls = {}
    for choice in choices:
        for step in choice.opens:
            leading.setdefault(step.id, []).append(choice.label)
            calls[step.id] = step.call
    return [
        call_shown(f"{', '.join(leading[step_id])} → {made_visible(step_id)}", call)
        for step_id, call in calls.items()
        if call is not None
    ]


def _deciders(asked: ActionRequest) -> dict[str, Any]:
    people = members_of(asked.role).order_by("username")[: DECIDERS_SHOWN + 1]
    names = [made_visible(person.get_full_name() or person.get_username()) for person in people]
    return {"names": names[:DECIDERS_SHOWN], "has_more": len(names) > DECIDERS_SHOWN}
