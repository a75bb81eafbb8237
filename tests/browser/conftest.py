# SPDX-License-Identifier: Apache-2.0
"""Visitors in a real Chromium, before a real server."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.browser.city import City, running_city
from tests.browser.visitor import Visitor


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator[Browser]:
    """Nothing is fetched to drive it, and it finds no host but this one, whatever a page may ask for."""
    options = ["--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE localhost , EXCLUDE 127.0.0.1"]
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # The driver's event loop runs in the thread of the tests, and Django would refuse them the database.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        # Chromium's sandbox does not work for root, which is who runs tests on many a build machine.
        chrome = playwright.chromium.launch(executable_path=chromium, args=options, chromium_sandbox=os.geteuid() != 0)
        yield chrome
        chrome.close()


@pytest.fixture
def visitor_of(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Makes visitors of a site, each with a browser window of their own."""
    with ExitStack() as leaving:

        def arrive(url: str, **options: Any) -> Visitor:
            visitor = Visitor(browser, url, **options)
            leaving.callback(visitor.leave)
            return visitor

        yield arrive


@pytest.fixture
def visitor(visitor_of: Callable[..., Visitor], live_server: Any) -> Visitor:
    """One at a server in this process, where time can be moved."""
    return visitor_of(live_server.url)


@pytest.fixture
def city(process_environment: dict[str, str], tmp_path: Path, transactional_db: None) -> Iterator[City]:
    """The protest permit's installation: everything a city runs, each part a process of its own."""
    with running_city(process_environment, tmp_path) as running:
        yield running
