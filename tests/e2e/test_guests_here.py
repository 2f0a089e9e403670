"""A node lets people of its network listen to its room who have only a browser."""

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from p2phouse.hearing import STOI_HEARD_MIN, measure
from tests.e2e.nodes import ProcessNode, making_nodes, read_sound, until
from tests.relay.process import Guest, asked

SLOTS = 4


async def heard(page: str, speaker: ProcessNode, clip: Path) -> float:
    """How well a guest of that page understands what is said: STOI."""
    http, _, room = page.partition("/r/")
    relay: Any = SimpleNamespace(http=http)
    guest = Guest()
    await guest.listen(relay, room, slots=SLOTS)
    said = await asyncio.to_thread(speaker.asked, "say", path=str(clip))
    await asyncio.sleep(1)  # what was said last is heard
    await guest.leave(relay)
    sent = read_sound(clip)
    return max(
        measure(
            sent=sent, spoken_s=said["began_mono_s"], heard=guest.sound(slot), played_s=began_s
        ).stoi
        for slot in range(SLOTS)
        if (began_s := guest.first_s[slot]) is not None
    )


def gone(page: str) -> bool:
    try:
        return asked("GET", page)[0] == 404
    except OSError:
        return True


@pytest.mark.e2e
@pytest.mark.parametrize("access", ["lan", pytest.param("open", marks=pytest.mark.nightly)])
def test_who_is_on_the_network_listens_in_a_browser(tmp_path, clips, access):
    with making_nodes(tmp_path) as make:
        ana, ben = make("ana", "--loopback"), make("ben", "--loopback")
        opened = ana.asked("open", title="Tea", access=access, guests=True)
        page = opened["guests_here"]["page"]
        assert page, opened["guests_here"]["text"]
        until(lambda: ben.sees(opened["room"]), "the room seen")
        ben.asked("join", room=opened["room"])
        ben.asked("unmute")
        until(lambda: asked("GET", f"{page}/now")[0] == 200, "the room shown to guests")
        assert '"title": "Tea"' in asked("GET", f"{page}/now")[2]
        assert asyncio.run(heard(page, ben, clips[0])) >= STOI_HEARD_MIN
        assert ana.asked("guests")["page"] == page
        began_s = time.monotonic()
        assert ana.asked("guests", choice="off")["page"] == ""
        until(lambda: gone(page), "no page any more")
        assert time.monotonic() - began_s < 12
        until(lambda: len(ana.others()) == 1, "ben still there")


@pytest.mark.e2e
@pytest.mark.nightly
def test_they_are_gone_with_the_room_and_with_the_node(tmp_path):
    with making_nodes(tmp_path) as make:
        ana = make("ana", "--loopback")
        page = ana.asked("open", title="Tea", access="lan", guests=True)["guests_here"]["page"]
        until(lambda: asked("GET", page)[0] == 200, "the room shown to guests")
        ana.asked("leave")
        until(lambda: gone(page), "no page any more", within_s=20)
        page = ana.asked("open", title="Song", access="lan", guests=True)["guests_here"]["page"]
        ana.kill()
        until(lambda: gone(page), "no page any more", within_s=20)
