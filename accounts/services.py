# SPDX-License-Identifier: Apache-2.0
"""The acts on users, roles and keys. Nothing else changes them.

- Administrators change users (`accounts.change_user`) and make keys (`accounts.manage`); commands act as SYSTEM.
- Only a superuser changes a superuser; nobody deactivates themself, or the last active superuser.
- A key that stands for a person is made by that person: an administrator could decide in their name otherwise.
- Whoever loses access loses at once what rested on it (`accounts.access`).
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError

from accounts import seeds
from accounts.access import access_ended
from accounts.models import KIND_OF_ROLE, ApiKey, Kind, User, is_role, role_group
from audit import actions
from audit.services import SYSTEM, Line, Subject, SystemActor, act, record
from config import clock
from config.errors import Forbidden, Invalid, NotFound, Problem, WrongState

Someone = User | SystemActor

CHANGE_USERS, ADD_USERS, MANAGE_KEYS = "accounts.change_user", "accounts.add_user", "accounts.manage"
ACTIVE, DEACTIVATED = "active", "deactivated"
KEY_LIFETIME = timedelta(days=365)
LONGEST_KEY_LIFETIME = timedelta(days=3650)
DETAILS = ("first_name", "last_name", "email", "model_name")


# Users ------------------------------------------------------------------------------------------------------


@act(denied=actions.USER_CHANGE_DENIED)
def create_user(
    *,
    username: str,
    actor: Someone,
    kind: str = Kind.HUMAN,
    roles: Iterable[str] = (),
    first_name: str = "",
    last_name: str = "",
    email: str = "",
    model_name: str = "",
    password: str | None = None,
) -> User:
    """Make a user in these roles and, for people, permission groups. Raises Invalid with all faults at once.

    Without a password a person cannot log in until one is set; agents and services never hold one.
    """
    _require(actor, ADD_USERS, "Only administrators make users.")
    at = clock.now()
    user = User(username=username, kind=kind, first_name=first_name, last_name=last_name, date_joined=at)
    user.email, user.model_name = User.objects.normalize_email(email), model_name
    groups = groups_for(kind, roles)
    user.is_staff = user.is_human and bool(groups)
    user.set_password(_accepted(password, user))
    _check_fields(user)
    user.save()
    user.groups.set(groups)
    if kind == Kind.AGENT:
        seeds.grant(user, seeds.MAY_START)
    data = {"kind": str(kind), "roles": sorted(group.name for group in groups)}
    record([Line(actions.USER_CREATED, user.audit_subject(), actor, at, to_state=ACTIVE, data=data)])
    return user


@act(denied=actions.USER_CHANGE_DENIED)
def create_superuser(
    *,
    username: str,
    actor: Someone,
    first_name: str = "",
    last_name: str = "",
    email: str = "",
    password: str | None = None,
) -> User:
    """Make a person who administers everything, and decides nothing by that. Raises Forbidden, Invalid."""
    if isinstance(actor, User) and not actor.is_superuser:
        raise Forbidden("Only the operator makes superusers.")
    at = clock.now()
    user = User(username=username, first_name=first_name, last_name=last_name, date_joined=at)
    user.email, user.is_staff, user.is_superuser = User.objects.normalize_email(email), True, True
    user.set_password(_accepted(password, user))
    _check_fields(user)
    user.save()
    data = {"kind": str(user.kind), "roles": [], "superuser": True}
    record([Line(actions.USER_CREATED, user.audit_subject(), actor, at, to_state=ACTIVE, data=data)])
    return user


@act(denied=actions.USER_CHANGE_DENIED)
def create_agent(*, name: str, actor: Someone, roles: Iterable[str], model_name: str = "") -> User:
    return create_user(username=name, kind=Kind.AGENT, roles=roles, model_name=model_name, actor=actor)


@act(denied=actions.USER_CHANGE_DENIED)
def change_details(
    *,
    user_id: int,
    actor: Someone,
    first_name: str = "",
    last_name: str = "",
    email: str = "",
    model_name: str = "",
) -> User:
    """Set what is told about a user; their name in the log, the username, never changes."""
    user = _user_to_change(user_id, actor)
    at = clock.now()
    given = dict(zip(DETAILS, (first_name, last_name, User.objects.normalize_email(email), model_name), strict=True))
    changed = [name for name in DETAILS if getattr(user, name) != given[name]]
    if not changed:
        return user
    for name in changed:
        setattr(user, name, given[name])
    _check_fields(user)
    user.save(update_fields=changed)
    record([Line(actions.USER_CHANGED, user.audit_subject(), actor, at, data={"fields": changed})])
    return user


@act(denied=actions.USER_CHANGE_DENIED)
def change_roles(*, user_id: int, roles: Iterable[str], actor: Someone) -> User:
    """Make these the user's roles and permission groups, all of them. A lost role takes its leases with it."""
    user = _user_to_change(user_id, actor)
    at = clock.now()
    groups = groups_for(user.kind, roles)
    before, after = set(user.groups.values_list("name", flat=True)), {group.name for group in groups}
    if before == after:
        return user
    user.groups.set(groups)
    user.__dict__.pop("roles", None)  # read again: the instance remembers them
    _keep_admin_door(user, is_member=bool(groups))
    data = {"added": sorted(after - before), "removed": sorted(before - after)}
    lines = [Line(actions.USER_ROLES_CHANGED, user.audit_subject(), actor, at, data=data)]
    if any(is_role(name) for name in before - after):
        lines += access_ended(user_id=user.pk, credential=None, at=at, actor=actor)
    record(lines)
    return user


