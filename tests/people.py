# SPDX-License-Identifier: Apache-2.0
"""The people, agents and services of the tests, and ways to come in as one of them.

def test_…(liaison, client_for, api_for):
    page = client_for(liaison).get("/admin/")
    answer = api_for(validator).post("/acts/tasks/next", {"role": "agent:validator"})
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Group
from django.test import Client
from rest_framework.test import APIClient

from accounts import seeds
from accounts.models import ApiKey, Kind, User, is_role, role_group
from config import clock

PASSWORD = "correct-horse-battery"  # every person's
BACKEND = "django.contrib.auth.backends.ModelBackend"


class Api(APIClient):
    """Sends and reads JSON, with a real key."""

    default_format = "json"


def person(username: str, *groups: str, **more: Any) -> User:
    """A human in these roles and permission groups, who may open the admin."""
    fields = {"email": f"{username}@example.org", "is_staff": True, "password": make_password(PASSWORD), **more}
    return _user(username, Kind.HUMAN, groups, **fields)


def agent(username: str, *roles: str, **more: Any) -> User:
    made = _user(username, Kind.AGENT, roles, password=make_password(None), **more)
    seeds.grant(made, seeds.MAY_START)
    return made


def service(username: str, *roles: str, **more: Any) -> User:
    return _user(username, Kind.SERVICE, roles, password=make_password(None), **more)


def _user(username: str, kind: str, groups: tuple[str, ...], **fields: Any) -> User:
    user = User.objects.create(username=username, kind=kind, **fields)
    user.groups.set([role_group(name) if is_role(name) else Group.objects.get(name=name) for name in groups])
    return user


def key_of(user: User, *, lifetime: timedelta = timedelta(days=30), name: str = "") -> tuple[ApiKey, str]:
    """(key, token), made without an entry in the log."""
    return ApiKey.make(user=user, name=name, at=clock.now(), lifetime=lifetime)


@pytest.fixture
def administrator(db: None) -> User:
    return person("administrator", seeds.ADMINISTRATOR)


@pytest.fixture
def superuser(db: None) -> User:
    return person("root", is_superuser=True)


@pytest.fixture
def auditor(db: None) -> User:
    return person("auditor", seeds.AUDITOR)


@pytest.fixture
def playbook_author(db: None) -> User:
    return person("author", seeds.AUTHOR)


@pytest.fixture
def staff_member(db: None) -> User:
    """In the group staff, and in no role."""
    return person("staff_member", seeds.STAFF)


@pytest.fixture
def liaison(db: None) -> User:
    return person("liaison", seeds.STAFF, "human:police_liaison")


@pytest.fixture
def validator(db: None) -> User:
    return agent("validator", "agent:validator")


@pytest.fixture
def finance(db: None) -> User:
    return service("finance", "svc:finance")


@pytest.fixture
def worker_user(db: None) -> User:
    """The seeded service user that our own worker acts as."""
    return User.objects.get(username=seeds.WORKER)


@pytest.fixture
def client_for() -> Callable[[User], Client]:
    """A browser in which this person has logged in."""

    def logged_in(user: User, **options: Any) -> Client:
        client = Client(**options)
        client.force_login(user, backend=BACKEND)
        return client

    return logged_in


@pytest.fixture
def api_for(db: None) -> Callable[[User], Api]:
    """A client of the HTTP API that holds a key of this user."""

    def holding_a_key(user: User) -> Api:
        _, token = key_of(user)
        client = Api()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        return client

    return holding_a_key
