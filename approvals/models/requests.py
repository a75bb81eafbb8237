# SPDX-License-Identifier: Apache-2.0
"""Action requests: a question to a person."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django_fsm import FSMModelMixin, transition

from approvals import times
from approvals.models.request_words import (
    DECIDABLE_REQUESTS,
    DECIDED_REQUESTS,
    EMERGENCY,
    OPEN_REQUESTS,
    Decided,
    RequestState,
    RequestType,
    Severity,
)
from approvals.times import Timetable
from audit import actions
from audit.services import Subject
from config import wake
from config.guard import GuardedModel
from config.invariant import Invariant
from config.state import StateField
from runs.models import LOOK_AGAIN, Priority, Run, Task


def new_request_id() -> str:
    return f"har_{secrets.token_hex(6)}"


class RequestQuerySet(models.QuerySet["ActionRequest"]):
    def visible_to(self, user: Any) -> RequestQuerySet:
        """Of its requester, of members of its role, of whoever may see its run."""
        if user.has_perm("runs.view"):
            return self
        from approvals.models.votes import Asked, Vote  # which know of requests

        run = Run.objects.visible_to(user).filter(pk=OuterRef("run"))
        asked = Asked.objects.filter(request=OuterRef("pk"), user=user.pk)
        voted = Vote.objects.filter(request=OuterRef("pk"), voter=user.pk)
        parties = Q(requester=user.pk) | Q(decided_by=user.pk) | Q(assigned_to=user.pk) | Exists(voted)
        return self.filter(parties | Q(role__in=user.roles) | Exists(asked) | lent_to(user) | Exists(run))

    def open(self) -> RequestQuerySet:
        return self.filter(state__in=OPEN_REQUESTS)

    def decidable_by(self, user: Any) -> RequestQuerySet:
        """What this person's inbox holds: of their roles, still undecided."""
        if not user.is_human:
            return self.none()
        from approvals.models.votes import Asked, Vote  # which know of requests

        voted = Vote.objects.filter(request=OuterRef("pk"), revision=OuterRef("revision"), voter=user.pk)
        asked = Asked.objects.filter(request=OuterRef("pk"), user=user.pk).exclude(why=EMERGENCY)
        mine = Q(role__in=user.roles) | Exists(asked) | lent_to(user)
        return self.filter(mine, ~Exists(voted), state__in=DECIDABLE_REQUESTS)

    def in_inbox_order(self) -> RequestQuerySet:
        return self.order_by("priority", F("due_at").asc(nulls_last=True), "created_at", "id")


def lent_to(user: Any) -> Exists:
    """A condition on requests: somebody who is asked lends this person their right now."""
    from approvals.models.people import Delegation  # which knows of requests

    return Exists(Delegation.objects.lending_to(user))


