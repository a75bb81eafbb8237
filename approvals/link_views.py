# SPDX-License-Identifier: Apache-2.0
"""The page behind a link in a mail, for a decision without a log-in where the policy allows it.

GET and HEAD show how it stands, and neither change nor use up anything: mail programs and their guards open every
link. Only the form on the page decides.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from approvals import letters, links
from approvals.choices import choices_of
from approvals.models import MailLink
from approvals.notify import link_to
from audit.shown import made_visible
from config import clock
from config.errors import Refused

OVER = 410


class AnswerForm(forms.Form):
    outcome = forms.CharField(max_length=64)
    reason = forms.CharField(required=False, max_length=10_000, widget=forms.Textarea)
    digest = forms.RegexField(r"^[0-9a-f]{64}\Z")


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def answer(request: HttpRequest, token: str) -> HttpResponse:
    link = links.find(token)
    if link is None:
        raise Http404
    if not links.holds(link, clock.now()) and request.method != "POST":
        return _page(request, link, status=OVER)
    if request.method != "POST":
        return _page(request, link)
    return _decide(request, link)


def _decide(request: HttpRequest, link: MailLink) -> HttpResponse:
    form = AnswerForm(request.POST)
    if not form.is_valid():
        return _page(request, link, said="Choose one of the answers.", status=422)
    given = form.cleaned_data
    try:
        decided = links.decide_by_link(
            link_id=link.pk,
            actor=link.recipient,
            outcome=given["outcome"],
            reason=given["reason"],
            shown_digest=given["digest"],
        )
    except links.LinkOver as refusal:
        return _page(request, link, said=refusal.detail, status=OVER)
    except Refused as refusal:
        said = " ".join([refusal.detail, *(each.remedy or each.message for each in refusal.errors)])
        return _page(request, link, said=said, status=refusal.status)
    words = {"title": "Your answer is recorded", "asked_title": made_visible(decided.title)}
    return render(request, "approvals/answered.html", words)


def _page(request: HttpRequest, link: MailLink, *, said: str = "", status: int = 200) -> HttpResponse:
    asked = link.request
    holds = status != OVER
    words: dict[str, Any] = {
        "title": made_visible(asked.title) if holds else "This link is over",
        "holds": holds,
        "said": said,
        "typed": request.POST.get("reason", ""),
        "review": settings.SITE_ROOT + link_to(asked),
    }
    if holds:
        words |= {
            "asked": asked,
            "description": made_visible(asked.description),
            "asked_by": made_visible(asked.requester.get_full_name() or asked.requester.get_username()),
            "reader": made_visible(link.recipient.get_full_name() or link.recipient.get_username()),
            "shown": list(letters.shown_parameters(asked)),
            "choices": choices_of(asked),
        }
    response = render(request, "approvals/answer.html", words, status=status)
    response._has_been_logged = True  # type: ignore[attr-defined]  # Django's log of refusals would hold the token
    return response
