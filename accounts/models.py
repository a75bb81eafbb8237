# SPDX-License-Identifier: Apache-2.0
"""Users of three kinds, their roles, and the API keys that stand for them.

A role is a Group named `human:…`, `agent:…` or `svc:…`; permission groups (staff, auditor …) have plain names.
Agents and services hold no password and never enter the admin: the database says so too.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, Group, Permission, UserManager
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import Q
from knox.models import AbstractAuthToken, get_digest_token
from knox.settings import CONSTANTS
from simple_history.models import HistoricalRecords

from audit.context import coming_from
from audit.services import SYSTEM, Subject
from config.errors import Refused
from config.invariant import Invariant
from config.prepared import Param, Reading

ROLE_NAME = re.compile(r"(agent|human|svc):[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


class Kind(models.TextChoices):
    HUMAN = "human"
    AGENT = "agent"  # an AI agent
    SERVICE = "service"  # a program without judgement: our worker, a web form, a finance system


KIND_OF_ROLE = {"human": Kind.HUMAN, "agent": Kind.AGENT, "svc": Kind.SERVICE}


def is_role(name: str) -> bool:
    return ROLE_NAME.fullmatch(name) is not None


class Users(UserManager["User"]):
    use_in_migrations = False

    def create_superuser(
        self, username: str, email: str | None = None, password: str | None = None, **names: Any
    ) -> User:
        """For Django's command of that name, which makes no superuser past the log. Raises ValidationError."""
        from accounts.services import create_superuser  # which knows the models

        try:
            with coming_from("command"):
                return create_superuser(username=username, email=email or "", password=password, actor=SYSTEM, **names)
        except Refused as refusal:
            raise ValidationError([problem.message for problem in refusal.errors] or refusal.detail)


class User(AbstractUser):
    kind = models.CharField(max_length=8, choices=Kind, default=Kind.HUMAN)
    model_name = models.CharField(
        "AI model",
        max_length=100,
        blank=True,
        help_text="The model behind an agent, as its operator states it.",
    )
    history = HistoricalRecords(excluded_fields=["password", "last_login"], m2m_fields=["groups"])

    objects: ClassVar[Users] = Users()

    proved_at: datetime | None = None  # when they gave the password that stands behind a token

    class Meta(AbstractUser.Meta):
        constraints = [
            Invariant(
                condition=Q(kind=Kind.HUMAN) | Q(is_staff=False, is_superuser=False),
                name="user_only_people_enter_the_admin",
            ),
            Invariant(condition=Q(kind__in=Kind.values), name="user_kind_known"),
        ]

    @cached_property
    def roles(self) -> frozenset[str]:
        """Names of the roles this user is a member of; read once per instance."""
        return roles_of(self.pk)

    def has_perm(self, perm: str, obj: Any = None) -> bool:
        if obj is None and self.is_active and not self.is_superuser and not hasattr(self, "_perm_cache"):
            self._perm_cache = _permissions_of(self.pk)  # where Django's backend keeps them, too
        return super().has_perm(perm, obj)

    @property
    def is_human(self) -> bool:
        return self.kind == Kind.HUMAN

    def audit_subject(self) -> Subject:
        return Subject(type="user", id=str(self.pk), facts={"username": self.username})


def roles_of(user_id: int) -> frozenset[str]:
    """As they are in the database now."""
    return frozenset(group.name for group in _groups(user_id=user_id) if is_role(group.name))


def _permissions_of(user_id: int) -> set[str]:
    return {f"{each.content_type.app_label}.{each.codename}" for each in _permissions(user_id=user_id)}


_groups = Reading(lambda: Group.objects.filter(user=Param("user_id", models.BigIntegerField())).order_by())
_permissions = Reading(
    lambda: (
        Permission.objects.filter(
            Q(user=Param("user_id", models.BigIntegerField()))
            | Q(group__user=Param("user_id", models.BigIntegerField()))
        )
        .select_related("content_type")
        .order_by()
    )
)


