# SPDX-License-Identifier: Apache-2.0
"""The admin pages for users, roles and keys: what they show, what they change on POST, and what they refuse."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group
from django.contrib.sessions.models import Session
from django.db import connection
from django.urls import reverse

from accounts.models import ApiKey, Kind, User, role_group
from audit.models import Disclosure, Entry
from config import clock
from tests.people import PASSWORD, Api, agent, key_of

pytestmark = pytest.mark.django_db

USERS, ROLES, KEYS = "/admin/accounts/user/", "/admin/auth/group/", "/admin/accounts/apikey/"
NEW_PASSWORD = "another-horse-battery"
REASON = {"reason": "It was lost."}


@pytest.fixture
def browser(administrator, client_for):
    return client_for(administrator)


def page_of(user: User, act: str = "change") -> str:
    return f"{USERS}{user.pk}/{act}/"


def words_of(response) -> str:
    """What a reader of the page reads."""
    text = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(text.split())


def reloaded(user: User) -> User:
    return User.objects.get(pk=user.pk)


def acts() -> list[str]:
    """What has been recorded beside log-ins."""
    return list(Entry.objects.exclude(action="user.logged_in").order_by("id").values_list("action", flat=True))


def everything() -> dict[str, list]:
    """All rows of the rooms' own tables, to compare."""
    tables = [name for name in connection.introspection.table_names() if name.startswith(("accounts_", "audit_"))]
    with connection.cursor() as cursor:
        rows = {}
        for table in [*tables, "auth_group", "auth_group_permissions"]:
            cursor.execute(f'SELECT * FROM "{table}" ORDER BY 1')
            rows[table] = cursor.fetchall()
    return rows


# Looking ----------------------------------------------------------------------------------------------------


def test_users_are_listed_with_kind_roles_and_state(browser, liaison, validator):
    words = words_of(browser.get(USERS))

    assert "human:police_liaison, staff" in words
    assert "agent:validator" in words


def test_users_are_found_by_kind_role_state_and_name(browser, liaison, validator):
    def found(query: str) -> set[str]:
        page = browser.get(f"{USERS}?{query}")
        return {user.username for user in page.context["cl"].result_list}

    validator.is_active = False
    validator.save()

    assert found("kind__exact=agent") == {"validator"}
    assert found("role=human:police_liaison") == {"liaison"}
    assert found("is_active__exact=0") == {"validator"}
    assert found("q=liais") == {"liaison"}


@pytest.mark.parametrize("page", [USERS, ROLES, KEYS])
def test_a_list_costs_the_same_however_long_it_is(browser, page, django_assert_max_num_queries):
    def statements() -> int:
        with django_assert_max_num_queries(40) as counted:
            assert browser.get(page).status_code == 200
        return len(counted)

    for number in range(3):
        key_of(agent(f"agent{number}", f"agent:role{number}"))
    few = statements()
    for number in range(3, 20):
        key_of(agent(f"agent{number}", f"agent:role{number}"))

    assert statements() == few


def test_a_user_page_shows_everything_and_offers_no_field_to_edit(browser, liaison):
    key_of(liaison, name="laptop")
    page = browser.get(page_of(liaison))

    words = words_of(page)
    assert "human:police_liaison, staff" in words
    assert "laptop (works)" in words
    assert "150 characters or fewer" not in words
    assert not re.search(
        r'name="(is_active|is_superuser|is_staff|groups|password|kind|username)"', page.content.decode()
    )


@pytest.mark.parametrize(
    ("who", "offered", "missing"),
    [
        ("liaison", {"Set password", "Deactivate"}, {"Reactivate", "New API key"}),
        ("validator", {"New API key", "Deactivate"}, {"Reactivate", "Set password"}),
    ],
)
def test_a_user_page_offers_what_can_be_done_with_this_user(request, browser, who, offered, missing):
    words = words_of(browser.get(page_of(request.getfixturevalue(who))))

    assert all(each in words for each in {"Change details", "Change roles", *offered})
    assert not any(each in words for each in missing)


def test_a_role_page_shows_its_members(browser, liaison):
    group = Group.objects.get(name="human:police_liaison")

    words = words_of(browser.get(f"{ROLES}{group.pk}/change/"))

    assert "liaison" in words
    assert f'href="{page_of(liaison)}"' in browser.get(f"{ROLES}{group.pk}/change/").content.decode()


def test_what_was_edited_is_in_the_history_and_cannot_be_put_back(browser, administrator, liaison):
    browser.post(page_of(liaison, "details"), {"first_name": "Mia", "email": liaison.email})
    browser.post(page_of(liaison, "roles"), {"roles": ["human:police_liaison"]})

    words = words_of(browser.get(page_of(liaison, "history")))
    assert "Mia" in words
    assert "[staff, human:police_liaison] arrow_right_alt [human:police_liaison]" in words
    record = liaison.history.latest("history_id")
    assert record.history_user == administrator
    url = f"{USERS}{liaison.pk}/history/{record.pk}/"
    before = everything()
    assert browser.get(url).status_code == 200
    assert browser.post(url, {"username": "changed"}).status_code == 405
    assert everything() == before


