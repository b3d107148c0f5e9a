"""A WebSocket through the lane or a proxy in front, opened by a page in Chromium."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.conftest import MakeSite
from tests.support.caller import DOORS, EDGES
from tests.support.chat import ChatUpstream

COOKIE = "__Host-Http-bff-auth"
OPEN = """async (address) => {
  const socket = new WebSocket(address, ["chat.v1", "chat.v2"]);
  window.socket = socket;
  socket.binaryType = "arraybuffer";
  return await new Promise((tell) => {
    socket.onopen = () => tell("open " + socket.protocol);
    socket.onerror = () => tell("error");
  });
}"""
SAY = """async (text) => await new Promise((tell) => {
  window.socket.onmessage = (event) => tell(event.data);
  window.socket.send(text);
})"""
#: What the lane closes, and what stays open behind a proxy in front until the page closes it.
LOG_OUT = """async () =>
  (await fetch("/bff/logout/", { method: "POST", headers: { "X-BFF": "1" } })).status
"""
LOG_OUT_AND_WAIT = """async () => {
  const told = fetch("/bff/logout/", { method: "POST", headers: { "X-BFF": "1" } });
  const code = await new Promise((tell) => { window.socket.onclose = (e) => tell(e.code); });
  return [(await told).status, code];
}"""


@pytest.mark.parametrize("door", ["lane", *EDGES])
def test_a_page_of_ours_talks_until_it_signs_out_and_a_foreign_page_never(
    make_site: MakeSite, context: BrowserContext, page: Page, door: str
):
    with ChatUpstream() as chat:
        site = make_site(
            **{**DOORS[door], "database": "sqlite"},
            upstreams={"chat": {"url": f"{chat.url}/", "websocket": True}},
        )
        person = site.browser()
        person.login("jane")
        context.add_cookies(
            [
                {
                    "name": COOKIE,
                    "value": person.cookies[COOKIE].value,
                    "domain": "localhost",
                    "path": "/",
                    "secure": True,
                    "httpOnly": True,
                    "sameSite": "Strict",
                }
            ]
        )
        address = f"ws://localhost:{site.port}/bff/api/chat/echo"

        page.goto(f"http://localhost:{site.port}/")
        assert page.evaluate(OPEN, address) == "open chat.v2"
        assert page.evaluate(SAY, "grüezi") == "grüezi"
        if door in EDGES:
            assert page.evaluate(LOG_OUT) == 200
            time.sleep(1.1)  # what is remembered
        else:
            assert page.evaluate(LOG_OUT_AND_WAIT) == [200, 4401]
        assert page.evaluate(OPEN, address) == "error"
        assert len(chat.handshakes) == 1

        person.login("jane")
        foreign = context.new_page()
        foreign.route(
            "http://other.localhost/*",
            lambda route: route.fulfill(body="<p>", content_type="text/html"),
        )
        foreign.goto("http://other.localhost/")
        assert foreign.evaluate(OPEN, address) == "error"
        assert len(chat.handshakes) == 1
