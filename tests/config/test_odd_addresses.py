# SPDX-License-Identifier: Apache-2.0
"""Addresses of the admin that no link leads to: whatever is typed into one, the answer is a page and no fault."""

from __future__ import annotations

import pytest
from django.contrib import admin
from django.urls import reverse

from tests.factories import waiting_for_a_person

pytestmark = pytest.mark.django_db

MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
IDS = ("99999999999999999999", "-1", "1.5", "_00", "%25", "%F0%9F%92%A5", "har_", "x" * 300)
PAGES = ("", "change/", "history/", "history/1/", "delete/")
VALUES = ("99999999999999999999", "2026-99-99", "'%F0%9F%92%A5%E2%80%AE", "")
WORDS = ("q", "o", "p", "all", "tab", "_facets", "_changelist_filters", "_to_field", "_popup", "nonsense")


@pytest.fixture
def client(validator, superuser, client_for):
    waiting_for_a_person(validator)
    return client_for(superuser)


def list_of(model) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_an_id_that_no_row_can_have_is_not_found(model, client):
    for id_ in IDS:
        for page in PAGES:
            answer = client.get(f"{list_of(model)}{id_}/{page}")
            assert answer.status_code in {301, 302, 403, 404}, f"{id_[:20]}/{page}"


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label)
def test_a_filter_that_makes_no_sense_does_no_harm(model, client):
    page = client.get(list_of(model))
    filters = [name for spec in page.context["cl"].filter_specs for name in spec.expected_parameters()]
    fields = [field.name for field in model._meta.fields if field.name not in filters]
    asked = [(name, value) for name in (*WORDS, *filters) for value in VALUES]

    for name, value in [*asked, *((name, VALUES[0]) for name in fields)]:
        answer = client.get(f"{list_of(model)}?{name}={value}")
        assert answer.status_code in {200, 302, 400}, f"{name}={value[:20]}"
