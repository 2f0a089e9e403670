"""A person at the page of a real node, and others who have none."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.nodes import ProcessNode, until

# What a page asked of the browser's microphone and was given; what its sound brought and when.
WATCH = """
    window.asked = 0;
    window.tracks = [];
    const media = navigator.mediaDevices;
    if (media) {
        const ask = media.getUserMedia.bind(media);
        media.getUserMedia = async (wish) => {
            window.asked += 1;
            const opened = await ask(wish);
            window.openedAt = Date.now();
            window.tracks.push(...opened.getTracks());
            return opened;
        };
    }
    window.heard = [];
    window.heardAt = null;
    window.WebSocket = class extends WebSocket {
        constructor(url) {
            super(url);
            if (!url.endsWith("/sound")) return;
            this.addEventListener("message", ({data}) => {
                if (typeof data === "string") return;
                window.heardAt ??= Date.now();
                window.heard.push(...new Int16Array(data.slice(0)));
            });
        }
    };
"""


class PageNode(ProcessNode):
    """A node with a page, which no browser opens by itself: the test does."""

    pages = ()

    def address(self) -> str:
        """Where the one-shot file of `p2phouse page` leads."""
        text = Path(self.asked("page")["file"]).read_text()
        found = re.search(r'url=([^"]+)"', text)
        assert found
        return found[1]


@contextmanager
def tab(browser, node: PageNode, script: str = "", **options) -> Iterator[Any]:
    """The node's page, arrived and drawn; it may not complain of anything."""
    context = browser.new_context(locale="en", **options)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.extend([said.text] * (said.type == "error")))
    page.add_init_script(WATCH + script)
    page.goto(node.address())
    page.wait_for_selector("main h1")
    yield page
    context.close()
    assert complaints == []


def open_room(page, title: str = "Tea") -> None:
    page.get_by_role("button", name="Open a room").first.click()
    page.get_by_label("What is it about?").fill(title)
    page.get_by_role("button", name="Open it, muted").click()
    page.wait_for_selector(".stage")


def gather(host: ProcessNode, *others: ProcessNode) -> None:
    """Everybody comes into the host's room, and all are connected."""
    room = host.asked("status")["room"]
    for node in others:
        until(lambda node=node: node.sees(room), "seeing the room")
        node.asked("join", room=room)
    for node in (host, *others):
        until(lambda node=node: node.is_connected_to(len(others)), "a link to everybody")


def unix_s(page_ms: float) -> float:
    """A time of the page on our monotonic clock: one machine, so its wall clock is ours."""
    return page_ms / 1_000 - time.time() + time.monotonic()


def is_live(page) -> bool:
    return bool(page.get_attribute("#mic", "aria-pressed") == "true")


def wait_live(page, live: bool) -> None:
    page.wait_for_selector(f"#mic[aria-pressed={'true' if live else 'false'}]")
