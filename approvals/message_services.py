# SPDX-License-Identifier: Apache-2.0
"""The acts on messages: what one wishes for oneself, who one is in Slack, and sending again what was given up."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils.crypto import constant_time_compare

from accounts.models import User
from approvals import slack
from approvals.models import ChannelPost, ExternalNotice, Notification, Preference, SlackAccount, SlackCode
from approvals.routing import Wishes, zones
from audit import actions
from audit.services import Line, Subject, act, record
from config import clock, wake
from config.errors import Forbidden, Invalid, NotFound, Problem, WrongState
from config.mail import DueRow, MailState

RESEND = "approvals.resend_notification"
CODE_LIFE = timedelta(minutes=10)
MAX_TRIES = 5
CODES_AN_HOUR = 5
UNKNOWN_ZONE = "That is no time zone: write it as Europe/Berlin or America/New_York."
MEMBER = r"[UW][A-Z0-9]{6,30}"


# What a person wishes -------------------------------------------------------------------------------------


@act(actions.PREFERENCES_CHANGE_DENIED)
def set_preferences(*, actor: User, wishes: Wishes) -> Preference:
    """How `actor` is told from now on; what is due already goes out as it was arranged. Raises Forbidden, Invalid."""
    if not actor.is_human:
        raise Forbidden("Only people are told by mail or in Slack.")
    at = clock.now()
    found = Preference.objects.select_for_update(of=("self",)).filter(user=actor.pk).first()
    preference = found or Preference(user=actor)
    changed = [name for name, value in asdict(wishes).items() if getattr(preference, name) != value]
    for name in changed:
        setattr(preference, name, getattr(wishes, name))
    preference.changed_at = at
    _refuse_faults(preference)
    if found is not None and not changed:
        return preference
    preference.save()
    facts = {"fields": sorted(changed)}
    record([Line(actions.PREFERENCES_CHANGED, preference.audit_subject(), actor, at, data=facts)])
    return preference


def _refuse_faults(preference: Preference) -> None:
    problems = []
    try:
        preference.clean_fields(exclude=["user"])
    except ValidationError as fault:
        problems = [Problem(name, text) for name, texts in fault.message_dict.items() for text in texts]
    if preference.zone not in zones():
        problems.append(Problem("zone", UNKNOWN_ZONE))
    if (preference.quiet_from is None) != (preference.quiet_until is None):
        problems.append(Problem("quiet_until", "Quiet hours have a beginning and an end."))
    elif preference.quiet_from is not None and preference.quiet_from == preference.quiet_until:
        problems.append(Problem("quiet_until", "Quiet hours end at another time than they begin."))
    if problems:
        raise Invalid("It cannot be like this.", errors=problems)


# Slack ----------------------------------------------------------------------------------------------------


@act(actions.SLACK_LINK_DENIED)
def ask_for_slack_code(*, actor: User, member: str) -> SlackCode:
    """Send a code to this member of the workspace: whoever can read it there is that member.

    Raises Forbidden, Invalid, and WrongState where Slack is off or codes were asked for too often.
    """
    if not actor.is_human:
        raise Forbidden("Only people link a Slack account.")
    if not slack.is_on():
        raise WrongState("Slack is not set up here.")
    at = clock.now()
    if SlackCode.objects.filter(recipient=actor, due_at__gt=at - timedelta(hours=1)).count() >= CODES_AN_HOUR:
        raise WrongState(f"{CODES_AN_HOUR} codes an hour are enough. Try again later.")
    if SlackAccount.objects.filter(member=member, ended_at__isnull=True).exclude(user=actor).exists():
        raise WrongState("That member of Slack is linked to another account.")
    code = SlackCode.objects.create(
        recipient=actor,
        purpose="slack_code",
        due_at=at,
        member=member,
        nonce=slack.new_nonce(),
        expires_at=at + CODE_LIFE,
    )
    subject = Subject("user", str(actor.pk), facts={"slack": member})
    record([Line(actions.SLACK_CODE_ASKED, subject, actor, at)])
    wake.after_commit()
    return code


def open_code(user: User) -> SlackCode | None:
    """The newest code of theirs that still waits to be typed."""
    codes = SlackCode.objects.filter(recipient=user, used_at__isnull=True, tries__lt=MAX_TRIES)
    return codes.filter(expires_at__gt=clock.now()).order_by("-id").first()


class WrongCode(Invalid):
    """This is not the code that was sent, or it is older than ten minutes."""

    code = "wrong_code"


def link_slack(*, actor: User, typed: str) -> SlackAccount:
    """Link the account of Slack to which the code was sent. Raises WrongCode; after five wrong ones, for good."""
    code = open_code(actor)
    if code is None:
        raise WrongCode
    if not constant_time_compare(typed.strip(), slack.code_of(code)):
        _count_wrong(code)
        raise WrongCode
    return _link(actor=actor, code_id=code.pk)


def _count_wrong(code: SlackCode) -> None:
    """By itself, so that the refusal does not take it back."""
    with transaction.atomic():
        now = SlackCode.objects.select_for_update(of=("self",)).get(pk=code.pk)
        now.tries += 1
        now.save(update_fields=["tries"])


@act(actions.SLACK_LINK_DENIED)
def _link(*, actor: User, code_id: int) -> SlackAccount:
    at = clock.now()
    code = SlackCode.objects.select_for_update(of=("self",)).get(pk=code_id)
    if code.used_at is not None or code.expires_at <= at or code.tries >= MAX_TRIES:
        raise WrongState("This code is over. Ask for another one.")
    code.used_at = at
    code.save(update_fields=["used_at"])
    SlackAccount.objects.filter(user=actor, ended_at__isnull=True).update(ended_at=at)
    try:
        with transaction.atomic():
            account = SlackAccount.objects.create(user=actor, member=code.member, verified_at=at)
    except IntegrityError:
        raise WrongState("That member of Slack is linked to another account.") from None
    record([Line(actions.SLACK_LINKED, account.audit_subject(), actor, at)])
    return account


@act(actions.SLACK_LINK_DENIED)
def unlink_slack(*, actor: User) -> None:
    """Clicks of that member decide nothing any more. Raises WrongState."""
    account = SlackAccount.objects.select_for_update(of=("self",)).filter(user=actor, ended_at__isnull=True).first()
    if account is None:
        raise WrongState("No Slack account is linked.")
    account.ended_at = at = clock.now()
    account.save(update_fields=["ended_at"])
    record([Line(actions.SLACK_UNLINKED, account.audit_subject(), actor, at)])


# Sending again --------------------------------------------------------------------------------------------


@act(actions.RESEND_DENIED)
def resend(*, actor: User, notification_id: int) -> Notification:
    """Make a message due again that was given up. Raises Forbidden, NotFound, WrongState."""
    row = _given_up(Notification, actor, notification_id)
    row.summary = None  # which is over
    _make_due(row, actor, "summary")
    return row


@act(actions.RESEND_DENIED)
def resend_to_system(*, actor: User, notification_id: int) -> ExternalNotice:
    row = _given_up(ExternalNotice, actor, notification_id)
    _make_due(row, actor)
    return row


@act(actions.RESEND_DENIED)
def resend_to_channel(*, actor: User, notification_id: int) -> ChannelPost:
    row = _given_up(ChannelPost, actor, notification_id)
    _make_due(row, actor)
    return row


def _given_up(kind: Any, actor: User, row_id: int) -> Any:
    if not actor.has_perm(RESEND):
        raise Forbidden("Only operators send messages again.")
    row = kind.objects.select_for_update(of=("self",)).filter(pk=row_id).first()
    if row is None:
        raise NotFound("There is no such message.")
    if row.state != MailState.FAILED:
        raise WrongState(f"It is {row.get_state_display().lower()}; only what was given up is sent again.", subject=row)
    return row


def _make_due(row: DueRow, actor: User, *more: str) -> None:
    at = clock.now()
    facts = {"error": row.error[:200], "attempts": row.attempts}
    row.state, row.due_at, row.attempts, row.error = MailState.DUE, at, 0, ""
    row.save(update_fields=["state", "due_at", "attempts", "error", *more])
    subject = row.audit_subject()  # type: ignore[attr-defined]
    record([Line(actions.NOTIFICATION_RESENT, subject, actor, at, MailState.FAILED, MailState.DUE, private=facts)])
    wake.after_commit()
