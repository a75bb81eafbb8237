# SPDX-License-Identifier: Apache-2.0
"""As much of a browser as the story needs: cookies, redirects, and forms sent as they stand on the page."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin

import httpx2


@dataclass(slots=True)
class HtmlForm:
    action: str
    method: str
    values: dict[str, str] = field(default_factory=dict)  # as the page has filled them in
    names: set[str] = field(default_factory=set)  # of every control
    buttons: list[tuple[str, str]] = field(default_factory=list)  # name and value


@dataclass(frozen=True, slots=True)
class Page:
    url: str
    status: int
    text: str
    forms: tuple[HtmlForm, ...]

    def form_with(self, *names: str) -> HtmlForm:
        """The form that has these controls. Raises LookupError."""
        for form in self.forms:
            if form.method == "post" and form.names >= set(names):
                return form
        raise LookupError(f"{self.url} (status {self.status}) has no form with {', '.join(names)}")


class Browser:
    def __init__(self, url: str) -> None:
        # Ours and on this machine: no proxy in between.
        self._client = httpx2.Client(base_url=url, follow_redirects=True, trust_env=False, timeout=10.0)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def open(self, address: str) -> Page:
        return _page(self._client.get(address))

    def send(self, page: Page, form: HtmlForm, **values: Any) -> Page:
        """Fill the form in and send it. A name the form does not have is a mistake."""
        unknown = values.keys() - form.names - {name for name, _ in form.buttons}
        if unknown:
            raise LookupError(f"the form on {page.url} has no {', '.join(sorted(unknown))}")
        return _page(self._client.post(urljoin(page.url, form.action), data={**form.values, **values}))


def _page(answer: httpx2.Response) -> Page:
    reader = _Reader()
    reader.feed(answer.text)
    return Page(str(answer.url), answer.status_code, answer.text, tuple(reader.forms))


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[HtmlForm] = []
        self._open: HtmlForm | None = None
        self._text_of = ""  # the textarea being read
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = HtmlForm(given.get("action", ""), given.get("method", "get").lower())
            self.forms.append(self._open)
        elif self._open is not None:
            self._control(self._open, tag, given, {name for name, _ in attrs})

    def _control(self, form: HtmlForm, tag: str, given: dict[str, str], words: set[str]) -> None:
        name, kind = given.get("name", ""), given.get("type", "")
        if tag == "option" and self._select and "selected" in words:
            form.values[self._select] = given.get("value", "")
        if not name:
            return
        if tag == "button" or kind == "submit":
            form.buttons.append((name, given.get("value", "")))
            return
        form.names.add(name)
        if tag == "textarea":
            self._text_of = name
            form.values[name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "input" and (kind not in {"checkbox", "radio"} or "checked" in words):
            form.values[name] = given.get("value", "on" if kind in {"checkbox", "radio"} else "")

    def handle_data(self, data: str) -> None:
        if self._open is not None and self._text_of:
            self._open.values[self._text_of] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "textarea":
            self._text_of = ""
        elif tag == "select":
            self._select = ""
