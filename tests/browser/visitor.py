# SPDX-License-Identifier: Apache-2.0
"""A person at a browser. Every page they come to is looked at, whatever the test is about.

It says nothing in the console, asks nothing of another host, and fits a screen of 320 px without scrolling sideways.
Where a test asks for it, nothing on it is hard to read for anybody, by day or, in the dark, by night.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from axe_playwright_python.sync_playwright import Axe
from django.test import Client
from playwright.sync_api import Browser, ConsoleMessage, Locator, Response

PAGE_SECONDS = 20
WIDE, NARROW = {"width": 1280, "height": 900}, {"width": 320, "height": 800}
AXE = Axe().axe_script
GRAVE = {"serious", "critical"}

# The innermost elements that reach beyond the screen, if the page can be scrolled sideways.
TOO_WIDE = """() => {
  const root = document.documentElement;
  if (root.scrollWidth <= root.clientWidth) return [];
  return [...document.querySelectorAll("body *")]
    .filter((one) => one.getBoundingClientRect().right > root.clientWidth + 1 && !one.children.length)
    .map((one) => `${one.tagName.toLowerCase()} "${one.innerText.slice(0, 40)}"`)
    .slice(0, 5)
    .concat(`the page is ${root.scrollWidth} px wide`);
}"""
# 0 (black) to 255, of the ground that the page is painted on; drawn, because a colour may be given in any notation.
BRIGHTNESS = """() => {
  const paint = document.createElement("canvas").getContext("2d");
  for (const one of [document.documentElement, document.body]) {
    paint.fillStyle = getComputedStyle(one).backgroundColor;
    paint.fillRect(0, 0, 1, 1);
  }
  const [red, green, blue] = paint.getImageData(0, 0, 1, 1).data;
  return (red + green + blue) / 3;
}"""
DARK = 80
CONTRAST = ("color-contrast",)
# Wear light or dark: by the switch of the admin's skin where it is, and without transitions on the way.
WEAR = """async (theme) => {
  if (window.Alpine) Alpine.$data(document.documentElement).switchTheme(theme);
  await new Promise(requestAnimationFrame);
  await Promise.all(document.getAnimations().map((each) => each.finished));
}"""


class Visitor:
    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.url = url
        self.context = browser.new_context(base_url=url, viewport=WIDE, **options)
        self.context.set_default_timeout(PAGE_SECONDS * 1000)
        self.page = self.context.new_page()
        self._said: list[str] = []
        self._elsewhere: list[str] = []
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self._said.append(str(error)))
        self.page.on("request", lambda request: self._note(request.url))

    # Going about

    def open(self, address: str) -> None:
        self._arrive(self.page.goto(address), 200)

    def click(self, what: Locator, *, status: int = 200) -> None:
        """Click what leads to another page, or to this one anew."""
        with self.page.expect_navigation() as coming:
            what.click()
        self._arrive(coming.value, status)

    def enter(self, what: Locator, *, status: int = 200) -> None:
        """The same by keyboard."""
        with self.page.expect_navigation() as coming:
            what.focus()
            self.page.keyboard.press("Enter")
        self._arrive(coming.value, status)

    def press(self, button: str, *, status: int = 200) -> None:
        """By the beginning of its name, to which the skin adds that of its picture."""
        named = re.compile(rf"^\s*{re.escape(button)}\b")
        self.click(self.page.get_by_role("button", name=named), status=status)

    def follow(self, link: str) -> None:
        self.click(self.page.get_by_role("link", name=re.compile(rf"(?<!\w){re.escape(link)}\s*$")).first)

    def fill(self, fields: Mapping[str, str]) -> None:
        """Fields by the beginning of their labels."""
        for label, text in fields.items():
            self.page.get_by_label(re.compile(rf"^\s*{re.escape(label)}")).fill(text)

    def log_in(self, username: str, password: str) -> None:
        self.open("/admin/")
        self.fill({"Username": username, "Password": password})
        self.press("Log in")

    def come_in_as(self, client: Client) -> None:
        """With the session of somebody who has logged in elsewhere."""
        self.context.clear_cookies()
        self.context.add_cookies(
            [{"name": name, "value": cookie.value, "url": self.url} for name, cookie in client.cookies.items()]
        )

    @property
    def words(self) -> str:
        return " ".join(self.page.inner_text("body").split())

    # Looking

    def look(self) -> None:
        self.page.wait_for_load_state()
        self.page.set_viewport_size(NARROW)
        too_wide = self.page.evaluate(TOO_WIDE)
        self.page.set_viewport_size(WIDE)
        assert not too_wide, f"{self.page.url} does not fit {NARROW['width']} px: {too_wide}"
        self.assert_quiet()

    def assert_quiet(self) -> None:
        assert not self._said, f"the console of {self.page.url} says: {self._said}"
        assert not self._elsewhere, f"{self.page.url} asked other hosts: {self._elsewhere}"

    def is_dark(self) -> bool:
        return bool(self.page.evaluate(BRIGHTNESS) < DARK)

    def faults(self, rules: Sequence[str] = ()) -> list[str]:
        """What axe holds to be serious or critical on this page as it is."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE)
        options = {"resultTypes": ["violations"], "preload": False, **({"runOnly": list(rules)} if rules else {})}
        found = self.page.evaluate("async (options) => (await axe.run(options)).violations", options)
        return [
            f"{self.page.url}: {each['id']} at {[node['target'] for node in each['nodes']]}"
            for each in found
            if each["impact"] in GRAVE
        ]

    def faults_by_night(self) -> list[str]:
        """What keeps this page from being dark, and its words from being told from their ground."""
        self.page.emulate_media(color_scheme="dark")
        self.page.evaluate(WEAR, "dark")
        found = [] if self.is_dark() else [f"{self.page.url} is not dark"]
        found += self.faults(CONTRAST)
        self.page.emulate_media(color_scheme="light")
        self.page.evaluate(WEAR, "auto")
        return found

    def faults_by_day_and_night(self) -> list[str]:
        return self.faults() + self.faults_by_night()

    def leave(self) -> None:
        self.context.close()

    # Noticing

    def _arrive(self, response: Response | None, status: int) -> None:
        assert response is not None, f"nothing came of going to {self.page.url}"
        assert response.status == status, f"{response.url} answered {response.status}: {self.words[:500]}"
        self._said = [line for line in self._said if not (status != 200 and line == _of_status(status))]
        self.look()

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            text = message.text
            is_page = message.location.get("url") == self.page.url and text.startswith("Failed to load resource")
            self._said.append(_of_status(int(text.partition("status of ")[2][:3])) if is_page else text)

    def _note(self, url: str) -> None:
        if (
            not url.startswith((self.url, "data:", "blob:", "about:"))
            and urlsplit(url).netloc != urlsplit(self.url).netloc
        ):
            self._elsewhere.append(url)


def _of_status(status: int) -> str:
    """What a browser's console says of a page that is itself an answer other than 200."""
    return f"the page's status is {status}"