def test_the_history_of_users_holds_no_password(browser, liaison):
    names = {field.name for field in User.history.model._meta.fields}

    assert "password" not in names
    assert "last_login" not in names


# Making and changing users ----------------------------------------------------------------------------------


def test_a_new_user_is_made_with_roles(browser):
    role_group("agent:screen")

    answer = browser.post(f"{USERS}add/", {"kind": "agent", "username": "screener", "roles": ["agent:screen"]})

    made = User.objects.get(username="screener")
    assert answer["Location"] == page_of(made)
    assert (made.kind, made.roles) == (Kind.AGENT, {"agent:screen"})
    assert acts() == ["user.created"]


def test_a_refused_form_keeps_what_was_typed(browser):
    role_group("agent:screen")

    answer = browser.post(f"{USERS}add/", {"kind": "human", "username": "mia", "roles": ["agent:screen"]})

    assert answer.status_code == 422
    assert "agent:screen is not a role for this kind of user" in words_of(answer)
    assert 'value="mia"' in answer.content.decode()
    assert not User.objects.filter(username="mia").exists()


def test_a_forged_field_is_not_taken(browser, liaison):
    browser.post(page_of(liaison, "details"), {"is_superuser": "on", "is_staff": "", "kind": "agent", "username": "x"})
    browser.post(page_of(liaison), {"is_superuser": "on", "_save": "1"})

    after = reloaded(liaison)
    assert (after.is_superuser, after.is_staff, after.kind, after.username) == (False, True, Kind.HUMAN, "liaison")


def test_roles_are_ticked_and_unticked(browser, liaison):
    role_group("human:clerk")
    page = browser.get(page_of(liaison, "roles")).content.decode()
    assert re.search(r'value="human:police_liaison"[^>]*checked', page)

    browser.post(page_of(liaison, "roles"), {"roles": ["human:clerk", "auditor"]})

    assert set(reloaded(liaison).groups.values_list("name", flat=True)) == {"human:clerk", "auditor"}
    assert acts() == ["user.roles_changed"]


def test_an_agent_is_offered_roles_of_agents_alone(browser, liaison, validator):
    page = browser.get(page_of(validator, "roles")).content.decode()

    assert 'value="agent:validator"' in page
    assert "human:police_liaison" not in page
    assert 'value="administrator"' not in page


def test_a_user_is_deactivated_with_a_reason_and_comes_back(browser, liaison):
    assert browser.post(page_of(liaison, "deactivate"), REASON).status_code == 302
    assert not reloaded(liaison).is_active
    assert browser.post(page_of(liaison, "reactivate"), REASON).status_code == 302
    assert reloaded(liaison).is_active

    assert acts() == ["user.deactivated", "user.reactivated"]


def test_without_a_reason_nobody_is_deactivated(browser, liaison):
    answer = browser.post(page_of(liaison, "deactivate"), {"reason": " "})

    assert answer.status_code == 422
    assert reloaded(liaison).is_active


def test_a_page_says_what_it_is_about_to_do_and_to_whom(browser, liaison):
    assert "Deactivate liaison?" in words_of(browser.get(page_of(liaison, "deactivate")))
    assert "Roles of liaison" in words_of(browser.get(page_of(liaison, "roles")))


def test_a_refusal_is_shown_on_the_page_and_stays_in_the_log(browser, superuser):
    answer = browser.post(page_of(superuser, "deactivate"), {"reason": "I want to be the boss."})

    assert answer.status_code == 403
    assert "Only a superuser changes a superuser." in words_of(answer)
    assert "I want to be the boss." in words_of(answer)
    assert acts() == ["user.change_denied"]


def test_nobody_is_deleted(browser, superuser, client_for, liaison):
    for client in (browser, client_for(superuser)):
        assert client.get(page_of(liaison, "delete")).status_code == 403
        assert client.post(page_of(liaison, "delete"), {"post": "yes"}).status_code == 403
        client.post(USERS, {"action": "delete_selected", "_selected_action": [liaison.pk], "post": "yes"})

    assert reloaded(liaison)


# Passwords --------------------------------------------------------------------------------------------------


def test_an_administrator_sets_a_password(browser, liaison):
    answer = browser.post(page_of(liaison, "password"), {"password1": NEW_PASSWORD, "password2": NEW_PASSWORD})

    assert answer.status_code == 302
    assert reloaded(liaison).check_password(NEW_PASSWORD)
    assert acts() == ["user.password_changed"]


