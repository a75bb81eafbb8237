# SPDX-License-Identifier: Apache-2.0
"""People, agent and playbook of the story are made once, and what people change stays changed."""

from __future__ import annotations

import json
import stat

import pytest
from django.contrib.auth.password_validation import validate_password

from accounts.models import ApiKey, User
from accounts.services import revoke_key
from audit.services import SYSTEM
from demo.cast import ADMINISTRATOR, AGENT, AUDITOR, LIAISON, PEOPLE, PLAYBOOK, Secrets, assemble
from playbooks import services as playbooks
from playbooks.models import Version
from playbooks.parse import parse_data

pytestmark = pytest.mark.django_db


@pytest.fixture
def file(tmp_path):
    return tmp_path / "demo.json"


def versions() -> list[tuple[int, str]]:
    return list(Version.objects.filter(playbook__slug=PLAYBOOK).order_by("number").values_list("number", "state"))


def test_everybody_has_the_roles_of_the_story_and_a_password_that_opens(file):
    cast = assemble(file)

    liaison = User.objects.get(username=LIAISON.username)
    assert liaison.roles == {"human:police_liaison"}
    assert liaison.is_staff
    assert liaison.email == "liaison@city.example"
    for person in (LIAISON, ADMINISTRATOR, AUDITOR):
        assert User.objects.get(username=person.username).check_password(cast.password(person))
    assert User.objects.get(username=AGENT).roles == {"agent:validator"}
    assert not User.objects.filter(is_superuser=True).exists()


def test_the_playbook_is_published_once(file):
    assemble(file)
    assemble(file)
    assert versions() == [(1, "published")]


def test_what_was_made_by_chance_is_kept_in_a_file_that_only_its_owner_reads(file):
    cast = assemble(file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert json.loads(file.read_text())[LIAISON.username] == cast.password(LIAISON)
    assert assemble(file) == cast
    assert ApiKey.objects.count() == 1


def test_a_password_somebody_changed_is_not_printed_any_more(file):
    assemble(file)
    liaison = User.objects.get(username=LIAISON.username)
    liaison.set_password("one of my own")
    liaison.save()

    assert assemble(file).password(LIAISON) == ""
    assert User.objects.get(pk=liaison.pk).check_password("one of my own")


def test_a_revoked_key_is_replaced_by_a_new_one(file):
    old = assemble(file).agent_key
    revoke_key(token_key=ApiKey.objects.get().token_key, actor=SYSTEM, reason="lost")
    new = assemble(file).agent_key
    assert new != old
    assert ApiKey.objects.filter(revoked_at__isnull=True).count() == 1


def test_a_lost_file_makes_new_passwords_and_a_new_key(file):
    before = assemble(file)
    file.unlink()
    after = assemble(file)
    assert after.agent_key != before.agent_key
    assert after.password(LIAISON) != before.password(LIAISON)
    assert User.objects.get(username=LIAISON.username).check_password(after.password(LIAISON))


def test_a_version_that_people_wrote_stays_the_newest(file):
    assemble(file)
    author = User.objects.get(username=ADMINISTRATOR.username)
    changed = {**Version.objects.get().document, "title": "Another title"}
    draft, _ = playbooks.add_version(actor=author, playbook=PLAYBOOK, parsed=parse_data(changed))
    playbooks.publish_version(actor=author, playbook=PLAYBOOK, number=draft.number)

    assemble(file)
    assert versions() == [(1, "published"), (2, "published")]


def test_a_playbook_of_the_same_name_that_was_there_first_gets_ours_as_its_next_version(file):
    author = User.objects.create_superuser("first")
    own = {"id": PLAYBOOK, "steps": [{"id": "Look", "role": "agent:validator"}]}
    playbooks.create_playbook(actor=author, parsed=parse_data(own))

    assemble(file)
    assert versions() == [(1, "draft"), (2, "published")]


def test_no_password_it_makes_is_refused_as_one(tmp_path):
    for number, person in enumerate([*PEOPLE] * 200):
        made = Secrets(tmp_path / f"{number}.json").password_of(person.username)
        validate_password(made, User(username=person.username, email=f"{person.username}@city.example"))
