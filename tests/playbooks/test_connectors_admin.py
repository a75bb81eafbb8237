# SPDX-License-Identifier: Apache-2.0
"""The connectors' pages in the admin: what they show, what they change on POST, and what they refuse."""

from __future__ import annotations

import re

import pytest
from django.db import connection

from audit.models import Entry
from playbooks.connector_services import Terms, create_connector
from playbooks.models import Connector

pytestmark = pytest.mark.django_db

LIST = "/admin/playbooks/connector/"
URL = "https://portal.example.gov/licences"
TYPED = {
    "name": "exporter.publish", "title": "The exporter's portal", "method": "PUT", "url": URL,
    "headers": "X-Office: BIS\n\nX-Desk:  seven ", "connect_seconds": "3", "read_seconds": "10", "total_seconds": "20",
    "verdict_statuses": "402, 451", "secret_ref": "env:LICENCE_TOKEN", "secret_header": "X-Api-Key", "signing_ref": "",
}  # fmt: skip
WHO_MAY_LOOK = ["superuser", "administrator", "auditor", "playbook_author"]
EVERYBODY = [*WHO_MAY_LOOK, "staff_member", "liaison"]


@pytest.fixture(autouse=True)
def _listed(settings):
    settings.CONNECTOR_HOSTS = frozenset({("portal.example.gov", None)})
    settings.CONNECTOR_SECRETS = frozenset({"env:LICENCE_TOKEN"})


@pytest.fixture
def browser(administrator, client_for):
    return client_for(administrator)


@pytest.fixture
def connector(administrator):
    return create_connector(actor=administrator, name="exporter.publish", terms=Terms(url=URL, title="Portal"))


def page(connector: Connector, act: str = "change") -> str:
    return f"{LIST}{connector.pk}/{act}/"


def words_of(response) -> str:
    text = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(text.split())


def rows() -> dict[str, list]:
    tables = ["playbooks_connector", "playbooks_historicalconnector", "audit_disclosure"]
    with connection.cursor() as cursor:
        found = {}
        for table in tables:
            cursor.execute(f'SELECT * FROM "{table}" ORDER BY 1')
            found[table] = cursor.fetchall()
    return found


def every_page(connector: Connector) -> list[str]:
    acts = ("change", "terms", "disable", "enable", "history", "delete")
    return [LIST, f"{LIST}add/", *(page(connector, act) for act in acts)]


# What can be done -----------------------------------------------------------------------------------------


def test_a_connector_is_made_as_typed(browser):
    answer = browser.post(f"{LIST}add/", TYPED)

    made = Connector.objects.get()
    assert answer["Location"] == LIST
    assert (made.name, made.title, made.method, made.url) == ("exporter.publish", "The exporter's portal", "PUT", URL)
    assert made.headers == {"X-Office": "BIS", "X-Desk": "seven"}
    assert (made.connect_seconds, made.read_seconds, made.total_seconds) == (3, 10, 20)
    assert made.verdict_statuses == [402, 451]
    assert (made.secret_ref, made.secret_header) == ("env:LICENCE_TOKEN", "X-Api-Key")
    assert Entry.objects.filter(action="connector.created").count() == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"url": "https://elsewhere.example/"}, "is not on the list of HMS_ACT_CONNECTOR_HOSTS"),
        ({"headers": "X-Office"}, "write each header once, as Name: value"),
        ({"headers": "X-A: 1\nX-A: 2"}, "write each header once"),
        ({"verdict_statuses": "no"}, "Write statuses with commas between them"),
        ({"verdict_statuses": "\u0664\u0665\u0661"}, "Write statuses with commas between them"),
        ({"total_seconds": ""}, "This field is required"),
        ({"secret_ref": "hunter2"}, "the secret itself is never written here"),
    ],
)
def test_what_is_refused_comes_back_with_the_reason_and_what_was_typed(browser, wrong, words):
    answer = browser.post(f"{LIST}add/", TYPED | wrong)

    assert answer.status_code == 422
    assert words in words_of(answer)
    assert 'value="exporter.publish"' in answer.content.decode()
    assert not Connector.objects.exists()


def test_the_form_to_change_it_holds_what_it_is_and_changes_it(browser):
    browser.post(f"{LIST}add/", TYPED)
    connector = Connector.objects.get()
    form = browser.get(page(connector, "terms")).context["form"]
    typed = {name: form[name].value() for name in form.fields}

    assert browser.post(page(connector, "terms"), typed).status_code == 302
    assert [each.action for each in Entry.objects.filter(subject_type="connector")] == ["connector.created"]
    assert browser.post(page(connector, "terms"), typed | {"title": "Portal", "headers": ""}).status_code == 302
    changed = Connector.objects.get()
    assert (changed.name, changed.title, changed.headers) == ("exporter.publish", "Portal", {})
    assert changed.secret_ref == "env:LICENCE_TOKEN"


