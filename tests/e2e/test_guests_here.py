"""A node lets people of its network listen to its room who have only a browser."""

import asyncio
import io
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from p2phouse.hearing import STOI_HEARD_MIN, measure
from p2phouse.vocabulary import SAMPLE_RATE_HZ
from tests.e2e.nodes import ProcessNode, making_nodes, read_sound, until
from tests.relay.process import Guest, asked

pytestmark = [pytest.mark.e2e, pytest.mark.nightly]

SLOTS = 4


async def understood(page: str, speaker: ProcessNode, clip: Path) -> float:
    """How well a guest of that page understands what is said: STOI."""
    http, _, room = page.partition("/r/")
    relay: Any = SimpleNamespace(http=http)
    guest = Guest()
    await guest.listen(relay, room, slots=SLOTS)
    said = await asyncio.to_thread(speaker.asked, "say", path=str(clip))
    await asyncio.sleep(1)  # what was said last is on its way; where sound ends, nothing tells
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


@pytest.mark.parametrize("access", ["lan", "open"])
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
        assert asyncio.run(understood(page, ben, clips[0])) >= STOI_HEARD_MIN
        assert ana.asked("guests")["page"] == page
        began_s = time.monotonic()
        assert ana.asked("guests", choice="off")["page"] == ""
        until(lambda: gone(page), "no page any more")
        assert time.monotonic() - began_s < 12
        until(lambda: len(ana.others()) == 1, "ben still there")


# Reads a stream for so many seconds: when its first piece had come, then what came.
READ = """
import sys, time, urllib.request
with urllib.request.urlopen(sys.argv[1], timeout=20) as answer:
    data = answer.read(2_000)
    end_s = time.monotonic() + float(sys.argv[2])
    sys.stdout.buffer.write(b"%.6f\\n" % time.monotonic() + data)
    while time.monotonic() < end_s:
        sys.stdout.buffer.write(answer.read1(65_536))
"""


def test_a_machine_of_the_network_hears_a_lan_room_by_any_player(lan, make_node, clips):
    ana, ben = (
        make_node(name, namespace=lan.host(n)) for n, name in enumerate(("ana", "ben"), start=1)
    )
    opened = ana.asked("open", title="Tea", access="lan", guests=True)
    page = opened["guests_here"]["page"]
    assert page, opened["guests_here"]["text"]
    until(lambda: ben.sees(opened["room"]), "the room seen")
    ben.asked("join", room=opened["room"])
    ben.asked("unmute")
    sent = read_sound(clips[0])
    command = ["ip", "netns", "exec", lan.host(3), sys.executable, "-c", READ]
    command += [f"{page}/listen.webm", str(len(sent) / SAMPLE_RATE_HZ + 6)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        began_s = float(reader.stdout.readline())
        said = ben.asked("say", path=str(clips[0]))
        data = reader.stdout.read()
    with av.open(io.BytesIO(data)) as container:
        heard = np.concatenate([each.to_ndarray()[0] for each in container.decode(audio=0)])
    spoken_s = said["began_mono_s"]
    hearing = measure(sent=sent, spoken_s=spoken_s, heard=heard, played_s=began_s - 0.2)
    assert hearing.stoi >= STOI_HEARD_MIN


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
