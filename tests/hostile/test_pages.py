# SPDX-License-Identifier: Apache-2.0
"""Odd numbers and queries, to every page of the admin: no fault of ours, and no page where there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import reverse

from accounts import seeds
from accounts.models import User
from tests.config.addresses import admin_addresses
from tests.config.everything import let_everything_happen
from tests.hostile.calls import PAGE_QUERIES, opened
from tests.people import agent, person

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
PAGE_IDS = ("99999999999999999999", "-1", "1.5", "_00", "%25", "%F0%9F%92%A5", "har_", "x" * 300)
PAGES = ("", "change/", "history/", "history/1/", "delete/")
LIST_QUERIES = (
    "q=%00",
    "q=%ff",
    "q=" + "x" * 5000,
    "p=-1",
    "p=999999999999999999999",
    "p=x",
    "o=99.-99",
    "o=x",
    "o=%00",
    "all=",
    "e=1",
    "tab=%00",
    "_facets=x",
    "id__exact=9" + "9" * 30,
    "id=x",
    "pk=%27",
    "state__exact=%00",
    "state__regex=(((((",
    "started_by__password__startswith=p",
    "created_at__gte=x",
    "created_at__year=99999999",
)
FILTER_VALUES = ("", "99999999999999999999", "2026-99-99", "%00", "'%F0%9F%92%A5%E2%80%AE")
ASKED = {200, 301, 302, 400, 403, 404, 405}


@pytest.fixture(scope="module")
def shared_superuser(shared_db: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    """In a house in which everything has happened."""
    with pytest.MonkeyPatch.context() as patch:
        validator, administrator = agent("validator", "agent:validator"), person("administrator", seeds.ADMINISTRATOR)
        let_everything_happen(validator, administrator, patch, tmp_path_factory.mktemp("marks"))
        yield person("root", is_superuser=True)


@pytest.fixture
def superusers_client(shared_superuser: User, db: None, client_for) -> Client:
    return client_for(shared_superuser)


def list_of(model: type[Model]) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_an_id_that_no_row_can_have_has_no_page(model, superusers_client):
    for id_ in PAGE_IDS:
        for page in PAGES:
            answer = superusers_client.get(f"{list_of(model)}{id_}/{page}")
            assert answer.status_code in {301, 302, 403, 404}, f"{id_[:20]}/{page}"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_list_does_not_break_on_an_odd_query(model, superusers_client):
    page = superusers_client.get(list_of(model))
    found = page.context.get("cl")  # a page of our own may stand in its place
    filters = [name for spec in found.filter_specs for name in spec.expected_parameters()] if found else []
    fields = [field.name for field in model._meta.fields if field.name not in filters]
    asked = [f"{name}={value}" for name in filters for value in FILTER_VALUES]

    for query in (*LIST_QUERIES, *asked, *(f"{name}=99999999999999999999" for name in fields)):
        answer = opened(superusers_client, f"{list_of(model)}?{query}")
        assert answer.status_code in {200, 302, 400, 422}, f"{query[:60]}: {answer.status_code}"


def test_no_page_breaks_on_an_odd_query(superusers_client):
    paths = [each.path for each in admin_addresses() if superusers_client.get(each.path).status_code == 200]
    broken = [
        f"{status} {path}?{query[:60]}"
        for path in paths
        for query in PAGE_QUERIES
        if (status := opened(superusers_client, f"{path}?{query}").status_code) not in ASKED | {422}
    ]

    assert len(paths) > 60
    assert broken == []
