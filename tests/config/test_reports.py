# SPDX-License-Identifier: Apache-2.0
"""A report of one of our own faults says where it was, and repeats nothing that anybody sent, with DEBUG or without."""

import sys

import pytest
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

CANARY = "-".join(["canary", "sent", "by", "somebody"])  # reports show the lines of this file


def report(request, settings, *, debug):
    settings.DEBUG = debug
    typed = {"password": CANARY}
    try:
        raise RuntimeError(f"broken, with {len(typed)} field")
    except RuntimeError:
        return ExceptionReporter(request, *sys.exc_info())


@pytest.mark.parametrize("debug", [False, True])
def test_a_report_names_fields_and_variables_and_tells_no_value(settings, debug):
    request = RequestFactory().post("/admin/", {"answer-key": CANARY})
    request.COOKIES["sessionid"] = CANARY
    assert request.POST  # read, as the protection against forged forms does

    made = report(request, settings, debug=debug)
    html, text = made.get_traceback_html(), made.get_traceback_text()

    assert CANARY not in html + text
    assert "broken, with 1 field" in html
    assert "answer-key" in html
    assert "typed" in html
    assert "dict, not shown" in html.replace("&lt;", "<")


def test_a_fault_outside_any_request_is_reported_too(settings):
    assert "broken, with 1 field" in report(None, settings, debug=True).get_traceback_html()


@pytest.mark.django_db
@pytest.mark.parametrize("debug", [False, True])
def test_a_fault_in_a_call_shows_nothing_of_its_body(settings, debug, validator, api_for):
    settings.DEBUG, settings.SECRETS_KEYS = debug, (b"no key of 32 bytes",)
    caller = api_for(validator)
    caller.raise_request_exception = False
    body = {"title": CANARY, "request_type": "api_key", "role": "human:police_liaison"}

    answer = caller.post("/hitl/requests", body)

    assert answer.status_code == 500
    assert CANARY not in answer.content.decode()
