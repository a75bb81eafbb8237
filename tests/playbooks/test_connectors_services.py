# SPDX-License-Identifier: Apache-2.0
"""Who makes and changes connectors, what a connector may be, and what is recorded of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction

from accounts import seeds
from accounts.models import User
from audit.models import Disclosure, Entry
from config.errors import Forbidden, Invalid, NotFound, WrongState
from playbooks import catalogue
from playbooks.connector_services import (
    Terms,
    change_connector,
    create_connector,
    disable_connector,
    enable_connector,
)
from playbooks.models import Connector
from tests.people import person
from tests.races import at_once, losers, winners

pytestmark = pytest.mark.django_db

URL = "https://portal.example.gov/licences"
NAME = "exporter.publish"


@pytest.fixture(autouse=True)
def _listed(settings):
    settings.CONNECTOR_HOSTS = frozenset({("portal.example.gov", None), ("cms.internal", 8080)})
    settings.CONNECTOR_SECRETS = frozenset({"env:LICENCE_TOKEN", "file:/run/secrets/exporter"})


@pytest.fixture
def connector(administrator):
    return create_connector(actor=administrator, name=NAME, terms=Terms(url=URL))


def recorded() -> list[str]:
    return list(Entry.objects.order_by("id").values_list("action", flat=True))


def problems_of(administrator, name: str = NAME, **terms: Any) -> dict[str, str]:
    """Field → what is wrong with it."""
    with pytest.raises(Invalid) as refusal:
        create_connector(actor=administrator, name=name, terms=Terms(**{"url": URL, **terms}))
    assert not Connector.objects.exists()
    return {problem.path: problem.message for problem in refusal.value.errors}


# Who ------------------------------------------------------------------------------------------------------


def test_an_administrator_makes_changes_and_disables_a_connector_and_each_act_is_recorded(administrator):
    made = create_connector(actor=administrator, name=NAME, terms=Terms(url=URL))
    change_connector(actor=administrator, connector_id=made.pk, terms=Terms(url=URL, title="Portal", total_seconds=40))
    disable_connector(actor=administrator, connector_id=made.pk, reason="It moves tonight.")
    enable_connector(actor=administrator, connector_id=made.pk, reason="It has moved.")

    assert recorded() == ["connector.created", "connector.changed", "connector.disabled", "connector.enabled"]
    entries = {entry.action: entry for entry in Entry.objects.all()}
    assert {entry.subject_type for entry in entries.values()} == {"connector"}
    assert b'"fields":["title","total_seconds"]' in bytes(entries["connector.changed"].body)
    switched = entries["connector.disabled"]
    assert (switched.from_state, switched.to_state, switched.note) == ("enabled", "disabled", "It moves tonight.")
    assert Connector.objects.get().is_enabled


@pytest.mark.parametrize("who", ["auditor", "playbook_author", "staff_member", "liaison", "validator", "worker_user"])
def test_nobody_else_does(request, administrator, connector, who):
    actor = request.getfixturevalue(who)
    acts = {
        "create": lambda: create_connector(actor=actor, name="exporter.other", terms=Terms(url=URL)),
        "change": lambda: change_connector(actor=actor, connector_id=connector.pk, terms=Terms(url=URL, title="x")),
        "disable": lambda: disable_connector(actor=actor, connector_id=connector.pk, reason="x"),
        "enable": lambda: enable_connector(actor=actor, connector_id=connector.pk, reason="x"),
    }
    for act in acts.values():
        with pytest.raises(Forbidden):
            act()

    assert recorded() == ["connector.created", *["connector.change_denied"] * len(acts)]
    assert (Connector.objects.get().title, Connector.objects.get().is_enabled) == ("", True)


def test_authors_and_auditors_may_look_at_connectors(playbook_author, auditor, liaison):
    assert playbook_author.has_perm("playbooks.view_connector")
    assert auditor.has_perm("playbooks.view_connector")
    assert not liaison.has_perm("playbooks.view_connector")
    assert not Group.objects.get(name="auditor").permissions.filter(codename="manage_connectors").exists()


# What -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "two words", "exporter/publish", "-x", "x" * 201, "naïve"])
def test_a_name_is_what_a_call_can_say(administrator, name):
    assert "make a name" in problems_of(administrator, name=name)["name"]


def test_a_name_is_given_once(administrator, connector):
    with pytest.raises(Invalid, match="already"):
        create_connector(actor=administrator, name=NAME, terms=Terms(url=URL))
    assert Connector.objects.count() == 1


def test_an_installed_action_keeps_its_name(administrator):
    assert catalogue.is_code("tests.charge")
    assert "installed action" in problems_of(administrator, name="tests.charge")["name"]


@pytest.mark.parametrize(
    ("terms", "field", "words"),
    [
        ({"url": "https://elsewhere.example/"}, "url", "not on the list"),
        ({"url": "http://portal.example.gov/"}, "url", "Plain http"),
        ({"url": "https://user:word@portal.example.gov/"}, "url", "no user, no password"),
        ({"url": ""}, "url", "no host"),
        ({"method": "GET"}, "method", "not a valid choice"),
        ({"title": "x" * 201}, "title", "200"),
        ({"headers": {"Bad Name": "x"}}, "headers", "not the name of a header"),
        ({"headers": {"X-A": "x\r\nEvil: y"}}, "headers", "visible ASCII"),
        ({"headers": {"X-A": ""}}, "headers", "visible ASCII"),
        ({"headers": {"X-A": 5}}, "headers", "visible ASCII"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "headers", "twice"),
        ({"headers": {f"X-{n}": "1" for n in range(21)}}, "headers", "more than 20"),
        ({"headers": {"Host": "evil.example"}}, "headers", "set by the call itself"),
        ({"headers": {"idempotency-KEY": "1"}}, "headers", "set by the call itself"),
        ({"headers": {"HMS-Act-Run": "1"}}, "headers", "set by the call itself"),
        ({"headers": {"webhook-id": "1"}}, "headers", "set by the call itself"),
        ({"headers": {"Transfer-Encoding": "chunked"}}, "headers", "set by the call itself"),
        ({"headers": {"Authorization": "Bearer x"}}, "headers", "name the secret instead"),
        ({"headers": {"X-Api-Key": "x"}}, "headers", "name the secret instead"),
        ({"headers": {"Cookie": "x"}}, "headers", "name the secret instead"),
        ({"total_seconds": 0}, "total_seconds", "from 1 to"),
        ({"total_seconds": 3601}, "total_seconds", "HMS_ACT_CALL_TIMEOUT"),
        ({"connect_seconds": 0}, "connect_seconds", "From 1 second"),
        ({"read_seconds": 31}, "read_seconds", "what the whole call may take"),
        ({"verdict_statuses": (200,)}, "verdict_statuses", "from 400 to 499"),
        ({"verdict_statuses": (451, 451)}, "verdict_statuses", "once"),
        ({"secret_ref": "hunter2-is-my-token"}, "secret_ref", "never written here"),
        ({"secret_ref": "env:SECRET_KEY"}, "secret_ref", "not on the list"),
        ({"secret_ref": "file:/run/secrets/../secrets/exporter"}, "secret_ref", "not on the list"),
        ({"signing_ref": "env:OTHER"}, "signing_ref", "not on the list"),
        ({"secret_header": "Host"}, "secret_header", "header of its own"),
        ({"secret_header": "x y"}, "secret_header", "header of its own"),
        ({"secret_header": "X-Office", "headers": {"X-Office": "BIS"}}, "secret_header", "header of its own"),
    ],
)
def test_what_a_connector_may_not_be_is_refused_with_the_reason(administrator, terms, field, words):
    assert words in problems_of(administrator, **terms)[field]


def test_all_faults_are_told_at_once(administrator):
    found = problems_of(administrator, name="two words", url="", total_seconds=0, secret_ref="x")

    assert set(found) == {"name", "url", "total_seconds", "secret_ref"}


def test_what_is_refused_in_a_change_changes_nothing(administrator, connector):
    with pytest.raises(Invalid):
        change_connector(actor=administrator, connector_id=connector.pk, terms=Terms(url="https://elsewhere.example/"))

    assert Connector.objects.get().url == URL
    assert recorded() == ["connector.created"]


def test_equal_terms_change_nothing(administrator, connector):
    change_connector(actor=administrator, connector_id=connector.pk, terms=Terms.of(connector))

    assert recorded() == ["connector.created"]
    assert Connector.history.count() == 1


def test_switching_twice_or_without_a_reason_is_refused(administrator, connector):
    with pytest.raises(WrongState, match="enabled already"):
        enable_connector(actor=administrator, connector_id=connector.pk, reason="x")
    with pytest.raises(Invalid, match="Say why"):
        disable_connector(actor=administrator, connector_id=connector.pk, reason=" ")
    with pytest.raises(NotFound):
        disable_connector(actor=administrator, connector_id=connector.pk + 1, reason="x")


def test_the_history_has_every_form_a_connector_had(administrator, connector):
    change_connector(
        actor=administrator, connector_id=connector.pk, terms=Terms(url=URL, secret_ref="env:LICENCE_TOKEN")
    )

    newest, first = Connector.history.all()
    assert (first.secret_ref, newest.secret_ref) == ("", "env:LICENCE_TOKEN")


def test_what_it_was_made_to_be_can_be_disclosed(administrator, connector):
    (disclosed,) = Disclosure.objects.get(entry__action="connector.created").items

    assert disclosed["path"] == "connector"


# What raw SQL cannot do -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("method", "GET"),
        ("url", "ftp://x/"),
        ("total_seconds", 1),
        ("read_seconds", 0),
        ("secret_ref", "hunter2"),
        ("signing_ref", "hunter2"),
        ("name", "exporter.renamed"),
    ],
)
def test_the_database_forbids_what_a_connector_cannot_be(connector, field, value):
    with pytest.raises(IntegrityError), transaction.atomic():
        Connector.objects.filter(pk=connector.pk).update(**{field: value})


def test_a_connector_never_goes(connector):
    with pytest.raises(IntegrityError), transaction.atomic():
        connector.delete()


# Two at once ----------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_of_two_that_make_the_same_connector_at_once_one_is_told_so():
    made = person("administrator", seeds.ADMINISTRATOR)

    def make():
        return create_connector(actor=User.objects.get(pk=made.pk), name=NAME, terms=Terms(url=URL))

    results = at_once(make, make, make)

    assert len(winners(results)) == 1
    assert {type(fault) for fault in losers(results)} == {Invalid}
    assert Connector.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_two_that_disable_it_at_once_one_is_told_so():
    made = person("administrator", seeds.ADMINISTRATOR)
    connector = create_connector(actor=made, name=NAME, terms=Terms(url=URL))

    def disable():
        return disable_connector(actor=User.objects.get(pk=made.pk), connector_id=connector.pk, reason="x")

    results = at_once(disable, disable)

    assert (len(winners(results)), [type(fault) for fault in losers(results)]) == (1, [WrongState])
