# SPDX-License-Identifier: Apache-2.0
"""The commands that make people, agents and superusers, and revoke keys: what they print, and refuse in one line."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from accounts.models import ApiKey, Kind, User
from accounts.services import create_superuser
from audit.models import Entry
from config.errors import Forbidden
from tests.people import PASSWORD, Api, key_of

pytestmark = pytest.mark.django_db


def said(*command: str, **options) -> str:
    out = StringIO()
    call_command(*command, stdout=out, **options)
    return out.getvalue()


def test_an_agent_is_made_with_a_key_that_works_and_is_shown_on_the_last_line():
    words = said("create_agent", "screener", "--role", "agent:screen", "--role", "agent:triage", "--model", "m-1")

    token = words.splitlines()[-1]
    assert words.count(token) == 1
    assert "agent:screen, agent:triage" in words
    agent = User.objects.get(username="screener")
    assert (agent.kind, agent.model_name, agent.roles) == (Kind.AGENT, "m-1", {"agent:screen", "agent:triage"})
    client = Api()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
    assert client.get("/auth/token").status_code == 405
    assert ApiKey.objects.get().user == agent


def test_a_command_acts_as_the_product_and_says_over_which_channel():
    said("create_agent", "screener", "--role", "agent:screen")

    assert set(Entry.objects.values_list("action", "actor_type", "channel")) == {
        ("user.created", "system", "command"),
        ("key.created", "system", "command"),
    }


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["liaison"], "already exists"),
        (["x", "--role", "human:police_liaison"], "Give roles named agent:…"),
        (["x", "--role", "screen"], "no group named"),
        (["two words"], "valid username"),
        (["x", "--days", "0"], "A key lives"),
        (["x", "--days", "99999999999"], "A key lives"),
    ],
)
def test_an_agent_who_cannot_be_is_refused_in_one_line(liaison, arguments, sentence):
    with pytest.raises(CommandError, match=sentence) as refusal:
        said("create_agent", *arguments)

    assert "\n" not in str(refusal.value)
    assert not User.objects.filter(kind=Kind.AGENT).exists()


def test_a_person_logs_in_with_the_password_from_the_environment(monkeypatch):
    monkeypatch.setenv("MIAS_PASSWORD", PASSWORD)

    words = said("create_person", "mia", "--email", "mia@example.org", "--role", "human:clerk", "--group", "staff",
                 "--password-from-env", "MIAS_PASSWORD")  # fmt: skip

    assert words == "Made mia (human:clerk, staff).\n"
    assert PASSWORD not in words
    assert Api().post("/auth/token", {"username": "mia", "password": PASSWORD}).status_code == 200
    assert User.objects.get(username="mia").is_staff


@pytest.mark.parametrize(
    ("password", "arguments", "sentence"),
    [
        ("", [], "is not set, or empty"),
        ("12345678", [], "too common"),
        (PASSWORD, ["--role", "agent:screen"], "Give roles named human:…"),
        (PASSWORD, ["--group", "king"], "no group named 'king'"),
        (PASSWORD, ["--email", "nowhere"], "valid email"),
    ],
)
def test_a_person_who_cannot_be_is_refused_in_one_line(monkeypatch, password, arguments, sentence):
    monkeypatch.setenv("MIAS_PASSWORD", password)

    with pytest.raises(CommandError, match=sentence) as refusal:
        said("create_person", "mia", "--password-from-env", "MIAS_PASSWORD", *arguments)

    assert "\n" not in str(refusal.value)
    assert not User.objects.filter(username="mia").exists()


def test_a_password_is_not_waited_for_where_nobody_types(monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO())

    with pytest.raises(CommandError, match="--password-from-env"):
        said("create_person", "mia")


def test_a_key_is_revoked_by_its_public_beginning(validator):
    key, _ = key_of(validator)

    assert said("revoke_key", key.token_key, "--reason", "Lost.") == f"Revoked {key} of validator.\n"
    assert Entry.objects.get(action="key.revoked").note == "Lost."


def test_a_whole_key_is_revoked_and_not_repeated(validator):
    _, token = key_of(validator)

    words = said("revoke_key", token, "--reason", "It was in a mail.")

    assert token not in words
    assert ApiKey.objects.get().revoked_at is not None


def test_an_unknown_key_is_one_line():
    with pytest.raises(CommandError, match="no API key that begins like this"):
        said("revoke_key", "hmsact_00000000", "--reason", "x")


# The first person -------------------------------------------------------------------------------------------


def created_superuser(monkeypatch, password, *arguments):
    monkeypatch.setenv("DJANGO_SUPERUSER_PASSWORD", password)
    return said("createsuperuser", "--noinput", "--username", "root", "--email", "root@EXAMPLE.org", *arguments)


def test_a_superuser_is_not_made_without_an_entry(monkeypatch):
    created_superuser(monkeypatch, PASSWORD)

    root = User.objects.get(username="root")
    assert (root.is_superuser, root.is_staff, root.is_human, root.email) == (True, True, True, "root@example.org")
    assert root.check_password(PASSWORD)
    entry = Entry.objects.get()
    assert (entry.action, entry.actor_type, entry.channel) == ("user.created", "system", "command")
    assert entry.data == {"kind": "human", "roles": [], "superuser": True}
    assert PASSWORD not in str(entry.__dict__)


@pytest.mark.parametrize(("password", "sentence"), [("password", "too common"), ("k7", "too short")])
def test_a_superuser_with_a_weak_password_is_refused_in_one_line(monkeypatch, password, sentence):
    with pytest.raises(CommandError, match=sentence):
        created_superuser(monkeypatch, password)

    assert not User.objects.filter(username="root").exists()
    assert not Entry.objects.exists()


def test_no_administrator_makes_a_superuser(administrator):
    with pytest.raises(Forbidden):
        create_superuser(username="root", actor=administrator)

    assert not User.objects.filter(username="root").exists()
