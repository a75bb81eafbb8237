# SPDX-License-Identifier: Apache-2.0
"""Passwords for tokens and for sessions: who gets one, who is told to wait, and what the log keeps of it."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.test import Client

from accounts.models import User
from audit.models import Entry, Result
from config import clock
from tests.people import PASSWORD, Api, key_of

pytestmark = pytest.mark.django_db

LOG_IN = "/admin/login/"


def obtain(username: str, password: str = PASSWORD, **more):
    return Api().post("/auth/token", {"username": username, "password": password, **more})


def refresh(token: str):
    return Api().post("/auth/token/refresh", {"refresh": token})


def log_in(username: str, password: str = PASSWORD, client: Client | None = None):
    return (client or Client()).post(LOG_IN, {"username": username, "password": password})


def entries(action: str) -> list[Entry]:
    return list(Entry.objects.filter(action=action).order_by("id"))


# Tokens -----------------------------------------------------------------------------------------------------


def test_a_password_gives_tokens_that_stand_for_the_person(liaison):
    answer = obtain("liaison")

    assert answer.status_code == 200
    assert set(answer.json()) == {"access", "refresh"}
    assert answer["Cache-Control"] == "no-store"
    assert not answer.cookies


def test_obtaining_tokens_is_a_log_in(liaison):
    obtain("liaison")

    (entry,) = entries("user.logged_in")
    assert (entry.actor_id, entry.channel, entry.subject_id) == (liaison.pk, "api", str(liaison.pk))
    assert entry.content["actor"]["credential"] == "password"
    assert User.objects.get(pk=liaison.pk).last_login == entry.at


def test_a_log_in_is_no_edit_of_the_user(liaison):
    before = liaison.history.count()

    obtain("liaison")
    log_in("liaison")

    assert liaison.history.count() == before


def make_inactive(user):
    user.is_active = False
    user.save()


@pytest.mark.parametrize(
    ("username", "password"), [("liaison", "wrong"), ("nobody", PASSWORD), ("validator", PASSWORD)]
)
def test_all_wrong_log_ins_are_answered_alike(liaison, validator, username, password):
    answer = obtain(username, password)

    assert answer.status_code == 401
    assert answer.json()["detail"] == "The username or the password is wrong, or the account is not active."


def test_a_deactivated_person_gets_no_tokens(liaison):
    make_inactive(liaison)

    assert obtain("liaison").status_code == 401


def test_an_agent_gets_no_tokens_even_with_a_password(validator):
    validator.set_password(PASSWORD)
    validator.save()

    assert obtain("validator").status_code == 401


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"username": "liaison"}, "password"),
        ({"username": "liaison", "password": PASSWORD, "remember": True}, "remember"),
        ({"username": "liaison", "password": None}, "password"),
        ({"username": ["liaison"], "password": PASSWORD}, "username"),
    ],
)
def test_what_is_not_asked_for_or_missing_is_refused(liaison, body, path):
    answer = Api().post("/auth/token", body)

    assert answer.status_code == 422
    assert [error["path"] for error in answer.json()["errors"]] == [path]


def test_a_refresh_token_gives_an_access_token_later(liaison):
    given = obtain("liaison").json()["refresh"]

    clock.move(timedelta(hours=11))
    answer = refresh(given)

    assert answer.status_code == 200
    assert set(answer.json()) == {"access"}
    assert answer["Cache-Control"] == "no-store"
    clock.move(timedelta(hours=2))
    assert "Log in again" in refresh(given).json()["detail"]


def test_an_access_token_is_not_for_refreshing(liaison):
    answer = refresh(obtain("liaison").json()["access"])

    assert answer.status_code == 401
    assert "send the refresh token" in answer.json()["detail"]


def test_a_key_is_not_for_refreshing(validator):
    _, token = key_of(validator)

    assert refresh(token).status_code == 401


def test_a_refresh_token_ends_with_its_user(liaison):
    given = obtain("liaison").json()["refresh"]
    make_inactive(liaison)

    assert refresh(given).status_code == 401


def test_a_refresh_token_ends_with_the_password(liaison):
    given = obtain("liaison").json()["refresh"]
    liaison.set_password("another-horse-battery")
    liaison.save()

    assert refresh(given).status_code == 401


@pytest.mark.parametrize("path", ["/auth/token", "/auth/token/refresh"])
def test_a_get_gives_nothing(path):
    assert Api().get(path).status_code == 405


# Sessions ---------------------------------------------------------------------------------------------------


def test_a_person_logs_in_and_out_of_the_admin(liaison):
    client = Client()

    assert log_in("liaison", client=client).status_code == 302
    assert client.get("/admin/").status_code == 200
    client.post("/admin/logout/")
    assert client.get("/admin/").status_code == 302

    (came,), (went,) = entries("user.logged_in"), entries("user.logged_out")
    assert (came.actor_id, came.channel) == (liaison.pk, "admin")
    assert (went.actor_id, went.channel) == (liaison.pk, "admin")
    assert User.objects.get(pk=liaison.pk).last_login == came.at


def test_a_log_out_by_a_link_changes_nothing(liaison, client_for):
    client = client_for(liaison)

    assert client.get("/admin/logout/").status_code == 405
    assert client.get("/admin/").status_code == 200


def test_an_agent_does_not_enter_the_admin(validator):
    validator.set_password(PASSWORD)
    validator.save()

    assert log_in("validator").status_code == 200
    assert entries("user.logged_in") == []


# Refused log-ins --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attempt", [obtain, log_in])
def test_a_refused_log_in_leaves_an_entry_without_the_password(liaison, attempt):
    attempt("liaison", "my secret mother's name")

    (entry,) = entries("user.login_denied")
    assert (entry.result, entry.actor_type, entry.subject_id) == (Result.DENIED, "system", str(liaison.pk))
    assert "liaison" in entry.note
    assert b"secret mother" not in bytes(entry.body)
    assert "secret mother" not in str(entry.disclosure.items)


def test_what_was_typed_as_a_name_is_committed_to_and_not_told(liaison):
    obtain("correct-horse-battery", "liaison")

    (entry,) = entries("user.login_denied")
    assert b"correct-horse" not in bytes(entry.body)
    assert entry.subject_id == ""
    assert "correct-horse" in entry.note


def test_a_flood_of_refused_log_ins_does_not_fill_the_log(liaison):
    for number in range(40):
        obtain(f"somebody{number}", "wrong")

    assert len(entries("user.login_denied")) == 30


@pytest.mark.parametrize("attempt", [obtain, log_in])
def test_who_fails_too_often_waits_even_with_the_right_password(liaison, attempt):
    for _ in range(settings.AXES_FAILURE_LIMIT):
        attempt("liaison", "wrong")

    answer = attempt("liaison")

    assert answer.status_code == 429
    assert answer["Retry-After"] == "900"
    assert "Wait 15 minutes" in answer.content.decode()
    assert entries("user.logged_in") == []


def test_a_locked_out_caller_of_the_api_gets_a_problem_document(liaison):
    for _ in range(settings.AXES_FAILURE_LIMIT + 1):
        answer = obtain("liaison", "wrong")

    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "rate_limited"


def test_a_name_longer_than_any_is_refused_and_counted_like_any_other(db):
    answers = [log_in("x" * 5000).status_code for _ in range(settings.AXES_FAILURE_LIMIT + 1)]

    assert (set(answers[:-2]), answers[-1]) == ({200}, 429)


def test_one_persons_failures_do_not_lock_out_another(liaison, auditor):
    for _ in range(settings.AXES_FAILURE_LIMIT + 1):
        obtain("liaison", "wrong")

    assert obtain("auditor").status_code == 200


def test_a_good_log_in_forgets_the_failures_before(liaison):
    for _ in range(2):
        for _ in range(settings.AXES_FAILURE_LIMIT - 1):
            obtain("liaison", "wrong")
        assert obtain("liaison").status_code == 200