@pytest.mark.parametrize(("first", "second"), [(NEW_PASSWORD, "other"), ("short", "short"), ("", "")])
def test_a_password_that_will_not_do_is_not_set(browser, liaison, first, second):
    answer = browser.post(page_of(liaison, "password"), {"password1": first, "password2": second})

    assert answer.status_code == 422
    assert reloaded(liaison).check_password(PASSWORD)


def test_a_person_changes_their_own_password_and_stays_logged_in(liaison, client_for):
    client = client_for(liaison)
    assert client.get(reverse("admin:password_change")).status_code == 200

    sent = {"old_password": PASSWORD, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    answer = client.post(reverse("admin:password_change"), sent)

    assert answer["Location"] == reverse("admin:password_change_done")
    assert client.get("/admin/").status_code == 200
    assert reloaded(liaison).check_password(NEW_PASSWORD)
    entry = Entry.objects.get(action="user.password_changed")
    assert (entry.actor_id, entry.subject_id) == (liaison.pk, str(liaison.pk))


def test_the_old_password_is_asked_for(liaison, client_for):
    sent = {"old_password": "wrong", "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}

    client_for(liaison).post(reverse("admin:password_change"), sent)

    assert reloaded(liaison).check_password(PASSWORD)
    assert acts() == []


# Roles ------------------------------------------------------------------------------------------------------


def test_a_role_is_made_on_its_page(browser):
    assert browser.post(f"{ROLES}add/", {"name": "human:clerk"}).status_code == 302
    assert browser.post(f"{ROLES}add/", {"name": "clerk"}).status_code == 422

    assert Group.objects.filter(name="human:clerk").exists()
    assert not Group.objects.filter(name="clerk").exists()


def test_what_a_group_may_do_cannot_be_edited(superuser, client_for):
    client, group = client_for(superuser), Group.objects.get(name="auditor")
    before = everything()

    assert client.post(f"{ROLES}{group.pk}/change/", {"name": "auditor", "permissions": []}).status_code == 403
    assert client.post(f"{ROLES}{group.pk}/delete/", {"post": "yes"}).status_code == 403

    assert everything() == before


# Keys -------------------------------------------------------------------------------------------------------


def make_key(client, user: User, **fields):
    return client.post(f"{KEYS}add/", {"user": user.pk, "name": "laptop", "days": 30, **fields})


def token_in(page) -> str:
    (token,) = re.findall(r'value="(hmsact_[0-9a-f]+)"', page.content.decode())
    return token


def test_a_new_key_is_shown_once_and_works(browser, validator):
    page = make_key(browser, validator)

    assert page.status_code == 200
    assert "no-store" in page["Cache-Control"]
    client = Api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token_in(page)}")
    assert client.get("/acts/runs").status_code == 200


def test_the_token_is_nowhere_afterwards(browser, validator):
    token = token_in(make_key(browser, validator))

    secret = token.removeprefix(ApiKey.objects.get().token_key)
    stored = str(everything()) + str([session.get_decoded() for session in Session.objects.all()])
    stored += "".join(str(d.items) for d in Disclosure.objects.all())
    assert secret not in stored
    for page in (KEYS, page_of(validator), page_of(validator, "history"), "/admin/"):
        assert secret not in browser.get(page).content.decode()
    assert secret not in str(browser.cookies)


def test_a_key_has_the_life_that_was_asked_for(browser, validator, administrator):
    make_key(browser, validator, days=7)

    key = ApiKey.objects.get()
    assert key.expiry - key.created == timedelta(days=7)
    assert (key.user, key.created_by, key.name) == (validator, administrator, "laptop")


@pytest.mark.parametrize("days", ["0", "3651", "x", ""])
def test_a_key_without_a_sensible_life_is_not_made(browser, validator, days):
    assert make_key(browser, validator, days=days).status_code == 422
    assert not ApiKey.objects.exists()


def test_an_administrator_is_not_offered_another_persons_key_and_cannot_make_it(browser, administrator, liaison):
    page = browser.get(f"{KEYS}add/").content.decode()

    assert f'<option value="{administrator.pk}"' in page
    assert f'<option value="{liaison.pk}"' not in page
    assert make_key(browser, liaison).status_code == 422
    assert not ApiKey.objects.exists()


def test_a_person_makes_and_revokes_their_own_key_and_sees_no_other(liaison, validator, client_for):
    key_of(validator)
    client = client_for(liaison)

    token = token_in(make_key(client, liaison))

    key = ApiKey.objects.get(user=liaison)
    assert [each.pk for each in client.get(KEYS).context["cl"].result_list] == [key.pk]
    assert client.post(f"{KEYS}{key.pk}/revoke/", REASON).status_code == 302
    bearer = Api()
    bearer.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert bearer.get("/acts/runs").status_code == 401


def test_an_administrator_revokes_an_agents_key_with_a_reason(browser, validator):
    key, _ = key_of(validator)
    revoke = f"{KEYS}{key.pk}/revoke/"

    assert revoke in browser.get(f"{KEYS}{key.pk}/change/").content.decode()
    assert browser.post(revoke, {"reason": ""}).status_code == 422
    assert ApiKey.objects.get().revoked_at is None
    assert browser.post(revoke, REASON).status_code == 302
    assert ApiKey.objects.get().revoked_at is not None
    assert Entry.objects.get(action="key.revoked").note == REASON["reason"]
    assert revoke not in browser.get(f"{KEYS}{key.pk}/change/").content.decode()


@pytest.mark.parametrize("act", ["change", "revoke"])
def test_another_users_key_is_not_to_be_found(liaison, validator, client_for, act):
    key, _ = key_of(validator)
    client = client_for(liaison)

    assert client.get(f"{KEYS}{key.pk}/{act}/").status_code in {302, 404}
    assert client.post(f"{KEYS}{key.pk}/{act}/", REASON).status_code in {302, 403, 404}
    assert ApiKey.objects.get().revoked_at is None
    assert make_key(client, validator).status_code == 422


def test_an_auditor_sees_all_keys_and_revokes_none(auditor, validator, client_for):
    key, _ = key_of(validator)
    client = client_for(auditor)

    assert str(key) in words_of(client.get(KEYS))
    assert f"{key.pk}/revoke/" not in client.get(f"{KEYS}{key.pk}/change/").content.decode()
    assert client.post(f"{KEYS}{key.pk}/revoke/", REASON).status_code == 403
    assert acts() == ["key.change_denied"]


def test_keys_are_found_by_their_state(browser, validator):
    def found(state: str) -> set[str]:
        return {key.name for key in browser.get(f"{KEYS}?state={state}").context["cl"].result_list}

    key_of(validator, name="good")
    key_of(validator, name="old", lifetime=timedelta(hours=1))
    revoked, _ = key_of(validator, name="gone")
    revoked.revoked_at = clock.now()
    revoked.save()
    clock.move(timedelta(hours=2))

    assert (found("works"), found("expired"), found("revoked")) == ({"good"}, {"old"}, {"gone"})
    assert words_of(browser.get(KEYS)).count("expired") >= 1


# Every page, every actor ------------------------------------------------------------------------------------


def every_page(user: User, key: ApiKey, group: Group) -> list[str]:
    of_users = ("change", "details", "roles", "password", "key", "deactivate", "reactivate", "history", "delete")
    pages = [USERS, f"{USERS}add/", ROLES, f"{ROLES}add/", KEYS, f"{KEYS}add/", reverse("admin:password_change")]
    pages += [page_of(user, act) for act in of_users]
    pages += [f"{ROLES}{group.pk}/{act}/" for act in ("change", "delete", "history")]
    return pages + [f"{KEYS}{key.pk}/{act}/" for act in ("change", "revoke", "delete", "history")]


@pytest.mark.parametrize("who", ["superuser", "administrator", "auditor", "playbook_author", "staff_member", "liaison"])
def test_looking_at_any_page_changes_nothing(request, who, validator, client_for):
    key, _ = key_of(validator)
    client = client_for(request.getfixturevalue(who))
    pages = every_page(validator, key, Group.objects.get(name="agent:validator"))
    before = everything()

    statuses = {page: client.get(page).status_code for page in pages}

    assert everything() == before
    assert set(statuses.values()) <= {200, 302, 403, 404}, statuses


@pytest.mark.parametrize("who", ["auditor", "playbook_author", "staff_member", "liaison"])
def test_who_may_not_changes_nothing_by_any_page(request, who, validator, client_for):
    key, _ = key_of(validator)
    client = client_for(request.getfixturevalue(who))
    before = everything()
    sent = {"reason": "x", "post": "yes", "action": "delete_selected", "_selected_action": [validator.pk]}
    sent |= {"kind": "human", "username": "x", "first_name": "x", "name": "human:x", "roles": ["agent:validator"]}
    sent |= {"user": validator.pk, "days": 3, "password1": NEW_PASSWORD, "password2": NEW_PASSWORD}

    for page in every_page(validator, key, Group.objects.get(name="agent:validator")):
        assert client.post(page, sent).status_code in {200, 302, 403, 404, 405, 422}, page

    after = everything()
    assert {table for table in before if before[table] != after[table]} <= {"audit_entry", "audit_disclosure"}
    assert not Entry.objects.exclude(action__endswith="_denied").exclude(action="user.logged_in").exists()


def test_who_has_not_logged_in_sees_nothing(client, validator):
    key, _ = key_of(validator)

    for page in every_page(validator, key, Group.objects.get(name="agent:validator")):
        assert client.get(page).status_code == 302, page
        assert client.get(page)["Location"].startswith("/admin/login/")
