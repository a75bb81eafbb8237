# SPDX-License-Identifier: Apache-2.0
"""What is shown when a request comes to nothing: pages to people, problem documents to programs."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.exceptions import PermissionDenied, SuspiciousOperation
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.urls import include, path

from config.errors import Invalid, NotFound, Problem

SECRET = "postgres://act:hunter2@db"


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError(f"cannot reach {SECRET}")


def damaged(request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation(SECRET)


def forbidden(request: HttpRequest) -> HttpResponse:
    raise PermissionDenied("Only the clerk opens this drawer.")


def refused(request: HttpRequest) -> HttpResponse:
    raise Invalid("The plan has faults.", errors=[Problem("steps[1]", "has no <role>", "Name one.", line=7)])


def invisible(request: HttpRequest) -> HttpResponse:
    raise NotFound("There is no drawer 9.")


_views = [
    path("broken", broken),
    path("damaged", damaged),
    path("forbidden", forbidden),
    path("refused", refused),
    path("invisible", invisible),
]
urlpatterns = [
    path("", include(_views)),
    path("acts/", include(_views)),
    path("admin/", include(_views)),
    path("", include("config.urls")),
]
handler400 = "config.error_pages.bad_request"
handler403 = "config.error_pages.permission_denied"
handler404 = "config.error_pages.not_found"
handler500 = "config.error_pages.server_error"

STATUSES = {"broken": 500, "damaged": 400, "forbidden": 403, "refused": 422, "invisible": 404, "nowhere": 404}


@pytest.fixture(autouse=True)
def _views_that_fail(settings, db) -> Iterator[None]:
    settings.ROOT_URLCONF = __name__
    return


@pytest.fixture
def browser() -> Client:
    return Client(raise_request_exception=False)


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_people_get_a_page_in_the_same_words_and_policy_everywhere(browser, name, status):
    answer = browser.get(f"/{name}")
    page = answer.content.decode()

    assert answer.status_code == status
    assert answer["Content-Type"].startswith("text/html")
    assert page.count("<h1>") == 1
    assert "<main" in page
    assert "unsafe" not in answer["Content-Security-Policy"]
    assert SECRET not in page


@pytest.mark.parametrize(("name", "status"), STATUSES.items())
def test_programs_get_a_problem_document(browser, name, status):
    answer = browser.get(f"/acts/{name}")
    document = answer.json()

    assert answer.status_code == document["status"] == status
    assert answer["Content-Type"] == "application/problem+json"
    assert {"type", "title", "detail", "code"} <= document.keys()
    assert SECRET not in answer.content.decode()


@pytest.mark.parametrize("name", ["broken", "damaged", "forbidden"])
def test_an_error_page_inside_the_admin_is_granted_nothing_of_the_skin(browser, name):
    assert "unsafe" not in browser.get(f"/admin/{name}")["Content-Security-Policy"]


def test_the_page_of_our_own_faults_asks_the_database_nothing(browser, client_for, auditor, django_assert_num_queries):
    with django_assert_num_queries(0):
        answer = browser.get("/broken")

    assert answer.status_code == 500
    assert "RuntimeError" not in answer.content.decode()
    assert "Nothing you did is half done" in answer.content.decode()


def test_a_refusal_shows_its_sentence_and_each_fault_with_place_and_remedy(browser):
    page = browser.get("/refused").content.decode()

    assert "The plan has faults." in page
    assert "<strong>steps[1]</strong>, line 7: has no &lt;role&gt; Name one." in page


def test_what_forbids_says_why(browser):
    assert "Only the clerk opens this drawer." in browser.get("/forbidden").content.decode()
    assert browser.get("/acts/forbidden").json()["detail"] == "Only the clerk opens this drawer."


def test_a_form_without_our_token_is_explained(superuser):
    browser = Client(enforce_csrf_checks=True)
    answer = browser.post("/admin/login/", {"username": "root", "password": "x"})

    assert answer.status_code == 403
    assert "The form was not accepted" in answer.content.decode()
    assert "unsafe" not in answer["Content-Security-Policy"]


def test_a_host_we_do_not_answer_to_is_a_request_that_cannot_be_read(browser):
    answer = browser.get("/", headers={"host": "evil.example"})

    assert answer.status_code == 400
    assert "evil.example" not in answer.content.decode()
