"""An open room of real nodes that a real relay carries, and guests of it that are aiortc."""

import asyncio
import math
import os
import signal
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

import p2phouse
from p2phouse.hall import invitation
from p2phouse.hearing import measure
from p2phouse.vocabulary import SAMPLE_RATE_HZ, RoomId
from tests.e2e.nodes import Ear, ProcessNode, making_nodes, read_sound, until
from tests.guest.test_sdp import offer, section
from tests.relay.process import Clip, Facts, Guest, ProcessRelay, asked, relay

pytestmark = [pytest.mark.e2e]

CLIP = Path(p2phouse.__file__).parent / "clips" / "ana.wav"
SAID = read_sound(CLIP)


@pytest.fixture
def its() -> Iterator[ProcessRelay]:
    with relay("--port", "0") as made:
        yield made


@pytest.fixture
def ana(tmp_path) -> Iterator[ProcessNode]:
    with making_nodes(tmp_path) as make:
        yield make("ana", "--loopback")


def open_room(ana: ProcessNode, its: ProcessRelay, access: str = "open") -> str:
    """The name under which guests come to a room that Ana opens and the relay carries."""
    at = f"127.0.0.1:{its.facts['port']}"
    opened = ana.asked("open", title="Night ferry", access=access, relay=at)
    assert opened["relay"]["carried"], opened["relay"]
    until(lambda: (ana.asked("members")["hub"] or {}).get("name") == "relay Dev", "the relay")
    name = invitation.room_text(RoomId(bytes.fromhex(opened["room"])))
    status = 200 if access == "open" else 403
    until(lambda: page(its, name)[0] == status, "a page of the room")
    return name


def page(its: ProcessRelay, name: str) -> tuple[int, str]:
    status, _, text = asked("GET", f"{its.http}/r/{name}/now")
    return status, text


def refused(its: ProcessRelay, name: str) -> tuple[int, str]:
    """What a player is told that wants to listen."""
    body = offer(section("0"))
    status, _, text = asked("POST", f"{its.http}/whep/{name}", body, content_type="application/sdp")
    return status, text


async def hears(guest: Guest, ana: ProcessNode) -> float:
    """How well the guest hears what Ana says now."""
    said: Facts = await in_thread(ana.asked, "say", path=str(CLIP))
    await asyncio.sleep(0.5)  # what was said last is on its way; where sound ends, nothing tells
    first_s = guest.first_s[0]
    assert first_s is not None, "not a frame came"
    return measure(
        sent=SAID, spoken_s=said["began_mono_s"], heard=guest.sound(), played_s=first_s
    ).stoi


in_thread = asyncio.to_thread


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_a_guest_hears_an_open_room_of_nodes_until_it_is_closed(
    its: ProcessRelay, ana: ProcessNode
):
    name = open_room(ana, its)

    async def listen() -> None:
        guest = Guest()
        await guest.listen(its, name)
        assert await hears(guest, ana) > 0.85
        facts = its.now(name)
        assert (facts["title"], facts["people"], facts["guests"]) == ("Night ferry", 2, 1)
        assert [each["name"] for each in facts["speakers"]] == ["ana"]
        await in_thread(ana.asked, "access", value="closed")
        await in_thread(until, lambda: page(its, name)[0] == 403, "the room being closed")
        await in_thread(
            until, lambda: asked("DELETE", its.http + guest.place)[0] == 404, "its line ended"
        )
        await guest.close()

    run(listen)
    status, text = refused(its, name)
    assert (status, "sealed" in text) == (403, True)
    for _, told in (refused(its, name), page(its, name)):
        assert "ferry" not in told
        assert "ana" not in told


@pytest.mark.nightly
def test_guests_hear_the_room_again_after_the_process_with_the_sound_was_killed(
    its: ProcessRelay, ana: ProcessNode
):
    name = open_room(ana, its)

    async def listen() -> None:
        guest, again = Guest(), Guest()
        await guest.listen(its, name)
        os.kill(its.facts["media_pids"][0], signal.SIGKILL)
        await in_thread(
            until, lambda: refused(its, name)[0] == 503 or its.now(name)["guests"] == 0, "its end"
        )
        await in_thread(until, lambda: refused(its, name)[0] == 201, "another process")
        await again.listen(its, name)
        await in_thread(until, lambda: ana.is_connected_to(1), "a new link")
        assert await hears(again, ana) > 0.85
        for each in (guest, again):
            await each.close()

    run(listen)


@pytest.mark.nightly
def test_a_relay_of_a_sealed_room_tells_guests_nothing_of_it(its: ProcessRelay, ana: ProcessNode):
    name = open_room(ana, its, "closed")
    for status, told in (refused(its, name), page(its, name)):
        assert status == 403
        assert "ferry" not in told
        assert "ana" not in told


@pytest.mark.nightly
def test_a_guest_with_a_token_of_the_host_is_heard_by_nodes_until_it_is_muted(
    its: ProcessRelay, ana: ProcessNode, tmp_path: Path
):
    """And by the other guests, as anybody on stage is."""
    name = open_room(ana, its)
    token = ana.asked("guest_token", name="Zoé")["token"]

    def zoe() -> Facts | None:
        others = ana.others().values()
        return next((each for each in others if each["name"] == "Zoé via Dev"), None)

    async def talk() -> None:
        stranger, guest, listener = Guest(), Guest(), Guest()
        with pytest.raises(AssertionError):
            await stranger.speak(its, name, "Eve", Clip(SAID), "0" * 43)
        assert stranger.status == 403
        await stranger.close()
        await listener.listen(its, name)
        clip = Clip(SAID)
        shown = {"authorization": f"Bearer {token}"}
        whip = f"{its.http}/whip/{name}/Zo%C3%A9"
        # No offer is in it; before the entry has come to the relay it is refused for its token.
        await in_thread(until, lambda: asked("POST", whip, b"x", **shown)[0] == 415, "the entry")
        await guest.speak(its, name, "Zo%C3%A9", clip, token)
        await in_thread(until, lambda: (zoe() or {}).get("muted") is False, "Zoé on stage")
        ear = await in_thread(Ear, ana, tmp_path / "heard.wav")
        # The rest of a round, a whole one, and what was said last is on its way.
        await asyncio.sleep(2 * len(SAID) / SAMPLE_RATE_HZ + 1.5)
        sound, played_s = await in_thread(ear.stop)
        assert clip.began_s is not None
        # It says the clip again and again; the first time that was begun while Ana listened.
        lasts_s = len(SAID) / SAMPLE_RATE_HZ
        spoken_s = clip.began_s + math.ceil((played_s - clip.began_s) / lasts_s) * lasts_s
        heard = measure(sent=SAID, spoken_s=spoken_s, heard=sound, played_s=played_s)
        assert heard.stoi > 0.85
        assert listener.heard[0], "nor did the other guest hear it"
        assert [each["name"] for each in its.now(name)["speakers"]] == ["ana", "Zoé via Dev"]
        await in_thread(ana.asked, "role", who="Zoé via Dev", role="remove")
        await in_thread(until, lambda: zoe() is None, "Zoé out")
        await in_thread(
            until, lambda: asked("DELETE", its.http + guest.place)[0] == 404, "its line ended"
        )
        for each in (guest, listener):
            await each.close()

    run(talk)
