# SPDX-License-Identifier: Apache-2.0
"""Starting a run from a form that anybody may send: once per form, however often it is sent.

Each empty form carries a ticket, signed and used up by the run it starts: the run's label `form` names it. The same
form sent again (a double click, a reload, a lost answer) is that run, and not another one.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from django.core import signing
from django.db.models import Max

from accounts.models import User
from audit import actions
from audit.services import act
from config.errors import Refused
from playbooks.models import Version
from runs.models import Run
from runs.services import start_run

TICKET_SECONDS = 24 * 3600
FORM_LABEL = "form"
_SALT = "runs.intake"


class TicketInvalid(Refused):
    """This form was open for more than a day, or it is not one of ours. Check it and send it again."""

    code = "form_expired"
    status = 422


class SentAlready(Refused):
    """This form was sent already, with other content. Send it again only if you mean a second one."""

    code = "idempotency_mismatch"
    status = 422


@dataclass(frozen=True, slots=True)
class Ticket:
    playbook: str
    number: str
    after_run: int  # its run is newer than this one, so that looking for it reads only what came since

    @classmethod
    def new(cls, playbook: str) -> Ticket:
        newest = Run.objects.aggregate(newest=Max("pk"))["newest"] or 0
        return cls(playbook, secrets.token_urlsafe(16), newest)

    @classmethod
    def read(cls, signed: str, *, playbook: str) -> Ticket:
        """Raises TicketInvalid unless we signed it, for this playbook, less than a day ago."""
        try:
            ticket = cls(**signing.loads(signed, salt=_SALT, max_age=TICKET_SECONDS))
        except (signing.BadSignature, TypeError):
            raise TicketInvalid
        if ticket.playbook != playbook:
            raise TicketInvalid
        return ticket

    def signed(self) -> str:
        return signing.dumps(asdict(self), salt=_SALT, compress=True)


@act(actions.RUN_START_DENIED)
def start_from_form(*, version: Version, ticket: Ticket, payload: Mapping[str, Any], actor: User) -> Run:
    """Start the run of a form, or return the one it has started. Raises SentAlready, and what `start_run` raises."""
    # The sender's row makes two sendings of one form wait for each other. NO KEY: rows that only refer to the
    # sender do not wait.
    User.objects.select_for_update(no_key=True).get(pk=actor.pk)
    mine = Run.objects.filter(started_by=actor, pk__gt=ticket.after_run, **{f"labels__{FORM_LABEL}": ticket.number})
    started = mine.first()
    if started is None:
        labels = {FORM_LABEL: ticket.number}
        return start_run(
            actor=actor, payload=payload, playbook=version.playbook.slug, version=version.number, labels=labels
        )
    if started.payload != payload:
        raise SentAlready(subject=started)
    return started
