# SPDX-License-Identifier: Apache-2.0
"""Who can sign receipts: web processes, and nobody who carries out what was approved."""

from __future__ import annotations

import base64
import os
import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured

from approvals import services, signing
from approvals.models import Receipt, SigningKey
from approvals.signing import NoSigningKey
from audit import actions
from audit.models import Entry
from config import clock
from tests.approvals.asked import approved, proposed, state_of
from tests.crash import actions as known_to_the_worker
from tests.crash.house import until
from tests.factories import reloaded
from tests.people import agent, person

pytestmark = pytest.mark.django_db


def test_the_public_key_is_in_the_ring_from_the_first_migration_on_and_in_the_log(validator, liaison):
    receipt = approved(validator, liaison)

    key = SigningKey.objects.get(pk=receipt.key_id)
    assert len(base64.b64decode(key.public_key)) == 32
    signing.register()
    assert SigningKey.objects.count() == 1


def test_a_new_key_signs_from_then_on_and_the_old_receipts_stay_valid(validator, liaison, settings):
    before = approved(validator, liaison)
    settings.RECEIPT_SIGNING_KEY = base64.b64encode(b"\x07" * 32).decode()
    signing.register()
    after = approved(validator, liaison)

    assert before.key_id != after.key_id
    assert [signing.why_untrusted(receipt) for receipt in (before, after)] == ["", ""]
    assert Entry.objects.filter(action=actions.SIGNING_KEY_ADDED, subject_id=after.key_id).count() == 1


def test_a_key_that_is_not_in_the_ring_proves_nothing(validator, liaison, settings):
    settings.RECEIPT_SIGNING_KEY = base64.b64encode(b"\x08" * 32).decode()
    receipt = approved(validator, liaison)

    assert signing.why_untrusted(receipt) == f"no key {receipt.key_id} is known here"


@pytest.mark.parametrize("form", ["pem", "base64"])
def test_a_key_is_given_as_openssl_writes_it_or_as_its_bytes(validator, liaison, settings, form):
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    settings.RECEIPT_SIGNING_KEY = pem if form == "pem" else base64.b64encode(key.private_bytes_raw()).decode()
    receipt = approved(validator, liaison)

    assert receipt.key_id == signing.id_of(key.public_key().public_bytes_raw())


@pytest.mark.parametrize("given", ["secret", base64.b64encode(b"short").decode(), "-----BEGIN PRIVATE KEY-----"])
def test_what_is_no_key_stops_the_start_with_a_sentence(settings, given):
    settings.RECEIPT_SIGNING_KEY = given
    with pytest.raises(ImproperlyConfigured, match="openssl genpkey") as refused:
        signing.register_or_stop()
    assert given not in str(refused.value)


def test_a_production_web_process_does_not_start_without_a_key(settings):
    settings.RECEIPT_SIGNING_KEY, settings.EMBEDDED = "", False
    with pytest.raises(ImproperlyConfigured, match="RECEIPT_SIGNING_KEY is not set"):
        signing.register_or_stop()


def test_an_embedded_installation_makes_its_key_once_for_its_owner_alone(settings, tmp_path, validator, liaison):
    settings.RECEIPT_SIGNING_KEY, settings.EMBEDDED = "", True
    settings.RECEIPT_KEY_FILE = tmp_path / "var" / "receipt_signing_key"
    first = approved(validator, liaison)
    made = settings.RECEIPT_KEY_FILE.read_bytes()
    signing._private_key.cache_clear()
    second = approved(validator, liaison)

    assert stat.S_IMODE(settings.RECEIPT_KEY_FILE.stat().st_mode) == 0o600
    assert settings.RECEIPT_KEY_FILE.read_bytes() == made
    assert first.key_id == second.key_id
    assert os.listdir(tmp_path / "var") == ["receipt_signing_key"]


def test_where_nobody_can_sign_nothing_is_decided(validator, liaison, settings):
    request = proposed(validator)
    settings.SIGNS_RECEIPTS = False
    with pytest.raises(NoSigningKey):
        services.decide(request_id=request.pk, actor=liaison, outcome="PASS")

    assert reloaded(request).state == "pending"
    assert not Receipt.objects.exists()


# Other processes --------------------------------------------------------------------------------------------

TELL = """
import sys
sys.argv = ["manage.py", sys.argv[1]]
import django; django.setup()
from approvals import signing
from django.conf import settings
print(settings.SIGNS_RECEIPTS, bool(settings.RECEIPT_SIGNING_KEY), signing.can_sign())
"""


@pytest.mark.parametrize(
    ("command", "signs"), [("worker", False), ("tick", False), ("qcluster", False), ("runserver", True)]
)
def test_a_worker_that_is_given_the_key_does_not_keep_it(process_environment, command, signs):
    given = {
        **process_environment,
        "RECEIPT_SIGNING_KEY": base64.b64encode(b"\x07" * 32).decode(),
        "DJANGO_SETTINGS_MODULE": "config.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", TELL, command], cwd=django_settings.BASE_DIR, env=given, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == [str(signs)] * 3


@pytest.mark.django_db(transaction=True)
def test_a_worker_without_the_key_carries_out_what_was_approved(process_environment, tmp_path):
    """With a file in the key's place that is no key: to read it would end the process that does."""
    validator, liaison = agent("validator", "agent:validator"), person("liaison", "human:police_liaison")
    receipt = approved(validator, liaison, call="crash.note", input={"a": 1}, policy={"hold": 1})
    var = tmp_path / "var"
    var.mkdir()
    (var / "receipt_signing_key").write_text("no key")
    given = {name: value for name, value in process_environment.items() if name != "RECEIPT_SIGNING_KEY"}
    given |= {
        "HMS_ACT_ACTIONS": known_to_the_worker.__name__,
        "HMS_ACT_VAR": str(var),
        "HMS_ACT_TEST_NOTE": str(tmp_path / "note"),
    }
    until(lambda: clock.now() >= receipt.not_before, "the end of the hold")
    subprocess.run([sys.executable, "manage.py", "tick"], cwd=django_settings.BASE_DIR, env=given, check=True)

    assert state_of(receipt) == "spent"
    assert (tmp_path / "note").read_text() == '{"a": 1}'