def is_member(user_id: Param, role: Param) -> models.Exists:
    """For a `Reading`: whether that user has that role now."""
    return models.Exists(Group.objects.filter(name=role, user=user_id))


def is_given(user_id: Param, permission: str) -> Q:
    """For a `Reading`: whether that user has been given that permission now, by name or with a group."""
    app, codename = permission.split(".")
    wanted = Permission.objects.filter(content_type__app_label=app, codename=codename)
    return Q(models.Exists(wanted.filter(user=user_id))) | Q(models.Exists(wanted.filter(group__user=user_id)))


def members_of(role: str | Param) -> models.QuerySet[User]:
    """Active users in the role."""
    return User.objects.filter(is_active=True, groups__name=role)


class ApiKey(AbstractAuthToken):
    """A bearer key (`hmsact_…`), shown once and stored as a digest. Revoked keys stay, as evidence.

    `token_key` is its public beginning, and names it everywhere; whoever only knows that cannot use it.
    """

    id = models.BigAutoField(primary_key=True)  # the library's primary key, the digest, would stand in addresses
    digest = models.CharField(max_length=CONSTANTS.DIGEST_LENGTH, unique=True, editable=False)
    user = models.ForeignKey(User, models.PROTECT, related_name="+")
    name = models.CharField(max_length=100, blank=True)
    created = models.DateTimeField()
    created_by = models.ForeignKey(User, models.PROTECT, null=True, blank=True, related_name="+")
    last_used_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects: ClassVar[models.Manager[ApiKey]] = models.Manager()  # instead of the library's, whose keys know no maker

    class Meta:
        verbose_name = "API key"
        ordering = ["-created"]
        default_permissions = ("view",)
        permissions = [("manage", "May make and revoke API keys")]
        constraints = [models.UniqueConstraint(fields=["token_key"], name="key_named_by_its_beginning")]

    def __str__(self) -> str:
        return f"{self.token_key}…"

    @classmethod
    def make(
        cls, *, user: User, name: str, at: datetime, lifetime: timedelta, created_by: User | None = None
    ) -> tuple[ApiKey, str]:
        """A stored key and its token, which can never be read again."""
        digest, token = get_digest_token()
        while cls.objects.filter(token_key=public_part(token)).exists():
            digest, token = get_digest_token()
        key = cls.objects.create(
            digest=digest,
            token_key=public_part(token),
            user=user,
            name=name,
            created=at,
            created_by=created_by,
            expiry=at + lifetime,
        )
        return key, token

    @property
    def credential(self) -> str:
        return f"key:{self.token_key}"

    def audit_subject(self) -> Subject:
        return Subject(type="key", id=self.token_key, facts={"user": str(self.user_id)})


def public_part(token: str) -> str:
    return token[: CONSTANTS.TOKEN_KEY_LENGTH]


def role_group(name: str) -> Group:
    assert is_role(name), name
    return Group.objects.get_or_create(name=name)[0]


def describe_role(group: Group) -> str:
    return str(group.name).split(":", 1)[-1].replace("_", " ")


class IdempotentCall(models.Model):
    """The answer to a call that was made under an Idempotency-Key, kept seven days (`accounts/idempotency.py`)."""

    user = models.ForeignKey(User, models.PROTECT, related_name="+")
    method = models.CharField(max_length=8)
    path = models.CharField(max_length=300)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # SHA-256 of the query and the body
    status = models.PositiveSmallIntegerField()
    headers = models.JSONField(default=dict)
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["user", "method", "path", "key"], name="idempotent_call_once"),
        ]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class RateCount(models.Model):
    """How many calls a credential made in one scope and minute (`accounts/limits.py`)."""

    who = models.CharField(max_length=40)
    scope = models.CharField(max_length=10)
    minute = models.BigIntegerField()  # since 1970
    count = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["who", "scope", "minute"], name="rate_count_once")]

    def __str__(self) -> str:
        return f"{self.who} {self.scope}: {self.count}"
