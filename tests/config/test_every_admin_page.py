# SPDX-License-Identifier: Apache-2.0
"""Every page of the admin, opened by everybody: no GET changes anything, none breaks, none needs another host."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.test import Client

from accounts.models import User
from approvals.models import ActionRequest
from approvals.services import decide
from runs import stopping
from runs.models import Run
from tests.config.addresses import Address, admin_addresses
from tests.config.everything import EVERYBODY
from tests.factories import founder, started, steps

pytestmark = pytest.mark.once  # it is about pages

EXPECTED = {200, 301, 302, 403, 404}
AROUND_A_DECISION = {
    f"approvals_actionrequest_{act}" for act in ("comment", "attach", "draft", "secret", "seen", "undo")
}
ONLY_POST = {"logout", *AROUND_A_DECISION}  # 405
OUR_APPS = {"audit", "accounts", "playbooks", "runs", "approvals", "auth", "admin", "django_q", "knox", "axes"}
HOST_IN_PAGE = re.compile(
    r"""(?:\b(?:src|href|action|srcset|data|poster|formaction|hx-get|hx-post)\s*=\s*["']?|url\(\s*["']?)"""
    r"""((?:https?:)?//[^"'\s>)]+)""",
    re.IGNORECASE,
)


@pytest.fixture(params=EVERYBODY)
def anybody(request: pytest.FixtureRequest, everything: None) -> User:
    return request.getfixturevalue(request.param)


def content_of_the_database() -> dict[str, tuple[int, str]]:
    """Of each table: how many rows, and the digest of all that is in them."""
    found = {}
    models = [model for app in OUR_APPS for model in apps.get_app_config(app).get_models(include_auto_created=True)]
    for model in [*models, LogEntry]:
        rows = list(model._base_manager.order_by("pk").values_list())
        found[model._meta.label] = (len(rows), hashlib.sha256(repr(rows).encode()).hexdigest())
    return found


def test_the_scenario_holds_a_row_of_every_kind_that_has_a_page(everything):
    empty = [model._meta.label for model in admin.site._registry if not model._default_manager.exists()]

    assert empty == []


def opened(client: Client, address: Address) -> tuple[int, str]:
    response = client.get(address.path)
    page = b"".join(response.streaming_content) if response.streaming else response.content
    return response.status_code, page.decode()


def test_no_get_changes_anything_and_none_breaks(anybody: User, client_for: Callable[..., Client]):
    client = client_for(anybody)
    addresses = admin_addresses()
    before = content_of_the_database()

    statuses = {address: opened(client, address)[0] for address in addresses}

    wrong = [f"{status} {address}" for address, status in statuses.items() if status not in EXPECTED]
    assert [each for each in wrong if not any(f"({name})" in each for name in ONLY_POST)] == []
    after = content_of_the_database()
    assert {label: count for label, (count, _) in after.items()} == {name: count for name, (count, _) in before.items()}
    assert after == before


def test_the_walk_reaches_the_pages_and_a_superuser_sees_them(everything, superuser, client_for):
    client = client_for(superuser)
    addresses = admin_addresses()
    seen = {address.name for address in addresses if opened(client, address)[0] == 200}

    assert {
        "index",
        "runs_run_changelist",
        "runs_run_change",
        "runs_run_cancel",
        "runs_run_start",
        "runs_run_start_one",
        "runs_task_change",
        "runs_effect_change",
        "playbooks_playbook_add",
        "playbooks_playbook_change",
        "playbooks_playbook_version",
        "playbooks_version_change",
        "playbooks_version_edit",
        "playbooks_version_clone",
        "playbooks_version_publish",
        "playbooks_version_retire",
        "playbooks_version_history",
        "approvals_actionrequest_decide",
        "audit_entry_change",
        "accounts_user_change",
    } <= seen


def test_no_page_names_another_host(everything, superuser, client_for):
    client = client_for(superuser)
    foreign = {
        f"{address}: {found}"
        for address in admin_addresses()
        for found in HOST_IN_PAGE.findall(opened(client, address)[1])
        if not found.startswith(("http://testserver", "//testserver"))
    }

    assert foreign == set()


@pytest.mark.parametrize("who", ["disabled", "agent", "nobody"])
def test_who_may_not_enter_is_led_to_the_log_in(who, everything, administrator, validator, client_for):
    if who == "disabled":
        client = client_for(administrator)
        User.objects.filter(pk=administrator.pk).update(is_active=False)
    else:
        client = client_for(validator) if who == "agent" else Client()
    inside = [address for address in admin_addresses() if address.name not in {"login", "logout", "jsi18n"}]

    for address in inside:
        response = client.get(address.path)
        assert response.status_code == 302, address
        assert response["Location"].startswith(("/admin/login/", f"{address.path}/")), address


def test_a_run_in_any_state_has_a_page(everything, superuser, client_for, liaison, validator):
    rejected = ActionRequest.objects.get(state="pending", run__isnull=False)
    decide(request_id=rejected.pk, actor=liaison, outcome="FAIL", reason="too close to the hospital")
    cancelled = started(steps({"id": "look", "role": "agent:validator"}, id="looks"))
    stopping.cancel_run(run_id=cancelled.pk, actor=founder(), reason="twice")

    assert {"completed", "failed", "cancelled", "running"} <= set(Run.objects.values_list("state", flat=True))
    for run in Run.objects.all():
        assert client_for(superuser).get(f"/admin/runs/run/{run.pk}/change/").status_code == 200
