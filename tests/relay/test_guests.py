"""Guests of a real relay, by aiortc: what one says the others hear, and who is gone is gone."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import p2phouse
from p2phouse.hearing import Hearing, measure
from tests.e2e.nodes import read_sound
from tests.relay.process import Clip, Guest, ProcessRelay, asked, relay

pytestmark = [pytest.mark.e2e]

CLIPS = Path(p2phouse.__file__).parent / "clips"
TALK_S = 6.0


def sound(name: str):
    return read_sound(CLIPS / f"{name}.wav")


def hearing(clip: Clip, what, guest: Guest, slot: int = 0) -> Hearing:
    """How well a guest has heard what was said since the guest came."""
    first_s = guest.first_s[slot]
    assert clip.began_s is not None
    assert first_s is not None, "not a frame came"
    return measure(sent=what, spoken_s=clip.began_s, heard=guest.sound(slot), played_s=first_s)


def test_what_a_speaker_says_is_heard_by_a_player_with_one_m_line_and_by_one_with_four():
    said = sound("ana")

    async def talk(its: ProcessRelay) -> None:
        speaker, one, four = Guest(), Guest(), Guest()
        await one.listen(its, "tea")
        await four.listen(its, "tea", slots=4)
        clip = Clip(said)
        await speaker.speak(its, "tea", "ana", clip)
        await asyncio.sleep(len(said) / 48_000 + 1)
        assert its.now("tea")["people"] == 3
        assert hearing(clip, said, one).stoi > 0.85
        slots = [each for each in range(4) if four.heard[each]]
        assert max(hearing(clip, said, four, each).stoi for each in slots) > 0.85
        assert [await each.leave(its) for each in (speaker, one, four)] == [200, 200, 200]
        assert its.now("tea")["people"] == 0

    with relay() as its:
        asyncio.run(talk(its))


def test_two_speakers_are_heard_at_once_each_in_a_slot_of_its_own():
    ana, ben = sound("ana"), sound("ben")

    async def talk(its: ProcessRelay) -> None:
        listener, first, second = Guest(), Guest(), Guest()
        await listener.listen(its, "tea", slots=4)
        clips = Clip(ana), Clip(ben)
        await first.speak(its, "tea", "ana", clips[0])
        await second.speak(its, "tea", "ben", clips[1])
        await asyncio.sleep(max(len(ana), len(ben)) / 48_000 + 1)
        slots = [each for each in range(4) if listener.heard[each]]
        best = []
        for clip, said in zip(clips, (ana, ben), strict=True):
            heard = {each: hearing(clip, said, listener, each).stoi for each in slots}
            best.append(max(heard, key=lambda slot: heard[slot]))
            assert heard[best[-1]] > 0.85
        assert best[0] != best[1]
        for each in (first, second, listener):
            await each.leave(its)

    with relay() as its:
        asyncio.run(talk(its))


def test_rooms_do_not_hear_each_other():
    async def talk(its: ProcessRelay) -> None:
        speaker, here, elsewhere = Guest(), Guest(), Guest()
        await here.listen(its, "tea")
        await elsewhere.listen(its, "song")
        await speaker.speak(its, "tea", "ana", Clip(sound("ana")))
        await asyncio.sleep(2)
        assert here.heard[0]
        assert not elsewhere.heard[0]
        for each in (speaker, here, elsewhere):
            await each.leave(its)

    with relay() as its:
        asyncio.run(talk(its))


def test_who_goes_without_a_word_is_gone_after_a_while():
    """aiortc closes DTLS when it goes; whoever cannot even do that runs out of consent."""

    async def go(its: ProcessRelay) -> None:
        guest = Guest()
        await guest.listen(its, "tea")
        await guest.close()
        until = time.monotonic() + 40
        while (await asyncio.to_thread(its.now, "tea"))["people"]:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)
        assert (await asyncio.to_thread(asked, "DELETE", its.http + guest.place))[0] == 404

    with relay() as its:
        asyncio.run(go(its))


def test_when_the_process_with_the_sound_is_killed_guests_may_come_again_at_once():
    async def talk(its: ProcessRelay) -> None:
        guest, again = Guest(), Guest()
        await guest.listen(its, "tea")
        os.kill(its.facts["media_pids"][0], signal.SIGKILL)
        while its.now("tea")["people"]:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.02)
        until = time.monotonic() + 15
        while True:
            try:
                await again.listen(its, "tea")
                break
            except AssertionError:
                assert again.status == 503
                assert time.monotonic() < until
                await again.close()
                again = Guest()
                await asyncio.sleep(0.2)
        await guest.close()
        await again.leave(its)

    with relay() as its:
        asyncio.run(talk(its))


def test_a_relay_ends_cleanly_when_asked_and_says_no_address():
    its = ProcessRelay(log="info")

    async def come(its: ProcessRelay) -> None:
        guest = Guest()
        await guest.listen(its, "tea")
        await guest.close()

    asyncio.run(come(its))
    its.logged("state=connected")
    code, log = its.stop()
    assert code == 0
    assert "127.0.0.1" not in log
    assert "Traceback" not in log


def told(*options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "p2phouse_relay", *options]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(each for each in sys.path if each)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=env)
    return done.returncode, done.stderr


def test_a_mistake_is_one_clear_sentence():
    with relay() as its:
        port = its.http.rpartition(":")[2]
        for options, word in (
            (["up", "--dev", "--http-port", port], f"TCP port {port}"),
            (
                ["up", "--dev", "--http-port", "0", "--udp-port", str(its.facts["udp_ports"][0])],
                "UDP",
            ),
            (["up", "--dev", "--http-port", "70000"], "http-port"),
            (["up", "--dev", "--address", "192.0.2.1"], "192.0.2.1"),
            (["up", "--dev", "--log", "loud"], "loud"),
            (["sideways"], "sideways"),
        ):
            code, text = told(*options)
            assert code == 2, text
            assert word in text
            assert text.startswith("p2phouse-relay: ")
            assert len(text.splitlines()) == 1
