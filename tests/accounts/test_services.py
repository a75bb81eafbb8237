# SPDX-License-Identifier: Apache-2.0
"""The acts on users, roles and keys: what they change, what they record, and whom they refuse."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from knox.crypto import hash_token

from accounts import access, seeds
from accounts.models import ApiKey, Kind, User
from accounts.services import (
    change_details,
    change_roles,
    create_agent,
    create_key,
    create_role,
    create_user,
    deactivate_user,
    reactivate_user,
    revoke_key,
    set_password,
)
from audit.models import Entry, Result
from audit.services import SYSTEM, Line, Subject
from config import clock
from config.errors import Forbidden, Invalid, NotFound, WrongState
from tests.people import PASSWORD, key_of, person

pytestmark = pytest.mark.django_db


def reloaded(user: User) -> User:
    return User.objects.get(pk=user.pk)


def log() -> list[tuple[str, str]]:
    return list(Entry.objects.order_by("id").values_list("action", "result"))


def last_entry() -> Entry:
    return Entry.objects.latest("id")


@pytest.fixture
def ended_access():
    """What the registry was told, by a room above that records a line of its own."""
    told = []

    def callback(*, user_id, credential, at, actor):
        told.append((user_id, credential, reloaded(User(pk=user_id)).is_active))
        return [Line("task.lease_lost", Subject(type="task", id="7"), actor, at)]

    access.on_access_ended(callback)
    yield told
    access.forget(callback)


# Users ------------------------------------------------------------------------------------------------------


def test_a_person_with_a_role_may_open_the_admin(administrator):
    user = create_user(username="maria", roles=["human:clerk", "staff"], email="m@EXAMPLE.org", actor=administrator)

    assert (user.kind, user.is_staff, user.email) == (Kind.HUMAN, True, "m@example.org")
    assert not user.has_usable_password()
    assert reloaded(user).roles == {"human:clerk"}
    assert last_entry().data == {"kind": "human", "roles": ["human:clerk", "staff"]}
    assert log() == [("user.created", "SUCCESS")]


def test_a_person_without_a_role_may_not_open_the_admin(administrator):
    assert not create_user(username="maria", actor=administrator).is_staff


def test_an_agent_holds_no_password_and_may_start_runs(administrator):
    agent = create_agent(name="screener", roles=["agent:validator"], model_name="m-1", actor=administrator)

    assert (agent.kind, agent.is_staff, agent.model_name) == (Kind.AGENT, False, "m-1")
    assert not agent.has_usable_password()
    assert agent.has_perm("runs.start")
    assert reloaded(agent).roles == {"agent:validator"}


def test_a_service_may_not_start_runs_by_default(administrator):
    service = create_user(username="till", kind=Kind.SERVICE, roles=["svc:finance"], actor=administrator)

    assert not service.has_perm("runs.start")


@pytest.mark.parametrize(
    ("kind", "role", "sentence"),
    [
        (Kind.AGENT, "human:police_liaison", "not a role for this kind"),
        (Kind.AGENT, "svc:finance", "not a role for this kind"),
        (Kind.HUMAN, "agent:validator", "not a role for this kind"),
        (Kind.SERVICE, "human:clerk", "not a role for this kind"),
        (Kind.AGENT, "administrator", "Only people"),
        (Kind.SERVICE, "auditor", "Only people"),
        (Kind.HUMAN, "clerk", "no group named"),
        (Kind.HUMAN, "human:", "no group named"),
        (Kind.HUMAN, "human:a b", "no group named"),
        (Kind.HUMAN, "human:clerk\n", "no group named"),
    ],
)
def test_a_role_of_another_kind_or_of_no_kind_is_refused(administrator, kind, role, sentence):
    with pytest.raises(Invalid, match=sentence) as refusal:
        create_user(username="x", kind=kind, roles=[role], actor=administrator)

    assert refusal.value.errors[0].remedy
    assert not User.objects.filter(username="x").exists()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"username": "administrator"}, "username"),
        ({"username": "two words"}, "username"),
        ({"username": ""}, "username"),
        ({"username": "x" * 151}, "username"),
        ({"username": "x", "email": "nowhere"}, "email"),
        ({"username": "x", "kind": Kind.AGENT, "password": PASSWORD}, ""),
        ({"username": "x", "password": "12345678"}, "password"),
    ],
)
def test_a_user_who_is_not_valid_is_refused_with_the_place(administrator, fields, path):
    with pytest.raises(Invalid) as refusal:
        create_user(**fields, actor=administrator)

    assert {problem.path for problem in refusal.value.errors} == ({path} if path else set())
    assert not User.objects.filter(username=fields["username"]).exclude(pk=administrator.pk).exists()


@pytest.mark.parametrize("who", ["auditor", "staff_member", "playbook_author", "validator", "worker_user"])
def test_only_administrators_make_users(request, who):
    actor = request.getfixturevalue(who)

    with pytest.raises(Forbidden):
        create_user(username="maria", actor=actor)

    assert log() == [("user.change_denied", "DENIED")]
    assert not User.objects.filter(username="maria").exists()


def test_details_change_and_the_entry_names_them_without_telling(administrator, liaison):
    change_details(user_id=liaison.pk, first_name="Mia", email=liaison.email, actor=administrator)

    assert reloaded(liaison).first_name == "Mia"
    assert last_entry().data == {"fields": ["first_name"]}
    assert b"Mia" not in bytes(last_entry().body)


def test_details_that_are_the_same_change_nothing(administrator, liaison):
    change_details(user_id=liaison.pk, email=liaison.email, actor=administrator)

    assert log() == []


# Roles ------------------------------------------------------------------------------------------------------


def test_roles_are_set_as_given(administrator, liaison):
    liaison.roles  # noqa: B018 - remembered from before

    user = change_roles(user_id=liaison.pk, roles=["human:clerk", "auditor"], actor=administrator)

    assert user.roles == {"human:clerk"}
    assert last_entry().data == {"added": ["auditor", "human:clerk"], "removed": ["human:police_liaison", "staff"]}


def test_the_same_roles_change_nothing(administrator, liaison, ended_access):
    change_roles(user_id=liaison.pk, roles=["staff", "human:police_liaison"], actor=administrator)

    assert (log(), ended_access) == ([], [])


def test_a_person_who_loses_the_last_role_leaves_the_admin_and_comes_back_with_one(administrator, liaison):
    assert not change_roles(user_id=liaison.pk, roles=[], actor=administrator).is_staff
    assert change_roles(user_id=liaison.pk, roles=["human:clerk"], actor=administrator).is_staff


def test_an_agent_cannot_be_given_a_persons_role(administrator, validator):
    with pytest.raises(Invalid):
        change_roles(user_id=validator.pk, roles=["agent:validator", "human:police_liaison"], actor=administrator)

    assert reloaded(validator).roles == {"agent:validator"}


def test_losing_a_role_ends_what_rests_on_it(administrator, liaison, ended_access):
    change_roles(user_id=liaison.pk, roles=["staff"], actor=administrator)

    assert ended_access == [(liaison.pk, None, True)]
    assert [action for action, _ in log()] == ["user.roles_changed", "task.lease_lost"]


def test_gaining_a_role_or_losing_a_permission_group_ends_nothing(administrator, liaison, ended_access):
    change_roles(user_id=liaison.pk, roles=["human:police_liaison", "human:clerk"], actor=administrator)

    assert ended_access == []


def test_a_role_is_made_before_it_has_members(administrator):
    assert create_role(name="human:clerk", actor=administrator).name == "human:clerk"
    assert log() == [("role.created", "SUCCESS")]


@pytest.mark.parametrize("name", ["clerk", "human:", "robot:x", "human:" + "x" * 101, "administrator"])
def test_a_role_must_be_named_like_one(administrator, name):
    with pytest.raises(Invalid):
        create_role(name=name, actor=administrator)


def test_a_role_is_made_once(administrator, liaison):
    with pytest.raises(Invalid, match="already"):
        create_role(name="human:police_liaison", actor=administrator)


def test_only_administrators_make_roles_or_give_them(liaison):
    with pytest.raises(Forbidden):
        create_role(name="human:clerk", actor=liaison)
    with pytest.raises(Forbidden):
        change_roles(user_id=liaison.pk, roles=["administrator"], actor=liaison)

    assert log() == [("role.create_denied", "DENIED"), ("user.change_denied", "DENIED")]


# Deactivation -----------------------------------------------------------------------------------------------


def test_a_deactivated_user_loses_at_once_what_rests_on_their_access(administrator, validator, ended_access):
    deactivate_user(user_id=validator.pk, reason="It sent nonsense.", actor=administrator)

    assert not reloaded(validator).is_active
    assert ended_access == [(validator.pk, None, False)]
    assert [action for action, _ in log()] == ["user.deactivated", "task.lease_lost"]
    entry = Entry.objects.get(action="user.deactivated")
    assert (entry.from_state, entry.to_state, entry.note) == ("active", "deactivated", "It sent nonsense.")


def test_a_deactivation_that_fails_half_way_changes_nothing(administrator, validator):
    def failing(**given):
        raise RuntimeError("the room above fell over")

    access.on_access_ended(failing)
    try:
        with pytest.raises(RuntimeError):
            deactivate_user(user_id=validator.pk, reason="x", actor=administrator)
    finally:
        access.forget(failing)

    assert reloaded(validator).is_active
    assert log() == []


def test_a_deactivation_needs_a_reason(administrator, validator):
    with pytest.raises(Invalid, match="Say why"):
        deactivate_user(user_id=validator.pk, reason="  ", actor=administrator)


def test_a_user_comes_back_with_their_roles(administrator, validator):
    deactivate_user(user_id=validator.pk, reason="x", actor=administrator)

    user = reactivate_user(user_id=validator.pk, reason="It was somebody else.", actor=administrator)

    assert user.is_active
    assert user.roles == {"agent:validator"}
    assert last_entry().note == "It was somebody else."


def test_nobody_deactivates_themself(administrator, superuser):
    for actor in (administrator, superuser):
        with pytest.raises(Forbidden, match="themself"):
            deactivate_user(user_id=actor.pk, reason="x", actor=actor)


def test_the_last_active_superuser_stays(superuser):
    person("former", is_superuser=True, is_active=False)

    with pytest.raises(WrongState, match="last active superuser"):
        deactivate_user(user_id=superuser.pk, reason="x", actor=SYSTEM)

    assert log() == [("user.change_denied", "DENIED")]


@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
def test_two_superusers_do_not_deactivate_each_other_at_the_same_time():
    one, two = person("one", is_superuser=True), person("two", is_superuser=True)
    with ThreadPoolExecutor(1) as other_connection:
        with transaction.atomic():
            deactivate_user(user_id=two.pk, reason="x", actor=one)
            answer = other_connection.submit(_deactivate_and_close, one, by=two)
            _wait_until_it_waits_for_a_lock(answer)
        with pytest.raises(WrongState, match="last active superuser"):
            answer.result(timeout=10)

    assert (reloaded(one).is_active, reloaded(two).is_active) == (True, False)


def _deactivate_and_close(user: User, *, by: User) -> None:
    try:
        deactivate_user(user_id=user.pk, reason="x", actor=by)
    finally:
        connection.close()


def _wait_until_it_waits_for_a_lock(other: Future[None]) -> None:
    with connection.cursor() as cursor:
        while not other.done():
            cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
            if cursor.fetchone()[0]:
                return


def test_one_of_two_superusers_may_go(superuser):
    other = person("other", is_superuser=True)

    deactivate_user(user_id=other.pk, reason="x", actor=superuser)

    assert not reloaded(other).is_active


@pytest.mark.parametrize("username", seeds.OWN_USERS)
def test_the_products_own_users_stay(superuser, username):
    own = User.objects.get(username=username)

    with pytest.raises(WrongState, match="product's own"):
        deactivate_user(user_id=own.pk, reason="x", actor=superuser)


def test_a_state_cannot_be_entered_twice(administrator, validator):
    with pytest.raises(WrongState):
        reactivate_user(user_id=validator.pk, reason="x", actor=administrator)
    deactivate_user(user_id=validator.pk, reason="x", actor=administrator)
    with pytest.raises(WrongState):
        deactivate_user(user_id=validator.pk, reason="x", actor=administrator)


CHANGES = {
    "deactivate": lambda user, actor: deactivate_user(user_id=user.pk, reason="x", actor=actor),
    "reactivate": lambda user, actor: reactivate_user(user_id=user.pk, reason="x", actor=actor),
    "roles": lambda user, actor: change_roles(user_id=user.pk, roles=["human:clerk"], actor=actor),
    "details": lambda user, actor: change_details(user_id=user.pk, first_name="X", actor=actor),
    "password": lambda user, actor: set_password(user_id=user.pk, password="another-horse-1", actor=actor),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_only_a_superuser_changes_a_superuser(administrator, superuser, change):
    with pytest.raises(Forbidden, match="Only a superuser"):
        change(superuser, administrator)

    assert log() == [("user.change_denied", "DENIED")]
    assert (last_entry().actor_id, last_entry().subject_id) == (administrator.pk, str(superuser.pk))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
@pytest.mark.parametrize("who", ["auditor", "liaison", "validator"])
def test_others_than_administrators_change_nobody(request, staff_member, who, change):
    actor = request.getfixturevalue(who)
    before = User.objects.filter(pk=staff_member.pk).values().get()

    with pytest.raises(Forbidden):
        change(staff_member, actor)

    assert User.objects.filter(pk=staff_member.pk).values().get() == before
    assert log() == [("user.change_denied", "DENIED")]


def test_a_user_who_is_not_there_is_not_found(administrator):
    with pytest.raises(NotFound):
        deactivate_user(user_id=10**9, reason="x", actor=administrator)

    assert last_entry().result == Result.DENIED


# Passwords --------------------------------------------------------------------------------------------------


def test_a_person_changes_their_own_password(liaison):
    set_password(user_id=liaison.pk, password="another-horse-1", actor=liaison)

    assert reloaded(liaison).check_password("another-horse-1")
    assert log() == [("user.password_changed", "SUCCESS")]
    assert "another-horse-1" not in str(last_entry().content)


def test_an_administrator_gives_a_person_a_password(administrator, liaison):
    set_password(user_id=liaison.pk, password="another-horse-1", actor=administrator)

    assert (last_entry().actor_id, last_entry().subject_id) == (administrator.pk, str(liaison.pk))


def test_an_agent_is_given_no_password(administrator, validator):
    with pytest.raises(Invalid, match="keys, not passwords"):
        set_password(user_id=validator.pk, password="another-horse-1", actor=administrator)


def test_a_weak_password_is_refused_with_the_reason(liaison):
    with pytest.raises(Invalid, match="too short"):
        set_password(user_id=liaison.pk, password="short", actor=liaison)


# Keys -------------------------------------------------------------------------------------------------------


def test_a_key_is_told_once_and_kept_as_a_digest(administrator, validator):
    key, token = create_key(user_id=validator.pk, name="laptop", actor=administrator)

    stored = ApiKey.objects.values().get(pk=key.pk)
    assert stored["digest"] == hash_token(token)
    assert token not in str(stored)
    assert stored["created_by_id"] == administrator.pk
    assert key.expiry - key.created == timedelta(days=365)
    entry = last_entry()
    assert (entry.action, entry.subject_id) == ("key.created", key.token_key)
    assert token not in str(entry.content) + str(entry.disclosure.items)
    assert token.removeprefix(key.token_key) not in str(entry.content) + str(entry.disclosure.items)


@pytest.mark.parametrize("lifetime", [timedelta(0), -timedelta(days=1), timedelta(days=3651)])
def test_a_key_lives_a_while_and_not_for_ever(administrator, validator, lifetime):
    with pytest.raises(Invalid):
        create_key(user_id=validator.pk, expires_in=lifetime, actor=administrator)


def test_a_persons_key_is_made_by_that_person(administrator, liaison):
    with pytest.raises(Forbidden, match="that person alone"):
        create_key(user_id=liaison.pk, actor=administrator)

    key, _ = create_key(user_id=liaison.pk, actor=liaison)

    assert key.user_id == liaison.pk
    assert log() == [("key.change_denied", "DENIED"), ("key.created", "SUCCESS")]


@pytest.mark.parametrize("who", ["auditor", "liaison", "finance"])
def test_only_administrators_make_keys_for_agents(request, validator, who):
    with pytest.raises(Forbidden, match="Only administrators"):
        create_key(user_id=validator.pk, actor=request.getfixturevalue(who))


def test_a_deactivated_user_gets_no_key(administrator, validator):
    deactivate_user(user_id=validator.pk, reason="x", actor=administrator)

    with pytest.raises(WrongState):
        create_key(user_id=validator.pk, actor=administrator)


def test_a_revoked_key_ends_at_once_with_what_it_holds(administrator, validator, ended_access):
    key, _ = key_of(validator)

    revoke_key(token_key=key.token_key, reason="Lost.", actor=administrator)

    assert ApiKey.objects.get(pk=key.pk).revoked_at is not None
    assert ended_access == [(validator.pk, key.credential, True)]
    assert [action for action, _ in log()] == ["key.revoked", "task.lease_lost"]
    assert Entry.objects.get(action="key.revoked").note == "Lost."


def test_a_key_is_revoked_once_and_with_a_reason(administrator, validator):
    key, _ = key_of(validator)

    with pytest.raises(Invalid):
        revoke_key(token_key=key.token_key, reason="", actor=administrator)
    revoke_key(token_key=key.token_key, reason="Lost.", actor=administrator)
    with pytest.raises(WrongState):
        revoke_key(token_key=key.token_key, reason="Lost.", actor=administrator)


def test_others_do_not_revoke_a_key_and_its_person_does(auditor, liaison):
    key, _ = key_of(liaison)

    with pytest.raises(Forbidden):
        revoke_key(token_key=key.token_key, reason="x", actor=auditor)
    revoke_key(token_key=key.token_key, reason="x", actor=liaison)

    assert log() == [("key.change_denied", "DENIED"), ("key.revoked", "SUCCESS")]


def test_an_unknown_key_is_not_found(administrator):
    with pytest.raises(NotFound):
        revoke_key(token_key="hmsact_00000000", reason="x", actor=administrator)


def test_two_keys_never_share_their_public_part(validator):
    key, _ = key_of(validator)

    with pytest.raises(IntegrityError), transaction.atomic():
        ApiKey.objects.create(
            digest="other", token_key=key.token_key, user=validator, created=clock.now(), expiry=clock.now()
        )


# What the database itself forbids ---------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{"is_staff": True}, {"is_superuser": True}])
@pytest.mark.parametrize("who", ["validator", "finance"])
def test_not_even_raw_sql_lets_a_machine_into_the_admin(request, who, change):
    user = request.getfixturevalue(who)

    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=user.pk).update(**change)


@pytest.mark.parametrize("kind", ["agent", "service", "robot", ""])
def test_not_even_raw_sql_makes_a_person_in_the_admin_a_machine(liaison, kind):
    with pytest.raises(IntegrityError), transaction.atomic():
        User.objects.filter(pk=liaison.pk).update(kind=kind)
