# SPDX-License-Identifier: Apache-2.0
"""What the worker does with what is due to be told: finds out whom, by which channel and when, and hands it over.

Each function is given an id and is safe to run twice, and beside others.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial

from django.db import transaction
from django.db.models import Q, QuerySet

from accounts.models import Kind, User
from approvals import external, letters, links, slack
from approvals.models import (
    Broadcast,
    ChannelPost,
    ExternalNotice,
    ExternalSystem,
    Notification,
    Preference,
    Severity,
    SlackChannel,
    SlackCode,
    Summary,
)
from approvals.models.messages import ASKED, ENDINGS, SUMMARY, Channel
from approvals.routing import Urgency, Wishes, plan
from config import clock, mail, wake
from config.mail import MailState, due_mails
from runs import due

URGENCY = {Severity.HIGH: Urgency.HIGH, Severity.CRITICAL: Urgency.CRITICAL}
REACHED = Q(state=MailState.SENT) | Q(state=MailState.DUE, attempts__gt=0)  # it may have arrived


def sources() -> dict[str, due.Source]:
    return {
        "mail": due.Source(waiting=_single_mails, since="due_at", perform=notification, is_news=True),
        "summary": due.mail_source(Summary, summary),
        "broadcast": due.mail_source(Broadcast, broadcast),
        "slack_code": due.mail_source(SlackCode, partial(mail.deliver, SlackCode, slack.send_code)),
        "channel_post": due.mail_source(ChannelPost, partial(mail.deliver, ChannelPost, slack.post)),
        "external": due.mail_source(ExternalNotice, partial(mail.deliver, ExternalNotice, external.send)),
    }


def _single_mails() -> QuerySet[Notification]:
    return due_mails(Notification, due.DUE_NOW).filter(summary__isnull=True)


# One message ----------------------------------------------------------------------------------------------


def notification(notification_id: int) -> None:
    mail.deliver(Notification, _hand_over, notification_id, arrange=arrange, settled=_mail_instead)


def _hand_over(row: Notification) -> tuple[str, ...]:
    if row.channel == Channel.SLACK:
        return slack.send(row)
    letter = letters.letter_of(row, link=links.address_for(row))
    row.reference = letter.headers["Message-ID"]
    mail.post(row.recipient.email, letter)
    return ("reference",)


def arrange(row: Notification, at: datetime) -> tuple[str, ...]:
    """Choose the channel and the moment as its recipient wishes, once. In Slack it becomes a second row."""
    if row.is_routed:
        return ()
    wishes, has_slack = wishes_of(row.recipient_id), slack.member_of(row.recipient_id) != ""
    chosen = plan(_urgency(row), wishes, has_slack=has_slack, at=at)
    row.is_routed = True
    if chosen.slack_at is not None and chosen.mail_at is None:
        row.channel, row.due_at = Channel.SLACK, chosen.slack_at
        return ("is_routed", "channel")
    if chosen.slack_at is not None:
        _also_in_slack(row, chosen.slack_at)
    assert chosen.mail_at is not None
    row.due_at = chosen.mail_at
    if not chosen.in_summary:
        return ("is_routed",)
    row.summary = _summary_of(row.recipient, chosen.mail_at, wishes, at)
    row.due_at = row.summary.slot_at
    return ("is_routed", "summary")


def wishes_of(user_id: int) -> Wishes:
    found = Preference.objects.filter(user=user_id).first()
    return found.wishes if found is not None else Wishes()


def _urgency(row: Notification) -> Urgency:
    """What is settled is news, and no alarm."""
    return Urgency.NORMAL if row.closes else URGENCY.get(Severity(row.request.severity), Urgency.NORMAL)


def _also_in_slack(row: Notification, at: datetime) -> None:
    if not _same_news(row, Channel.SLACK).exists():
        _copy(row, Channel.SLACK, at)


def _mail_instead(row: Notification) -> None:
    """What Slack never takes is mailed, unless there is a mail of the same news: somebody has to be told."""
    given_up = row.state == MailState.FAILED and row.channel == Channel.SLACK
    if given_up and not _same_news(row, Channel.MAIL).exists():
        _copy(row, Channel.MAIL, clock.now())
        wake.after_commit()


def _same_news(row: Notification, channel: Channel) -> QuerySet[Notification]:
    alike = Notification.objects.filter(request=row.request, recipient=row.recipient, channel=channel)
    return alike.filter(purpose=row.purpose, told_at=row.told_at)


def _copy(row: Notification, channel: Channel, at: datetime) -> None:
    Notification.objects.create(
        request=row.request,
        recipient=row.recipient,
        purpose=row.purpose,
        channel=channel,
        told_at=row.told_at,
        due_at=at,
        is_routed=True,
    )


# Summaries ------------------------------------------------------------------------------------------------


def _summary_of(person: User, slot_at: datetime, wishes: Wishes, at: datetime) -> Summary:
    """The summary of that moment; the one after it, if somebody is sending that one already."""
    Summary.objects.get_or_create(recipient=person, slot_at=slot_at, defaults={"purpose": SUMMARY, "due_at": slot_at})
    found = Summary.objects.select_for_update(of=("self",)).get(recipient=person, slot_at=slot_at)
    if found.state == MailState.DUE and found.attempts == 0:
        return found
    following = plan(Urgency.NORMAL, wishes, has_slack=False, at=slot_at).mail_at
    assert following is not None
    assert following > slot_at, "each summary has one after it"
    return _summary_of(person, following, wishes, at)


def summary(summary_id: int) -> None:
    mail.deliver(Summary, _send_summary, summary_id, settled=_settle)


def _send_summary(row: Summary) -> None:
    listed = [each for each in row.gathered() if each.is_needed()]
    mail.post(row.recipient.email, letters.summary_letter(row, listed))
    listed_ids = [each.pk for each in listed]
    row.notifications.filter(pk__in=listed_ids, state=MailState.DUE).update(
        state=MailState.SENT, sent_at=clock.now(), attempts=row.attempts
    )


def _settle(row: Summary) -> None:
    """Nothing waits for a summary that is over: what it did not list was not needed, or failed with it."""
    left = row.notifications.filter(state=MailState.DUE)
    if row.state == MailState.FAILED:
        left.update(state=MailState.FAILED, error=row.error, attempts=row.attempts)
    else:
        left.update(state=MailState.NOT_NEEDED)


# What concerns others than those who were named -----------------------------------------------------------


def broadcast(broadcast_id: int) -> None:
    mail.deliver(Broadcast, _spread, broadcast_id)
    wake.after_commit()


def _spread(news: Broadcast) -> None:
    with transaction.atomic():
        if news.purpose != ASKED:
            links.revoke(news.request, at=news.told_at)
        _tell_systems(news)
        _tell_channels(news)
        if news.purpose in ENDINGS:
            _tell_the_told(news)


def _tell_systems(news: Broadcast) -> None:
    """New questions go to every system that wants them; what becomes of them, to those that have heard of them."""
    systems: Iterable[ExternalSystem] = ExternalSystem.objects.filter(is_enabled=True).exclude(url="")
    if news.purpose == ASKED:
        systems = [each for each in systems if each.wants(news.request.role)]
    else:
        systems = systems.filter(notices__request=news.request_id).distinct()  # type: ignore[attr-defined]
    told = ExternalNotice.objects.filter(request=news.request_id, purpose=news.purpose, told_at=news.told_at)
    heard = set(told.values_list("system", flat=True))
    about = {"request": news.request, "purpose": news.purpose, "told_at": news.told_at, "due_at": news.told_at}
    ExternalNotice.objects.bulk_create(ExternalNotice(system=each, **about) for each in systems if each.pk not in heard)


def _tell_channels(news: Broadcast) -> None:
    """A new question is posted where its role is; what becomes of it changes that post."""
    posts = ChannelPost.objects.filter(request=news.request_id)
    if news.purpose == ASKED:
        in_use = SlackChannel.objects.filter(role=news.request.role, ended_at__isnull=True)
        channels = set(in_use.values_list("pk", flat=True)) if slack.is_on() else set()
    else:
        asked = posts.filter(purpose=ASKED).exclude(state=MailState.NOT_NEEDED)
        channels = set(asked.values_list("channel", flat=True))
    heard = set(posts.filter(purpose=news.purpose, told_at=news.told_at).values_list("channel", flat=True))
    about = {"request": news.request, "purpose": news.purpose, "told_at": news.told_at, "due_at": news.told_at}
    ChannelPost.objects.bulk_create(ChannelPost(channel_id=pk, **about) for pk in sorted(channels - heard))


def _tell_the_told(news: Broadcast) -> None:
    """The ending, in each thread in which a person was told of it; and to a person who asked outside any run."""
    about = Notification.objects.filter(request=news.request_id)
    heard = set(about.filter(purpose=news.purpose, told_at=news.told_at).values_list("recipient", "channel"))
    threads = set(about.filter(REACHED).exclude(purpose__in=ENDINGS).values_list("recipient", "channel"))
    asker = news.request.requester
    if news.request.run_id is None and asker.kind == Kind.HUMAN:
        threads.add((asker.pk, Channel.MAIL.value))
    Notification.objects.bulk_create(_ending(news, *thread) for thread in sorted(threads - heard))


def _ending(news: Broadcast, person: int, channel: str) -> Notification:
    return Notification(
        request=news.request,
        recipient_id=person,
        purpose=news.purpose,
        channel=channel,
        told_at=news.told_at,
        due_at=news.told_at,
        is_routed=channel == Channel.SLACK,
    )