@act(denied=actions.USER_CHANGE_DENIED)
def deactivate_user(*, user_id: int, actor: Someone, reason: str) -> User:
    """Shut a user out at once: sessions, keys and tokens stop working, and leases end."""
    _require(actor, CHANGE_USERS, "Only administrators deactivate users.")
    # All superusers first, in one order, so that two of them deactivating each other wait in line.
    superusers = list(
        User.objects.filter(is_superuser=True, is_active=True).order_by("pk").select_for_update(no_key=True)
    )
    user = _user_to_change(user_id, actor)
    note, at = _given(reason), clock.now()
    if user.pk == actor.pk:
        raise Forbidden("Nobody deactivates themself. Ask another administrator.", subject=user)
    if user.username in seeds.OWN_USERS:
        raise WrongState(f"{user.username} is the product's own user, and the work rests on it.", subject=user)
    if not user.is_active:
        raise WrongState(f"{user.username} has been deactivated already.", subject=user)
    if [each.pk for each in superusers] == [user.pk]:
        raise WrongState(f"{user.username} is the last active superuser. Make another one first.", subject=user)
    user.is_active = False
    user.save(update_fields=["is_active"])
    line = Line(actions.USER_DEACTIVATED, user.audit_subject(), actor, at, ACTIVE, DEACTIVATED, note=note)
    record([line, *access_ended(user_id=user.pk, credential=None, at=at, actor=actor)])
    return user


@act(denied=actions.USER_CHANGE_DENIED)
def reactivate_user(*, user_id: int, actor: Someone, reason: str) -> User:
    """Let a user in again, with the roles and the keys they have."""
    user = _user_to_change(user_id, actor)
    note, at = _given(reason), clock.now()
    if user.is_active:
        raise WrongState(f"{user.username} is active.", subject=user)
    user.is_active = True
    user.save(update_fields=["is_active"])
    record([Line(actions.USER_REACTIVATED, user.audit_subject(), actor, at, DEACTIVATED, ACTIVE, note=note)])
    return user


@act(denied=actions.USER_CHANGE_DENIED)
def set_password(*, user_id: int, password: str, actor: Someone) -> User:
    """Give a person a password: their own, or, by an administrator, somebody's. Their sessions and tokens end."""
    user = _locked(user_id) if actor.pk == user_id else _user_to_change(user_id, actor)
    at = clock.now()
    user.set_password(_accepted(password, user))
    user.save(update_fields=["password"])
    record([Line(actions.USER_PASSWORD_CHANGED, user.audit_subject(), actor, at)])
    return user


# Roles ------------------------------------------------------------------------------------------------------


@act(denied=actions.ROLE_CREATE_DENIED)
def create_role(*, name: str, actor: Someone) -> Group:
    """Make a role before it has members or steps."""
    _require(actor, CHANGE_USERS, "Only administrators make roles.")
    if not is_role(name):
        raise Invalid(f"{name!r} is not a role's name: write human:…, agent:… or svc:… with letters, digits and _.-")
    if Group.objects.filter(name=name).exists():
        raise Invalid(f"The role {name} is there already.")
    group = role_group(name)
    subject = Subject(type="role", id=str(group.pk), facts={"name": name})
    record([Line(actions.ROLE_CREATED, subject, actor, clock.now())])
    return group


def groups_for(kind: str, names: Iterable[str]) -> list[Group]:
    """The groups of these names for a user of this kind; roles that are new are made. Raises Invalid."""
    wanted = sorted(set(names))
    known = {group.name: group for group in Group.objects.filter(name__in=wanted)}
    faults = [fault for name in wanted if (fault := _fault_of_group(kind, name, name in known))]
    if faults:
        raise Invalid(faults[0].message, errors=faults)
    return [known.get(name) or role_group(name) for name in wanted]


def _fault_of_group(kind: str, name: str, is_known: bool) -> Problem | None:
    prefix = next(prefix for prefix, of_kind in KIND_OF_ROLE.items() if of_kind == kind)
    if is_role(name):
        if name.startswith(f"{prefix}:"):
            return None
        return Problem("roles", f"{name} is not a role for this kind of user.", f"Give roles named {prefix}:…")
    if not is_known:
        return Problem("roles", f"There is no group named {name!r}.", f"Roles are named {prefix}:…")
    if kind != Kind.HUMAN:
        return Problem("roles", f"Only people may be in the group {name!r}.", f"Give roles named {prefix}:…")
    return None


