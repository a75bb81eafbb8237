# SPDX-License-Identifier: Apache-2.0
"""Links in mails by which their reader may decide without a log-in: where the policy says so, for low severity alone.

A mail otherwise carries the address of the decision page, which asks for a log-in. Reading a link, however often and
by whatever program, changes nothing and uses nothing up: only its page's form decides, by POST, once. The token has
256 bits, of which the digest alone is kept; it holds for one request in one revision, for one reader, for a day, and
no longer than the request is open.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Q
from django.urls import reverse

from accounts.models import User
from approvals.models import DECIDABLE_REQUESTS, ActionRequest, MailLink, Notification, Severity
from approvals.services import decide
from audit import actions
from audit.context import coming_from, origin, refine
from audit.services import act
from config import clock
from config.errors import Refused

LIFETIME = timedelta(days=1)
CHANNEL = LINK = "link"


class LinkOver(Refused):
    """This link is used, too old, or about something that has changed or ended. Log in to see how it stands."""

    code = "link_over"


def may_decide_by_link(request: ActionRequest) -> bool:
    """Low severity, a policy that is content with a link, and nothing to fill in: what is typed needs a log-in."""
    wanted = request.policy.get("assurance", {}).get(request.severity, "")
    return request.severity == Severity.LOW and wanted == LINK and request.form is None


def address_for(notification: Notification) -> str:
    """A new link for this mail, or "" where its reader has to log in. An earlier one of the same mail ends."""
    request = notification.request
    if request.state not in DECIDABLE_REQUESTS or not may_decide_by_link(request):
        return ""
    at, token = clock.now(), secrets.token_urlsafe(32)
    MailLink.objects.filter(
        request=request, recipient=notification.recipient_id, used_at__isnull=True, revoked_at__isnull=True
    ).update(revoked_at=at)
    MailLink.objects.create(
        request=request,
        revision=request.revision,
        recipient=notification.recipient,
        purpose=notification.purpose,
        token_hash=hashed(token),
        created_at=at,
        expires_at=at + LIFETIME,
    )
    return settings.SITE_ROOT + reverse("mail-link", args=[token])


def hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def find(token: str) -> MailLink | None:
    """The link of a token, whatever has become of it; None for a token that never was."""
    links = MailLink.objects.select_related("request__run__version__playbook", "request__requester", "recipient")
    return links.filter(token_hash=hashed(token)).first()


def holds(link: MailLink, at: datetime) -> bool:
    """Whether it may still decide."""
    request = link.request
    unspent = link.used_at is None and link.revoked_at is None and at < link.expires_at
    same = request.state in DECIDABLE_REQUESTS and request.revision == link.revision
    return unspent and same and may_decide_by_link(request)


@act(actions.LINK_DENIED)
def decide_by_link(*, link_id: int, actor: User, outcome: str, reason: str, shown_digest: str) -> ActionRequest:
    """The decision of the link's reader, under every rule of `decide()`. Raises LinkOver, and whatever it refuses."""
    link = MailLink.objects.select_for_update(of=("self",)).select_related("request", "recipient").get(pk=link_id)
    if not holds(link, clock.now()) or link.recipient_id != actor.pk:
        raise LinkOver(subject=link.request)
    with coming_from(CHANNEL, credential=f"link:{link.pk}", request_id=origin().request_id):
        refine(assurance=LINK)
        decided = decide(
            request_id=link.request_id,
            actor=actor,
            outcome=outcome,
            reason=reason,
            revision=link.revision,
            shown_digest=shown_digest,
        )
    link.used_at = clock.now()
    link.save(update_fields=["used_at"])
    return decided


def revoke(request: ActionRequest, *, at: datetime) -> None:
    """The links to a request that has ended or changed decide nothing any more."""
    stale = Q() if not request.is_open else Q(revision__lt=request.revision)
    open_links = MailLink.objects.filter(stale, request=request, used_at__isnull=True, revoked_at__isnull=True)
    open_links.update(revoked_at=at)
