# SPDX-License-Identifier: Apache-2.0
"""Who plays in the protest-permit story, and their playbook: made on the first start, kept on every later one.

Passwords and the agent's key are made once, by chance, and kept in `demo.json`, which only its owner can read.
What somebody changed since (a password, a role, the playbook) stays as they left it.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from accounts import services as accounts
from accounts.models import ApiKey, User
from audit.services import SYSTEM
from config import clock
from playbooks import services as playbooks
from playbooks.models import Version, VersionState
from playbooks.parse import digest, parse, to_document

PLAYBOOK = "protest_permit"
DOCUMENT = Path(__file__).with_name("protest_permit.json")
# Without vowels, and without what looks alike: no password is like the name or address of anybody (the rule on
# passwords would refuse it), and all are easy to type.
PASSWORD_LETTERS = "bcdfghjkmnpqrstvwxzBCDFGHJKMNPQRSTVWXZ23456789"
PASSWORD_LENGTH = 12


@dataclass(frozen=True, slots=True)
class Person:
    username: str
    first_name: str
    last_name: str
    roles: tuple[str, ...]
    does: str


LIAISON = Person("liaison", "Dana", "Okafor", ("human:police_liaison", "staff"), "decides on the applications")
ADMINISTRATOR = Person(
    "administrator", "Noor", "Haddad", ("administrator", "playbook author"), "keeps people and playbooks"
)
AUDITOR = Person("auditor", "Tom", "Lindqvist", ("auditor",), "reads everything, changes nothing")
PEOPLE = (LIAISON, ADMINISTRATOR, AUDITOR)
AGENT, AGENT_ROLE, AGENT_MODEL = "validator", "agent:validator", "rules of demo/screening.py"


class Secrets:
    """The file of passwords and the key. Written whole, so that a start cut short leaves the old or the new."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kept: dict[str, str] = json.loads(path.read_text()) if path.exists() else {}

    def get(self, name: str) -> str:
        return self._kept.get(name, "")

    def keep(self, name: str, value: str) -> None:
        self._kept[name] = value
        new = self.path.with_suffix(".new")
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            json.dump(self._kept, file, indent=2)
        os.replace(new, self.path)

    def password_of(self, username: str) -> str:
        if not self.get(username):
            self.keep(username, "".join(secrets.choice(PASSWORD_LETTERS) for _ in range(PASSWORD_LENGTH)))
        return self.get(username)


@dataclass(frozen=True, slots=True)
class Cast:
    passwords: dict[str, str]  # "" where the person has set one of their own
    agent_key: str

    def password(self, person: Person) -> str:
        return self.passwords[person.username]


def assemble(secrets_file: Path) -> Cast:
    """Make who and what is missing."""
    kept = Secrets(secrets_file)
    passwords = {person.username: _person(person, kept) for person in PEOPLE}
    key = _agent_key(kept)
    _publish(User.objects.get(username=ADMINISTRATOR.username))
    return Cast(passwords, key)


def _person(person: Person, kept: Secrets) -> str:
    was_kept = bool(kept.get(person.username))
    password = kept.password_of(person.username)
    user = User.objects.filter(username=person.username).first()
    if user is None:
        accounts.create_user(
            username=person.username,
            first_name=person.first_name,
            last_name=person.last_name,
            email=f"{person.username}@city.example",
            roles=person.roles,
            password=password,
            actor=SYSTEM,
        )
        return password
    if not was_kept:  # the file is gone, and nobody knows the old one
        accounts.set_password(user_id=user.pk, password=password, actor=SYSTEM)
        return password
    return password if user.check_password(password) else ""


def _agent_key(kept: Secrets) -> str:
    agent = User.objects.filter(username=AGENT).first()
    if agent is None:
        agent = accounts.create_agent(name=AGENT, roles=[AGENT_ROLE], model_name=AGENT_MODEL, actor=SYSTEM)
    if not _opens(kept.get(AGENT), agent):
        _, token = accounts.create_key(user_id=agent.pk, name="demonstration", actor=SYSTEM)
        kept.keep(AGENT, token)
    return kept.get(AGENT)


def _opens(token: str, agent: User) -> bool:
    """Whether this key still stands for the agent."""
    known = ApiKey.objects.filter(user=agent, revoked_at__isnull=True, expiry__gt=clock.now())
    return bool(token) and any(token.startswith(key.token_key) for key in known)


def _publish(author: User) -> None:
    """Publish the playbook unless this very document has been a version before: later versions are people's."""
    parsed = parse(DOCUMENT.read_bytes())
    versions = Version.objects.filter(playbook__slug=PLAYBOOK)
    version = versions.filter(digest=digest(to_document(parsed.definition))).first()
    if version is None and versions.exists():
        version, _ = playbooks.add_version(actor=author, playbook=PLAYBOOK, parsed=parsed)
    elif version is None:
        version = playbooks.create_playbook(actor=author, parsed=parsed)
    if version.state == VersionState.DRAFT:
        playbooks.publish_version(actor=author, playbook=PLAYBOOK, number=version.number)