class ActionRequest(FSMModelMixin, GuardedModel):
    """A question to a human. What is asked (`revision`, `asked`, `digest`) is frozen; the answer stands beside it."""

    id = models.CharField(primary_key=True, max_length=16, default=new_request_id, editable=False)
    task = models.ForeignKey(Task, models.PROTECT, null=True, blank=True, related_name="requests")
    run = models.ForeignKey(Run, models.PROTECT, null=True, blank=True, related_name="requests")
    workflow_id = models.CharField(max_length=100, blank=True)  # the caller's own word for its run
    requester = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, related_name="requests_made", db_index=False
    )
    role = models.CharField(max_length=110)  # whose members may decide
    request_type = models.CharField(max_length=24, choices=RequestType, default=RequestType.CUSTOM)
    title = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    severity = models.CharField(max_length=8, choices=Severity, default=Severity.MEDIUM)  # harm if wrong
    priority = models.PositiveSmallIntegerField(choices=Priority, default=Priority.MEDIUM)  # urgency of the answer

    revision = models.PositiveIntegerField(default=1)
    asked = models.JSONField(default=dict)  # {call, input, context}: exactly what is to be decided
    # What an approval starts, where no run asks: {playbook, version?, payload} or {call, input}.
    action = models.JSONField(null=True, blank=True)
    required_fields = models.JSONField(default=dict, blank=True)  # {field: description}, as agents send it
    form = models.JSONField(null=True, blank=True)  # JSON Schema of the answer
    options = models.JSONField(default=list)  # [{key, label, ends}]
    policy = models.JSONField(default=dict)  # frozen at creation, as `approvals/policy_document.py` says
    # Who could decide when it was made: [{id, name, rules, barred?, away?, lent_to?}], and who stands in for one of
    # them: {id, name, rules: [], for}.
    eligible = models.JSONField(default=list)
    stage = models.PositiveSmallIntegerField(default=0)  # of the policy, from 0
    # Questions to the requester, their answers, and what is to be changed: [{kind, by, at, text}], in order.
    exchange = models.JSONField(default=list)
    assigned_to = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="requests_assigned"
    )  # advice to people, as a claim is
    supersedes = models.ForeignKey("self", models.PROTECT, null=True, blank=True, related_name="superseded_by")
    digest = models.CharField(max_length=64)  # SHA-256 over what is asked, in canonical form
    # SHA-256 over what its requester sent: the same question again, while it is open, is the same request.
    question_digest = models.CharField(max_length=64, blank=True)
    template = models.ForeignKey(
        "approvals.RequestTemplate", models.PROTECT, null=True, blank=True, related_name="requests", db_index=False
    )

    state = StateField(choices=RequestState, default=RequestState.PENDING)
    claimed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="requests_claimed"
    )
    claim_token_hash = models.CharField(max_length=64, blank=True)
    claim_expires_at = models.DateTimeField(null=True, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)  # renewals count from here up to their cap
    # A claim that has run out, until another is made: who had it may renew it, and their text is not lost.
    lapsed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    lapsed_token_hash = models.CharField(max_length=64, blank=True)
    outcome = models.CharField(max_length=64, blank=True)
    decided_how = models.CharField(max_length=14, choices=Decided, blank=True)
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="requests_decided"
    )
    standing_rule = models.ForeignKey(
        "approvals.StandingRule", models.PROTECT, null=True, blank=True, related_name="requests", db_index=False
    )
    decided_at = models.DateTimeField(null=True, blank=True)
    response_data = models.JSONField(null=True, blank=True)
    notes = models.TextField(blank=True)
    rejection_reason = models.TextField(blank=True)
    reason_code = models.CharField(max_length=64, blank=True)  # of the policy's
    constraints = models.JSONField(null=True, blank=True)  # what the approval allows, narrower than what was asked
    claimed_decider = models.CharField(max_length=150, blank=True)  # `fulfilled_by` of a body: unverified

    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    first_viewed_at = models.DateTimeField(null=True, blank=True)  # by somebody who may decide
    first_claimed_at = models.DateTimeField(null=True, blank=True)
    paused_at = models.DateTimeField(null=True, blank=True)  # its clock stands while the requester is asked
    paused_seconds = models.PositiveIntegerField(default=0)
    follow_up_at = models.DateTimeField(null=True, blank=True)
    due_at = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    timetable = models.JSONField(default=dict)  # what happens until then, as `approvals/times.py` says
    extended_seconds = models.PositiveIntegerField(default=0)  # by which people have moved the deadlines
    next_check_at = models.DateTimeField(null=True)
    tallied_as = models.CharField(max_length=16, blank=True)  # the state under which the statistics have counted it

    objects = RequestQuerySet.as_manager()

    is_duplicate = False  # of an answer to whoever asked the same again

    class Meta:
        ordering = ["-created_at", "-id"]
        default_permissions = ("view",)
        permissions = [
            ("assign_request", "May ask one person by name to see to a request"),
            ("extend_request", "May move a request's deadlines"),
        ]
        indexes = [
            models.Index(
                fields=["role", "priority", "due_at", "created_at"],
                condition=Q(state__in=DECIDABLE_REQUESTS),
                name="request_inbox",
            ),
            models.Index(fields=["next_check_at"], condition=Q(next_check_at__isnull=False), name="request_due_check"),
            # The lists of the API, by any of status, priority and agent, in order of creation either way.
            models.Index(fields=["created_at", "id"], name="request_created"),
            models.Index(fields=["state", "created_at", "id"], name="request_state_created"),
            models.Index(fields=["priority", "created_at", "id"], name="request_priority_created"),
            models.Index(fields=["state", "priority", "created_at", "id"], name="request_state_priority"),
            models.Index(fields=["requester", "created_at", "id"], name="request_agent_created"),
            models.Index(fields=["requester", "state", "created_at", "id"], name="request_agent_state"),
            models.Index(fields=["requester", "priority", "created_at", "id"], name="request_agent_priority"),
            models.Index(
                fields=["id"],
                condition=~Q(state__in=OPEN_REQUESTS) & ~Q(tallied_as=F("state")),
                name="request_untallied",
            ),
        ]
        constraints = [
            Invariant(condition=Q(state__in=RequestState.values), name="request_state_known"),
            models.UniqueConstraint(
                fields=["task"], condition=Q(state__in=OPEN_REQUESTS), name="request_one_open_per_task"
            ),
            models.UniqueConstraint(
                fields=["requester", "question_digest"],
                condition=Q(state__in=OPEN_REQUESTS) & ~Q(question_digest=""),
                name="request_one_open_per_question",
            ),
            Invariant(
                condition=(
                    Q(state__in=DECIDED_REQUESTS, decided_at__isnull=False) & ~Q(outcome="") & ~Q(decided_how="")
                )
                | Q(state=RequestState.SUPERSEDED)  # an approval that was taken back keeps what it was
                | (~Q(state__in=DECIDED_REQUESTS) & Q(decided_at__isnull=True, outcome="", decided_how="")),
                name="request_decided_iff_outcome",
            ),
            Invariant(
                condition=Q(decided_how__in=[Decided.PERSON, Decided.BREAK_GLASS], decided_by__isnull=False)
                | (Q(decided_how=Decided.STANDING_RULE, decided_by__isnull=True) & Q(standing_rule__isnull=False))
                | Q(decided_how__in=["", Decided.TIMEOUT], decided_by__isnull=True),
                name="request_decider_fits_how",
            ),
            Invariant(
                condition=Q(state=RequestState.INFO_REQUESTED, paused_at__isnull=False)
                | (~Q(state=RequestState.INFO_REQUESTED) & Q(paused_at__isnull=True)),
                name="request_paused_iff_info_requested",
            ),
            Invariant(
                condition=Q(state__in=OPEN_REQUESTS, next_check_at__isnull=False)
                | (~Q(state__in=OPEN_REQUESTS) & Q(next_check_at__isnull=True)),
                name="request_open_iff_checked_again",
            ),
            Invariant(
                condition=Q(state=RequestState.IN_REVIEW, claimed_by__isnull=False, claim_expires_at__isnull=False)
                | (~Q(state=RequestState.IN_REVIEW) & Q(claim_token_hash="")),
                name="request_claim_iff_in_review",
            ),
            Invariant(
                condition=Q(decided_by__isnull=True) | Q(expires_at__isnull=True) | Q(decided_at__lt=F("expires_at")),
                name="request_decided_in_time",
            ),
        ]

    def __str__(self) -> str:
        return f"request {self.id}"  # not its title, which is text of others

    @property
    def etag(self) -> str:
        """Changes with what a decision is about. A colleague's claim is none of it."""
        standing = "open" if self.state in DECIDABLE_REQUESTS else self.state
        return f'"{self.revision}-{standing}"'

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_REQUESTS

    @property
    def wakes(self) -> tuple[str, ...]:
        """For whom there may be something to do once this is written (`config/wake.py`)."""
        if self.state not in OPEN_REQUESTS:
            return (wake.REQUESTS,)
        answered_by_rule = (wake.WORK,) if self.standing_rule_id is not None else ()
        return (wake.REQUESTS, wake.INBOX, *answered_by_rule)

    def audit_subject(self) -> Subject:
        facts = {"revision": self.revision, "content_hash": self.digest, "role": self.role}
        step = self.task.step if self.task_id and self.task else ""
        return Subject(
            "request",
            self.id,
            run_id=self.run_id,
            task_id=self.task_id,
            request_id=self.id,
            step=step,
            facts=facts,
        )

    @property
    def table(self) -> Timetable:
        moments = {"follow_up_at": self.follow_up_at, "due_at": self.due_at, "expires_at": self.expires_at}
        return times.of_json(self.timetable, **moments)

    def keep(self, table: Timetable) -> None:
        """Take over a timetable with its deadlines. Without any rung or end there is nothing to keep."""
        self.follow_up_at, self.due_at, self.expires_at = table.follow_up_at, table.due_at, table.expires_at
        self.timetable = times.as_json(table)

    def look_again(self, at: datetime) -> None:
        """When the clock has something to do next; while it stands, only now and then."""
        comes = None if self.paused_at is not None else self.table.next_at
        moments = (at + LOOK_AGAIN, self.claim_expires_at, comes)
        self.next_check_at = min(moment for moment in moments if moment is not None)

    def claim_is_over(self, at: datetime) -> bool:
        return self.claim_expires_at is not None and self.claim_expires_at <= at

    def _unclaim(self, at: datetime) -> None:
        self.claimed_by, self.claim_token_hash, self.claim_expires_at = None, "", None
        self.updated_at = at
        self.look_again(at)

    def _end(self, at: datetime) -> None:
        self.claim_token_hash, self.claim_expires_at, self.next_check_at, self.updated_at = "", None, None, at
        self.paused_at = None

    @transition(state, RequestState.PENDING, RequestState.IN_REVIEW, custom={"action": actions.REQUEST_CLAIMED})
    def claim(self, *, by: Any, token_hash: str, until: datetime, at: datetime) -> None:
        again = self.lapsed_token_hash == token_hash
        self.claimed_at = self.claimed_at if again else at
        self.first_claimed_at = self.first_claimed_at or at
        self.claimed_by, self.claim_token_hash, self.claim_expires_at = by, token_hash, until
        self.lapsed_by, self.lapsed_token_hash = None, ""
        self.updated_at = at
        self.look_again(at)

    @transition(state, RequestState.IN_REVIEW, RequestState.IN_REVIEW, custom={"action": actions.REQUEST_TAKEN_OVER})
    def take_over(self, *, by: Any, token_hash: str, until: datetime, at: datetime) -> None:
        """Somebody else reviews it from now on; the claim it was under is lost."""
        self.claimed_at = self.updated_at = at
        self.claimed_by, self.claim_token_hash, self.claim_expires_at = by, token_hash, until
        self.look_again(at)

    @transition(state, RequestState.IN_REVIEW, RequestState.PENDING, custom={"action": actions.REQUEST_RELEASED})
    def release(self, *, at: datetime) -> None:
        self._unclaim(at)

    @transition(state, RequestState.IN_REVIEW, RequestState.PENDING, custom={"action": actions.REQUEST_CLAIM_EXPIRED})
    def lapse(self, *, at: datetime) -> None:
        """The claim has run out: anybody of the role may claim; who had it may renew."""
        self.lapsed_by, self.lapsed_token_hash = self.claimed_by, self.claim_token_hash
        self._unclaim(at)

    @transition(
        state, DECIDABLE_REQUESTS, RequestState.INFO_REQUESTED, custom={"action": actions.REQUEST_INFO_REQUESTED}
    )
    def request_info(self, *, at: datetime) -> None:
        """The requester is asked something; until they answer, the clock stands."""
        self.paused_at = at
        self._unclaim(at)

    @transition(
        state, RequestState.INFO_REQUESTED, RequestState.PENDING, custom={"action": actions.REQUEST_INFO_ANSWERED}
    )
    def resume(self, *, at: datetime) -> None:
        self._resume_clock(at)

    @transition(
        state, DECIDABLE_REQUESTS, RequestState.CHANGES_REQUESTED, custom={"action": actions.REQUEST_CHANGES_REQUESTED}
    )
    def request_changes(self, *, at: datetime) -> None:
        """The requester is to ask anew, otherwise. That is no rejection."""
        self._unclaim(at)

    @transition(state, OPEN_REQUESTS, RequestState.PENDING, custom={"action": actions.REQUEST_REVISED})
    def revise(self, *, changes: Mapping[str, Any], digest: str, at: datetime) -> None:
        """Ask something else: votes on what was asked before count no more."""
        if self.paused_at is not None:
            self._resume_clock(at)
        self._unclaim(at)
        self.revision, self.stage, self.digest = self.revision + 1, 0, digest
        for name, value in changes.items():
            setattr(self, name, value)

    def _resume_clock(self, at: datetime) -> None:
        """What was still to come is as far away as it was, in the time of its calendar."""
        assert self.paused_at is not None
        self.keep(times.resumed(self.table, paused_at=self.paused_at, at=at))
        stood = at - self.paused_at
        self.paused_at, self.paused_seconds = None, self.paused_seconds + int(stood.total_seconds())
        self.updated_at = at
        self.look_again(at)

    @transition(state, DECIDABLE_REQUESTS, RequestState.FULFILLED, custom={"action": actions.REQUEST_FULFILLED})
    def fulfill(self, *, by: Any, outcome: str, response_data: Any, notes: str, at: datetime, how: str = "") -> None:
        self.decided_by, self.decided_at, self.outcome = by, at, outcome
        self.decided_how = how or Decided.PERSON
        self.response_data, self.notes = response_data, notes
        self._end(at)

    @transition(state, DECIDABLE_REQUESTS, RequestState.REJECTED, custom={"action": actions.REQUEST_REJECTED})
    def reject(self, *, by: Any, outcome: str, reason: str, at: datetime, how: str = "") -> None:
        self.decided_by, self.decided_at, self.outcome, self.rejection_reason = by, at, outcome, reason
        self.decided_how = how or Decided.PERSON
        self._end(at)

    @transition(state, OPEN_REQUESTS, RequestState.CANCELLED, custom={"action": actions.REQUEST_CANCELLED})
    def cancel(self, *, at: datetime) -> None:
        """Its requester takes the question back."""
        self._end(at)

    @transition(state, OPEN_REQUESTS, RequestState.EXPIRED, custom={"action": actions.REQUEST_EXPIRED})
    def expire(self, *, at: datetime) -> None:
        """Nobody answered in time: the clock's doing, and no person's no."""
        self._end(at)

    @transition(state, OPEN_REQUESTS, RequestState.NOT_REQUIRED, custom={"action": actions.REQUEST_NOT_REQUIRED})
    def become_not_required(self, *, at: datetime) -> None:
        """Its task or run ended without it."""
        self._end(at)

    @transition(
        state,
        (*OPEN_REQUESTS, RequestState.FULFILLED),
        RequestState.SUPERSEDED,
        custom={"action": actions.REQUEST_SUPERSEDED},
    )
    def supersede(self, *, at: datetime) -> None:
        """Another request stands in its place: asked anew, or an approval taken back before it had effect."""
        self._end(at)
