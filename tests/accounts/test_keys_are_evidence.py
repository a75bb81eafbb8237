# SPDX-License-Identifier: Apache-2.0
"""An API key that was made stays, and so does what it was and that it was revoked; by raw SQL too."""

from __future__ import annotations

import pytest
from django.db import IntegrityError

from accounts.models import ApiKey
from accounts.services import revoke_key
from tests.audit.lines import assert_refused_by, execute
from tests.people import key_of

pytestmark = pytest.mark.django_db

KEY = "accounts_apikey"


@pytest.fixture
def key(validator) -> ApiKey:
    return key_of(validator)[0]


def test_no_key_is_deleted(key):
    assert_refused_by(f"act_{KEY}_no_delete", f"DELETE FROM {KEY}")


@pytest.mark.postgresql
def test_the_keys_are_not_cleared_away_together(key):
    assert_refused_by(f"act_{KEY}_no_truncate", f"TRUNCATE {KEY}")


@pytest.mark.sqlite
def test_no_key_takes_the_place_of_another(key):
    assert_refused_by(f"act_{KEY}_no_replace", f"REPLACE INTO {KEY} SELECT * FROM {KEY}")


@pytest.mark.parametrize(
    "change",
    [
        "digest = 'other'",
        "token_key = 'hmsact_x'",
        "user_id = user_id + 1",
        "created = '2001-01-01 00:00:00+00'",
        "created_by_id = user_id",
        "expiry = '2101-01-01 00:00:00+00'",
    ],
)
def test_whose_it_is_and_how_long_it_lives_never_changes(key, change):
    made = ApiKey.objects.filter(pk=key.pk).values().get()

    with pytest.raises(IntegrityError, match=f"act_{KEY}_identity"):
        execute(f"UPDATE {KEY} SET {change}")

    assert ApiKey.objects.filter(pk=key.pk).values().get() == made


def test_a_revoked_key_stays_revoked(key, validator):
    revoke_key(token_key=key.token_key, actor=validator, reason="lost")

    assert_refused_by(f"act_{KEY}_revoked", f"UPDATE {KEY} SET revoked_at = NULL")


def test_its_use_and_its_end_are_still_written(key, validator):
    execute(f"UPDATE {KEY} SET last_used_at = created")
    revoke_key(token_key=key.token_key, actor=validator, reason="lost")

    key.refresh_from_db()
    assert key.last_used_at == key.created
    assert key.revoked_at is not None
