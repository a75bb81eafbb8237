# SPDX-License-Identifier: Apache-2.0
"""Every page of the admin that anybody sees, in a browser: by day, by night, and on a screen of 320 px."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import pytest
from django.test import Client

from tests.config.addresses import admin_addresses
from tests.config.everything import EVERYBODY

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

MAIN = re.compile(r"""\bid="(?:content|main)"[^>]*>""")
TAG = re.compile(r"""<(\w+)\b(?:[^>]*?\bclass="([^"]*)")?""")

Element = tuple[str, str]  # a tag and its classes
Shape = tuple[Element, ...]


def test_nobody_finds_a_page_that_is_hard_to_read(everything, visitor, client_for, request):
    """The superuser opens each page that is built like no other, axe each with an element not seen before."""
    paths = [address.path for address in admin_addresses()]
    shapes: set[Shape] = set()
    elements: set[Element] = set()
    faults: list[str] = []
    for who in EVERYBODY:
        client = client_for(request.getfixturevalue(who))
        visitor.come_in_as(client)
        pages = dict(pages_of(client, paths))
        paths = list(pages) if who == "superuser" else paths  # nobody sees more
        for path, shape in pages.items():
            is_new = not elements.issuperset(shape)
            if is_new or (who == "superuser" and shape not in shapes):
                visitor.open(path)
            if is_new:
                faults += [f"{who}: {fault}" for fault in visitor.faults_by_day_and_night()]
            shapes.add(shape)
            elements.update(shape)

    assert len(shapes) > 60
    assert faults == []


def pages_of(client: Client, paths: Iterable[str]) -> Iterator[tuple[str, Shape]]:
    """What this person may open."""
    for path in paths:
        answer = client.get(path)
        if answer.status_code == 200 and b"<html" in answer.content:
            yield path, shape_of(answer.content.decode())


def shape_of(page: str) -> Shape:
    """The elements of its main part in order."""
    return tuple(TAG.findall(MAIN.split(page, maxsplit=1)[-1]))
