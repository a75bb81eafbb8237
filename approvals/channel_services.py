# SPDX-License-Identifier: Apache-2.0
"""The acts on channels of Slack: where the requests of a role are posted (`approvals.manage_external`)."""

from __future__ import annotations

import re

from accounts.models import KIND_OF_ROLE, Kind, User, is_role
from approvals.models import SlackChannel
from approvals.models.channels import LONGEST_ROLE
from audit import actions
from audit.services import Line, act, record
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem, WrongState

MANAGE = "approvals.manage_external"
CHANNEL = re.compile(r"[CG][A-Z0-9]{6,30}", re.ASCII)


@act(actions.SLACK_CHANNEL_DENIED)
def set_channel(*, actor: User, role: str, channel: str) -> SlackChannel:
    """From now on, new requests of this role are posted there, and no longer where they were before.

    Raises Forbidden, Invalid, and WrongState where they are posted there already.
    """
    _require(actor)
    _refuse_faults(role, channel)
    before = SlackChannel.objects.select_for_update(of=("self",)).filter(role=role, ended_at__isnull=True).first()
    if before is not None and before.channel == channel:
        raise WrongState("The requests of this role are posted there already.", subject=before)
    at = clock.now()
    if before is not None:
        before.ended_at = at
        before.save(update_fields=["ended_at"])
    made = SlackChannel.objects.create(role=role, channel=channel, set_at=at, set_by=actor)
    facts = {"before": before.channel} if before is not None else {}
    record([Line(actions.SLACK_CHANNEL_SET, made.audit_subject(), actor, at, data=facts)])
    return made


@act(actions.SLACK_CHANNEL_DENIED)
def end_channel(*, actor: User, channel_id: int, reason: str) -> SlackChannel:
    """Nothing new is posted there; what was posted is still brought to its end. Raises Forbidden, NotFound, Invalid,
    WrongState."""
    _require(actor)
    found = SlackChannel.objects.select_for_update(of=("self",)).filter(pk=channel_id).first()
    if found is None:
        raise NotFound("There is no such channel.")
    if found.ended_at is not None:
        raise WrongState("Nothing is posted there any more.", subject=found)
    if not reason.strip():
        raise Invalid("Say why: the reason is kept in the log.", errors=[Problem("reason", "is empty")])
    found.ended_at = at = clock.now()
    found.save(update_fields=["ended_at"])
    record([Line(actions.SLACK_CHANNEL_ENDED, found.audit_subject(), actor, at, note=reason.strip())])
    return found


def _require(actor: User) -> None:
    if not actor.has_perm(MANAGE):
        raise Forbidden("Only administrators say where requests are posted.")


def _refuse_faults(role: str, channel: str) -> None:
    problems = []
    if len(role) > LONGEST_ROLE or not is_role(role) or KIND_OF_ROLE[role.partition(":")[0]] != Kind.HUMAN:
        problems.append(Problem("role", "This is no role of people.", "Write it as human:police_liaison."))
    if not CHANNEL.fullmatch(channel):
        remedy = "In Slack: the name of the channel, and at the end of About the id. It looks like C024BE7LR."
        problems.append(Problem("channel", "This is no id of a channel.", remedy))
    if problems:
        raise Invalid("Nothing can be posted like this.", errors=problems)
