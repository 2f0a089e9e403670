"""A real relay with two processes that carry sound: who speaks at one is heard at the other."""

import asyncio
import os
import re
import signal

import pytest

from p2phouse_relay import home as relay_homes
from p2phouse_relay.crowd.processes import crowd_at, relay_process
from p2phouse_relay.crowd.tally import MARK_AHEAD
from tests.relay.process import Clip, Guest, ProcessRelay, relay
from tests.relay.test_guests import hearing, sound

pytestmark = [pytest.mark.e2e]

TWO = ("--processes", "2")


def process_of(guest: Guest, its: ProcessRelay) -> int:
    """By the port that its answer names."""
    answer = guest.line.remoteDescription.sdp
    (port,) = set(re.findall(r"a=candidate:\S+ \d+ udp \d+ \S+ (\d+)", answer))
    return int(its.facts["udp_ports"].index(int(port)))


def test_who_speaks_at_one_process_is_heard_at_the_other_and_the_other_way_round():
    ana, ben = sound("ana"), sound("ben")

    async def talk(its: ProcessRelay) -> None:
        listeners = Guest(), Guest()
        for each in listeners:
            await each.listen(its, "tea", slots=4)
        speakers, clips = (Guest(), Guest()), (Clip(ana), Clip(ben))
        for each, name, clip in zip(speakers, ("ana", "ben"), clips, strict=True):
            await each.speak(its, "tea", name, clip)
        for pair in (listeners, speakers):  # who comes is sent to where fewest are
            assert {process_of(each, its) for each in pair} == {0, 1}
        await asyncio.sleep(max(len(ana), len(ben)) / 48_000 + 1)
        for listener in listeners:
            slots = [slot for slot in range(4) if listener.heard[slot]]
            for clip, said in zip(clips, (ana, ben), strict=True):
                assert max(hearing(clip, said, listener, slot).stoi for slot in slots) > 0.85
        for each in (*listeners, *speakers):
            assert await each.leave(its) == 200

    with relay(*TWO) as its:
        asyncio.run(talk(its))


@pytest.mark.nightly
def test_when_a_speaker_s_process_is_killed_who_listens_at_the_other_hears_it_as_it_comes_again():
    ana = sound("ana")

    async def talk(its: ProcessRelay) -> None:
        listener, speaker = Guest(), Guest()
        await listener.listen(its, "tea")
        await speaker.speak(its, "tea", "ana", Clip(ana))
        dead = process_of(speaker, its)
        assert process_of(listener, its) != dead
        os.kill(its.facts["media_pids"][dead], signal.SIGKILL)
        while its.now("tea")["people"] > 1:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.02)
        again, clip = Guest(), Clip(ana)
        await again.speak(its, "tea", "ana", clip)
        began = len(listener.heard[0])
        await asyncio.sleep(2)
        assert len(listener.heard[0]) - began > 50
        for each in (again, listener):
            assert await each.leave(its) == 200
        await speaker.close()

    with relay(*TWO) as its:
        asyncio.run(talk(its))


def test_when_a_process_is_killed_who_listens_at_the_other_misses_nothing(tmp_path):
    options = ("--dev", "--http-port", "0", "--udp-port", "0", "--home", str(tmp_path), *TWO)

    def guests() -> list[int]:
        return [each["guests"] for each in relay_homes.ask(tmp_path, "GET", "/status")["processes"]]

    with relay_process(*options) as its, crowd_at(its.http, listeners=80, voices=1) as crowd:
        crowd.speak()
        speaks = guests().index(1)
        assert crowd.join(40, at_once=4).joined == 40
        living = guests()[speaks] - 1
        assert 0 < living < 40
        crowd.mark()
        crowd.rest(1.0)
        os.kill(its.media_pids[1 - speaks], signal.SIGKILL)
        crowd.rest(2.0)
        told = crowd.tell()
        assert (told.lost, told.silent, told.duplicated) == (0, 0, 0)
        assert told.expected > living * (told.sent - 2 * MARK_AHEAD)
        again = crowd.join(20, at_once=4)
        assert (again.joined, again.refused) == (20, 0)
