# SPDX-License-Identifier: Apache-2.0
"""Who is let in, as whom, and what everybody else is told."""

import base64
import json
from datetime import timedelta

import jwt
import pytest
from django.conf import settings
from django.test import Client
from drf_spectacular.generators import SchemaGenerator
from rest_framework.test import APIClient

from accounts.models import ApiKey
from accounts.tokens import issue
from config import clock
from tests.people import PASSWORD, key_of

pytestmark = [pytest.mark.urls("tests.accounts.whoami"), pytest.mark.django_db]

WHOAMI = "/acts/whoami"


def ask(authorization: str | None = None, **more):
    headers = {} if authorization is None else {"Authorization": authorization}
    return APIClient().get(WHOAMI, headers=headers, **more)


def assert_refused(answer, sentence: str) -> None:
    assert answer.status_code == 401
    assert answer["Content-Type"] == "application/problem+json"
    assert answer["WWW-Authenticate"].startswith("Bearer")
    assert answer.json()["code"] == "not_authenticated"
    assert sentence in answer.json()["detail"]


# Keys -------------------------------------------------------------------------------------------------------


def test_a_key_stands_for_its_user_and_is_named_in_the_log_by_its_public_part(validator):
    key, token = key_of(validator)

    answer = ask(f"Bearer {token}")

    assert answer.json() == {"username": "validator", "credential": f"key:{key.token_key}"}
    assert token.startswith(key.token_key)
    assert len(token) - len(key.token_key) >= 32


@pytest.mark.parametrize("scheme", ["bearer", "BEARER"])
def test_the_scheme_is_read_in_any_case(validator, scheme):
    _, token = key_of(validator)

    assert ask(f"{scheme} {token}").status_code == 200


@pytest.fixture
def unlimited(settings):
    """Without the statement that counts calls."""
    settings.RATE_LIMITS = dict.fromkeys(settings.RATE_LIMITS, 0)


def test_a_key_costs_one_query(validator, django_assert_num_queries, unlimited):
    _, token = key_of(validator)
    ask(f"Bearer {token}")  # the first use in a minute is noted, by a second statement

    with django_assert_num_queries(1):
        assert ask(f"Bearer {token}").status_code == 200


def test_a_use_is_noted_at_most_once_a_minute(validator):
    key, token = key_of(validator)

    def noted():
        ask(f"Bearer {token}")
        return ApiKey.objects.get(pk=key.pk).last_used_at

    first = noted()
    clock.move(timedelta(seconds=50))
    second = noted()
    clock.move(timedelta(seconds=11))
    third = noted()

    assert first is not None
    assert second == first
    assert third - first >= timedelta(minutes=1)


def test_a_key_with_a_wrong_end_is_not_known(validator):
    _, token = key_of(validator)
    other_end = "0" if token[-1] != "0" else "1"

    assert_refused(ask(f"Bearer {token[:-1]}{other_end}"), "not known here")


def test_the_public_part_alone_opens_nothing(validator):
    key, _ = key_of(validator)

    assert_refused(ask(f"Bearer {key.token_key}"), "not known here")


def test_the_digest_in_the_database_opens_nothing(validator):
    key, _ = key_of(validator)

    assert_refused(ask(f"Bearer {key.digest}"), "neither one of our API keys nor a token")
    assert_refused(ask(f"Bearer hmsact_{key.digest}"), "not known here")


def test_a_revoked_key_says_since_when(validator):
    key, token = key_of(validator)
    key.revoked_at = clock.now()
    key.save()

    assert_refused(ask(f"Bearer {token}"), f"revoked on {key.revoked_at:%Y-%m-%d}")


def test_a_key_works_until_it_expires(validator):
    _, token = key_of(validator, lifetime=timedelta(hours=1))

    clock.move(timedelta(minutes=59))
    assert ask(f"Bearer {token}").status_code == 200
    clock.move(timedelta(minutes=2))
    assert_refused(ask(f"Bearer {token}"), "expired on")


def test_a_deactivated_user_has_no_keys(validator):
    _, token = key_of(validator)
    validator.is_active = False
    validator.save()

    assert_refused(ask(f"Bearer {token}"), "user of this API key has been deactivated")


# Tokens -----------------------------------------------------------------------------------------------------


def access_token(user) -> str:
    return issue(user, at=clock.now())["access"]


def forged(user, *, key: str = settings.SIMPLE_JWT["SIGNING_KEY"], algorithm: str = "HS256", **changes) -> str:
    claims = jwt.decode(access_token(user), options={"verify_signature": False})
    kept = {name: value for name, value in {**claims, **changes}.items() if value is not None}
    return jwt.encode(kept, key, algorithm=algorithm)


def unsigned(user) -> str:
    claims = jwt.decode(access_token(user), options={"verify_signature": False})
    parts = ({"alg": "none", "typ": "JWT"}, claims)
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def test_a_token_stands_for_its_user(liaison):
    assert ask(f"Bearer {access_token(liaison)}").json() == {"username": "liaison", "credential": "jwt"}


def test_a_token_costs_one_query(liaison, django_assert_num_queries, unlimited):
    token = access_token(liaison)

    with django_assert_num_queries(1):
        assert ask(f"Bearer {token}").status_code == 200