def test_a_connector_is_disabled_and_enabled_with_a_reason(browser, connector):
    assert browser.post(page(connector, "disable"), {"reason": ""}).status_code == 422
    assert Connector.objects.get().is_enabled
    assert browser.post(page(connector, "disable"), {"reason": "It moves."}).status_code == 302
    assert not Connector.objects.get().is_enabled
    assert browser.post(page(connector, "enable"), {"reason": "It has moved."}).status_code == 302
    assert Connector.objects.get().is_enabled


def test_the_page_offers_what_can_be_done_with_it(browser, connector):
    shown = browser.get(page(connector)).content.decode()
    assert page(connector, "disable") in shown
    assert page(connector, "enable") not in shown

    browser.post(page(connector, "disable"), {"reason": "It moves."})
    shown = browser.get(page(connector)).content.decode()
    assert page(connector, "disable") not in shown
    assert page(connector, "enable") in shown


def test_the_page_shows_what_is_called_and_no_field_to_edit(browser, connector):
    answer = browser.get(page(connector))

    assert all(each in words_of(answer) for each in ("exporter.publish", URL, "Authorization", "enabled"))
    assert not re.search(r'name="(name|url|is_enabled|secret_ref|headers)"', answer.content.decode())


def test_a_forged_edit_of_the_page_changes_nothing(browser, connector):
    before = rows()

    browser.post(page(connector), {"url": "https://evil.example/", "is_enabled": "", "_save": "1"})
    browser.post(LIST, {"action": "delete_selected", "_selected_action": [connector.pk], "post": "yes"})

    assert rows() == before


def test_the_history_shows_its_forms_and_cannot_be_put_back(browser, connector):
    browser.post(page(connector, "terms"), TYPED)
    record = Connector.history.latest("history_id")
    before = rows()

    assert "env:LICENCE_TOKEN" in words_of(browser.get(page(connector, "history")))
    assert browser.post(f"{page(connector, 'history')}{record.pk}/", {"url": "x"}).status_code == 405
    assert rows() == before


def test_a_list_costs_the_same_however_long_it_is(browser, administrator, django_assert_max_num_queries):
    def statements() -> int:
        with django_assert_max_num_queries(30) as counted:
            assert browser.get(LIST).status_code == 200
        return len(counted)

    create_connector(actor=administrator, name="a.first", terms=Terms(url=URL))
    few = statements()
    for number in range(10):
        create_connector(actor=administrator, name=f"a.further{number}", terms=Terms(url=URL))

    assert statements() == few


# Who ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", EVERYBODY)
def test_looking_at_any_page_changes_nothing(request, who, connector, client_for):
    client = client_for(request.getfixturevalue(who))
    before = rows()

    statuses = {address: client.get(address).status_code for address in every_page(connector)}

    assert rows() == before
    assert set(statuses.values()) <= {200, 302, 403, 404}, statuses
    assert (statuses[LIST], statuses[page(connector)]) == ((200, 200) if who in WHO_MAY_LOOK else (403, 403))


@pytest.mark.parametrize("who", ["auditor", "playbook_author", "staff_member", "liaison"])
def test_who_may_not_changes_nothing_by_any_page(request, who, connector, client_for):
    client = client_for(request.getfixturevalue(who))
    before = {name: kept for name, kept in rows().items() if name != "audit_disclosure"}
    sent = {**TYPED, "name": "a.forged", "reason": "x", "post": "yes"}

    for address in every_page(connector):
        assert client.post(address, sent).status_code in {200, 302, 403, 404, 405}, address

    assert {name: kept for name, kept in rows().items() if name != "audit_disclosure"} == before


def test_who_has_not_logged_in_sees_nothing(client, connector):
    for address in every_page(connector):
        assert client.get(address)["Location"].startswith("/admin/login/"), address
        assert client.post(address, TYPED)["Location"].startswith("/admin/login/"), address


def test_the_sidebar_leads_to_the_connectors_for_who_may_look(administrator, liaison, client_for):
    assert f'href="{LIST}"' in client_for(administrator).get("/admin/").content.decode()
    assert f'href="{LIST}"' not in client_for(liaison).get("/admin/").content.decode()
