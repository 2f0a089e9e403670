"""A node opens a room, a relay carries it, and somebody with only a browser hears and sees it."""

import pytest

from tests.browser.chromium import chromium
from tests.browser.listening import LISTENS
from tests.e2e.nodes import making_nodes, until
from tests.relay.process import relay

pytestmark = [pytest.mark.browser, pytest.mark.nightly]


def test_who_has_the_link_hears_and_sees_what_goes_on_in_the_room(tmp_path):
    with chromium() as browser, relay() as its, making_nodes(tmp_path) as make:
        ana = make("ana", "--loopback", "--audio", "tone", called="Ana")
        ana.asked("open", title="Night ferry", relay=f"127.0.0.1:{its.facts['port']}")
        until(lambda: any(each.get("relay") for each in ana.asked("members")["members"]), "a relay")
        ana.asked("unmute")
        ana.asked("chat", text="Which one is it?")
        page = browser.new_page(locale="en")
        page.goto(ana.asked("guest_link")["link"])
        page.wait_for_selector("h1 >> text=Night ferry", timeout=30_000)
        page.wait_for_selector("text=hosted by Ana")
        page.wait_for_selector(".message >> text=Which one is it?")
        page.click("#listen")
        page.wait_for_selector(LISTENS)
        # By how loud the sound is that the browser has decoded.
        page.wait_for_selector(".seat[data-state=speaking] >> text=Ana")