def test_what_the_forger_starts_from_is_let_in(liaison):
    assert ask(f"Bearer {forged(liaison)}").status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"key": "x" * 64},
        {"algorithm": "HS512"},
        {"iss": "somebody else"},
        {"iss": None},
        {"exp": None},
        {"iat": None},
        {"user_id": None},
        {"token_type": None},
    ],
    ids=lambda change: "-".join(map(str, change)),
)
def test_a_token_that_we_did_not_sign_as_it_stands_is_refused(liaison, change):
    assert_refused(ask(f"Bearer {forged(liaison, **change)}"), "nor a token that we signed")


def test_a_token_without_a_signature_is_refused(liaison):
    assert_refused(ask(f"Bearer {unsigned(liaison)}"), "nor a token that we signed")


@pytest.mark.parametrize("garbage", ["x", "a.b.c", "ä.ö.ü", "Ω" * 10, "-" * 5000])
def test_garbage_is_refused(garbage):
    header = f"Bearer {garbage}".encode().decode("latin-1")

    assert_refused(ask(header), "nor a token that we signed")


@pytest.mark.parametrize("header", ["Bearer", "Bearer ", "Bearer one two"])
def test_a_header_without_exactly_one_credential_is_refused(header):
    assert_refused(ask(header), "needs one API key or token")


def test_a_token_works_for_fifteen_minutes(liaison):
    token = access_token(liaison)

    clock.move(timedelta(minutes=14))
    assert ask(f"Bearer {token}").status_code == 200
    clock.move(timedelta(minutes=2))
    assert_refused(ask(f"Bearer {token}"), "has expired")


def test_a_token_from_a_host_whose_clock_is_ahead_is_good_at_once(liaison):
    clock.move(timedelta(seconds=30))
    token = access_token(liaison)
    clock.move(-timedelta(seconds=30))

    assert ask(f"Bearer {token}").status_code == 200


def test_a_refresh_token_is_not_for_calls(liaison):
    refresh = issue(liaison, at=clock.now())["refresh"]

    assert_refused(ask(f"Bearer {refresh}"), "send the access token")


def test_a_token_ends_with_its_user(liaison):
    token = access_token(liaison)
    liaison.is_active = False
    liaison.save()

    assert_refused(ask(f"Bearer {token}"), "has been deactivated")


def test_a_token_ends_with_the_password(liaison):
    token = access_token(liaison)
    liaison.set_password("another-horse-battery")
    liaison.save()

    assert_refused(ask(f"Bearer {token}"), "password has been changed")


@pytest.mark.parametrize("user_id", ["0", "nobody", "-1"])
def test_a_token_for_nobody_is_refused(liaison, user_id):
    assert_refused(ask(f"Bearer {forged(liaison, user_id=user_id)}"), "not known here")


# Sessions, and nothing at all -------------------------------------------------------------------------------


def test_a_person_who_has_logged_in_calls_by_their_session(liaison, client_for):
    assert client_for(liaison).get(WHOAMI).json() == {"username": "liaison", "credential": "session"}


def test_another_site_cannot_act_in_a_session(liaison, client_for):
    client = client_for(liaison, enforce_csrf_checks=True)

    answer = client.post(WHOAMI, {}, content_type="application/json")

    assert answer.status_code == 403
    assert "CSRF" in answer.json()["detail"]


def test_our_own_pages_can_act_in_a_session(liaison, client_for):
    client = client_for(liaison, enforce_csrf_checks=True)
    client.get("/admin/")
    token = client.cookies["csrftoken"].value

    answer = client.post(WHOAMI, {}, content_type="application/json", headers={"X-CSRFToken": token})

    assert answer.json()["username"] == "liaison"


def test_a_bearer_needs_no_csrf_token_even_beside_a_session(liaison, validator, client_for):
    _, token = key_of(validator)
    client = client_for(liaison, enforce_csrf_checks=True)

    answer = client.post(WHOAMI, {}, content_type="application/json", headers={"Authorization": f"Bearer {token}"})

    assert answer.json()["username"] == "validator"


def test_a_session_ends_with_its_user(liaison, client_for):
    client = client_for(liaison)
    liaison.is_active = False
    liaison.save()

    assert_refused(client.get(WHOAMI), "Log in first")


def test_who_shows_nothing_is_told_what_to_show():
    assert_refused(ask(), "`Authorization: Bearer`")


@pytest.mark.parametrize("header", ["Basic bGlhaXNvbjpjb3JyZWN0", "Token hmsact_x"])
def test_another_scheme_is_as_good_as_none(header):
    assert_refused(ask(header), "`Authorization: Bearer`")


def test_a_password_is_no_bearer(liaison):
    assert_refused(Client().get(WHOAMI, headers={"Authorization": f"Bearer {PASSWORD}"}), "nor a token")


def test_the_description_of_the_api_names_both_ways():
    described = SchemaGenerator().get_schema(request=None, public=True)
    schemes = described["components"]["securitySchemes"]

    assert schemes["bearer"]["scheme"] == "bearer"
    assert schemes["session"]["in"] == "cookie"
    assert {"bearer": []} in described["paths"]["/acts/whoami"]["get"]["security"]
    assert described["paths"]["/auth/token"]["post"].get("security", []) in ([], [{}])