# API keys ---------------------------------------------------------------------------------------------------


@act(denied=actions.KEY_CHANGE_DENIED)
def create_key(
    *, user_id: int, actor: Someone, name: str = "", expires_in: timedelta = KEY_LIFETIME
) -> tuple[ApiKey, str]:
    """(key, token). The token is shown now or never: only its digest is kept."""
    user = _locked(user_id)
    _check_key_maker(user, actor)
    if not user.is_active:
        raise WrongState(f"{user.username} is deactivated; a key would open nothing.", subject=user)
    if not timedelta(0) < expires_in <= LONGEST_KEY_LIFETIME:
        raise Invalid(f"A key lives from one day to {LONGEST_KEY_LIFETIME.days} days.")
    at = clock.now()
    maker = actor if isinstance(actor, User) else None
    key, token = ApiKey.make(user=user, name=name[:100], at=at, lifetime=expires_in, created_by=maker)
    data = {"user": str(user.pk), "expires": _moment(at + expires_in)}
    private = {"name": name} if name else {}
    record([Line(actions.KEY_CREATED, key.audit_subject(), actor, at, data=data, private=private)])
    return key, token


@act(denied=actions.KEY_CHANGE_DENIED)
def revoke_key(*, token_key: str, actor: Someone, reason: str) -> ApiKey:
    """End a key at once, and the leases it holds. The row stays, as evidence."""
    key = ApiKey.objects.select_for_update(of=("self",)).select_related("user").filter(token_key=token_key).first()
    if key is None:
        raise NotFound("There is no API key that begins like this.")
    if actor.pk != key.user_id:
        _require(actor, MANAGE_KEYS, "Only administrators, or the person it stands for, revoke a key.", key)
        _check_rank(key.user, actor)
    note, at = _given(reason), clock.now()
    if key.revoked_at is not None:
        raise WrongState("The key has been revoked already.", subject=key)
    key.revoked_at = at
    key.save(update_fields=["revoked_at"])
    line = Line(actions.KEY_REVOKED, key.audit_subject(), actor, at, note=note, data={"user": str(key.user_id)})
    record([line, *access_ended(user_id=key.user_id, credential=key.credential, at=at, actor=actor)])
    return key


def may_make_key_for(user: User, actor: Someone) -> bool:
    if actor is SYSTEM or actor.pk == user.pk:
        return True
    return isinstance(actor, User) and not user.is_human and actor.has_perm(MANAGE_KEYS)


def _check_key_maker(user: User, actor: Someone) -> None:
    if may_make_key_for(user, actor):
        return
    if user.is_human:
        raise Forbidden("A key speaks for its user, so a person's key is made by that person alone.", subject=user)
    raise Forbidden("Only administrators make keys for agents and services.", subject=user)


# What the acts share ----------------------------------------------------------------------------------------


def _require(actor: Someone, permission: str, sentence: str, subject: object = None) -> None:
    if isinstance(actor, SystemActor) or actor.has_perm(permission):
        return
    raise Forbidden(sentence, subject=subject)


def _user_to_change(user_id: int, actor: Someone) -> User:
    """The user, locked, if `actor` may change them."""
    _require(actor, CHANGE_USERS, "Only administrators change users.")
    user = _locked(user_id)
    _check_rank(user, actor)
    return user


def _locked(user_id: int) -> User:
    # No key is changed: rows that only point at the user need not wait.
    user = User.objects.select_for_update(no_key=True).filter(pk=user_id).first()
    if user is None:
        raise NotFound("There is no such user.")
    return user


def _check_rank(user: User, actor: Someone) -> None:
    if user.is_superuser and isinstance(actor, User) and not actor.is_superuser:
        raise Forbidden("Only a superuser changes a superuser.", subject=user)


def _keep_admin_door(user: User, *, is_member: bool) -> None:
    """People in any role or group may open the admin, others not: what they see there their roles decide."""
    is_staff = user.is_human and (is_member or user.is_superuser)
    if user.is_staff != is_staff:
        user.is_staff = is_staff
        user.save(update_fields=["is_staff"])


def _accepted(password: str | None, user: User) -> str | None:
    if password is None:
        return None
    if not user.is_human:
        raise Invalid("Agents and services hold keys, not passwords.")
    try:
        validate_password(password, user)
    except ValidationError as fault:
        raise Invalid(" ".join(fault.messages), errors=[Problem("password", message) for message in fault.messages])
    return password


def _check_fields(user: User) -> None:
    try:
        user.full_clean(exclude=["password"])
    except ValidationError as fault:
        problems = [Problem(name, message) for name, found in fault.message_dict.items() for message in found]
        raise Invalid(problems[0].message, errors=problems)


def _given(reason: str) -> str:
    if not reason.strip():
        raise Invalid("Say why: the reason is kept in the log.", errors=[Problem("reason", "is empty")])
    return reason.strip()


def _moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
