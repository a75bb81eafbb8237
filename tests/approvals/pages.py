# SPDX-License-Identifier: Apache-2.0
"""The reviewer's pages as a browser sees them: what is on a page, and what its form sends."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

from django.contrib.admin.utils import quote
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from approvals.models import ActionRequest

INBOX = "/admin/approvals/actionrequest/"
BLOCKS = frozenset({"p", "div", "dt", "dd", "li", "h1", "h2", "h3", "td", "th", "pre", "blockquote", "legend", "label"})
UNSEEN = frozenset({"script", "style"})


def page_of(request: ActionRequest) -> str:
    return reverse("admin:approvals_actionrequest_decide", args=[request.pk])


def evidence_of(request: ActionRequest, page: str = "change") -> str:
    """The admin writes ids its own way in the addresses of its pages."""
    return f"{INBOX}{quote(request.pk)}/{page}/"


@dataclass
class Page(HTMLParser):
    """The text that is seen, the tags with their attributes, and the form that decides."""

    text: str = ""
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    _unseen: int = 0  # within so many scripts and styles

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, {name: value or "" for name, value in attrs}))
        self.text += " " if tag in BLOCKS else ""
        self._unseen += tag in UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in UNSEEN

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.text += data

    @property
    def words(self) -> str:
        return " ".join(self.text.split())

    def all(self, tag: str, **attributes: str) -> list[dict[str, str]]:
        wanted = {name.rstrip("_"): value for name, value in attributes.items()}
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]

    @property
    def hidden(self) -> dict[str, str]:
        return {one["name"]: one["value"] for one in self.all("input", type="hidden")}

    @property
    def outcomes(self) -> list[str]:
        return [one["value"] for one in self.all("input", type="radio", name="outcome")]


def read(response: HttpResponse) -> Page:
    page = Page()
    page.feed(response.content.decode())
    return page


def opened(client: Client, request: ActionRequest) -> Page:
    return read(client.get(page_of(request)))


def sent(client: Client, request: ActionRequest, outcome: str, **typed: Any) -> HttpResponse:
    """Open the page, fill it in, send it."""
    hidden = opened(client, request).hidden
    shown = {name: hidden[name] for name in ("revision", "digest") if name in hidden}
    return client.post(page_of(request), {**shown, "outcome": outcome, **typed})


def titles(client: Client, **query: str) -> list[str]:
    """The rows of the inbox, in order."""
    page = client.get(INBOX, query)
    assert page.status_code == 200, page.status_code
    return [row.title for row in page.context["cl"].result_list]
