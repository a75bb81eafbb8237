# SPDX-License-Identifier: Apache-2.0
"""Logging in as a person does, in a browser."""

import re

import pytest
from playwright.sync_api import expect

from tests.people import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_person_is_let_in_and_only_as_long_as_the_session_lasts(visitor, superuser):
    visitor.log_in("root", PASSWORD)
    expect(visitor.page).to_have_url(re.compile("/admin/$"))
    expect(visitor.page.get_by_label("Password")).to_have_count(0)

    visitor.context.clear_cookies()
    visitor.open("/admin/")

    expect(visitor.page.get_by_label("Password")).to_be_visible()
    assert visitor.faults_by_day_and_night() == []


def test_whoever_keeps_their_system_dark_comes_in_out_of_the_dark(visitor_of, live_server, superuser):
    visitor = visitor_of(live_server.url, color_scheme="dark")
    visitor.open("/admin/")
    assert visitor.is_dark()

    visitor.log_in("root", PASSWORD)
    assert visitor.is_dark()


def test_a_wrong_password_is_told_apart_by_nothing_but_the_refusal(visitor, superuser):
    visitor.log_in("root", "not-the-secret")

    expect(visitor.page.get_by_text("Please enter the correct username and password")).to_be_visible()
    expect(visitor.page.get_by_label("Password")).to_have_value("")
