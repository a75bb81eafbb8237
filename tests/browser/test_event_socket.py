# SPDX-License-Identifier: Apache-2.0
"""The printed page that follows events by WebSocket, in a real browser; a credential is added."""

from __future__ import annotations

import pytest

from approvals.asking import create_request
from tests.config.web import served
from tests.people import agent, key_of

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

PRINTED = """
const ws = new WebSocket('ws://localhost:8100/ws/events', credential);

ws.onmessage = (event) => {
  const msg = JSON.parse(event.data);

  if (msg.type === 'hitl.request.created') {
    toast.showToast('info', 'New Request', msg.data.title);
    queryClient.invalidateQueries(['hitl-requests']);
  }
};
"""
AROUND = """(credential) => new Promise((resolve, reject) => {
  window.shown = [];
  const toast = { showToast: (...words) => window.shown.push(words) };
  const queryClient = { invalidateQueries: (names) => window.shown.push(names) };
  %s
  ws.onopen = () => resolve(ws.protocol);
  ws.onerror = () => reject(new Error('refused'));
})"""


def test_the_printed_page_shows_a_new_request(browser, process_environment, tmp_path):
    asker = agent("asker")
    _, key = key_of(asker)
    page = browser.new_page()
    with served(process_environment, tmp_path / "web.log") as web:
        address = str(web.base_url).rstrip("/").replace("http", "ws", 1)
        script = AROUND % PRINTED.replace("ws://localhost:8100", address)
        assert page.evaluate(script, ["hms-act.events", f"hms-act.bearer.{key}"]) == "hms-act.events"

        create_request(actor=asker, role="human:reviewer", title="Look here")
        page.wait_for_function("window.shown.length === 2", timeout=30_000)
        assert page.evaluate("window.shown") == [["info", "New Request", "Look here"], ["hitl-requests"]]
        with pytest.raises(Exception, match="refused"):
            page.evaluate(script, ["hms-act.events"])
    page.close()
