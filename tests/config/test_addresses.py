# SPDX-License-Identifier: Apache-2.0
"""The addresses that belong to no room: the start page and the description of the HTTP API."""

from __future__ import annotations

import re

import yaml
from django.test import Client


def test_the_start_page_leads_into_the_admin(db):
    answer = Client().get("/")

    assert (answer.status_code, answer["Location"]) == (302, "/admin/")


def test_the_api_describes_itself_in_openapi(db):
    answer = Client().get("/api/schema")
    description = yaml.safe_load(answer.content)

    assert answer.status_code == 200
    assert description["openapi"].startswith("3.1")
    assert {"/acts/run", "/acts/tasks/next", "/hitl/requests"} <= description["paths"].keys()


def test_the_browsable_description_is_served_from_here_alone(db):
    answer = Client().get("/api/docs")
    page = answer.content.decode()

    assert answer.status_code == 200
    assert re.findall(r"""(?:src|href)=["']?((?:https?:)?//[^"' >]+)""", page) == []
    assert re.findall(r"<script(?![^>]*\bsrc=)", page) == [], "its scripts are files"
    policy = answer["Content-Security-Policy"]
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert "unsafe-eval" not in policy
    assert re.search(r"script-src [^;]*unsafe", policy) is None


def test_no_other_page_may_style_inline(db):
    for path in ("/api/schema", "/forms/nothing", "/healthz"):
        assert "unsafe" not in Client().get(path)["Content-Security-Policy"]
