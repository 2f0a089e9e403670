"""The page of a relay's room in a browser, and somebody who hums in that room."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from p2phouse.vocabulary import SAMPLE_RATE_HZ
from tests.relay.process import Clip, Guest, ProcessRelay

TONE_HZ = 440
LISTENS = ".playing"


@contextmanager
def page_of(
    browser: Any,  # noqa: ANN401 - playwright
    its: ProcessRelay,
    room: str,
    *,
    width: int = 1280,
    scheme: str = "light",
    locale: str = "en",
    route: Callable[[Any], None] | None = None,
) -> Iterator[Any]:
    """The page of a room; it may complain of nothing but what `route` puts in its way."""
    size = {"width": width, "height": 780}
    context = browser.new_context(viewport=size, color_scheme=scheme, locale=locale)
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    if route is None:
        page.on("console", lambda told: complaints.extend([told.text] * (told.type == "error")))
    else:
        page.route("**/whep/**", route)
        page.route("**/listen.webm", lambda each: each.abort())  # not by another way
    page.goto(f"{its.http}/r/{room}")
    page.wait_for_selector("main h1")
    page.wait_for_selector(".promises li:nth-child(3)")
    yield page
    context.close()
    assert complaints == []


@contextmanager
def speaking(
    its: ProcessRelay,
    room: str,
    name: str,
    *,
    loud: float = 0.3,
    says: np.ndarray | None = None,
) -> Iterator[Clip]:
    """Somebody who hums one tone, or says something else, until the block ends."""
    ready, over = threading.Event(), threading.Event()
    tone = np.sin(np.arange(SAMPLE_RATE_HZ) * 2 * np.pi * TONE_HZ / SAMPLE_RATE_HZ) * loud
    clip = Clip(tone if says is None else says)

    async def speak() -> None:
        guest = Guest()
        await guest.speak(its, room, name, clip)
        ready.set()
        await asyncio.to_thread(over.wait)
        await guest.leave(its)

    thread = threading.Thread(target=asyncio.run, args=(speak(),))
    thread.start()
    try:
        assert ready.wait(30)
        yield clip
    finally:
        over.set()
        thread.join()


def comes_to(its: ProcessRelay, room: str, people: int) -> None:
    """Waits until so many are in the room: a page's last word is on its way after it is gone."""
    until = time.monotonic() + 10
    while its.now(room)["people"] != people:
        assert time.monotonic() < until, its.now(room)
        time.sleep(0.05)
