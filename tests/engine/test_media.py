"""The media process by itself: what is said at one end is heard at the other, and how it ends."""

import asyncio
import os
import signal
import socket
import time
from dataclasses import replace

import pytest

from p2phouse import channel
from p2phouse.channel import LinkRole, LinkStatus, VoiceCondition
from p2phouse.engine import STALL_TICKS, Engine, Ticks
from p2phouse.hearing import measure
from p2phouse.sound.files import load, to_float
from p2phouse.vocabulary import FRAME_S, HERE, LinkNumber, Ssrc, VoiceId
from tests.e2e.nodes import write_clip
from tests.engine.child import MediaChild, connect
from tests.voice.speech import librivox


@pytest.fixture
def pair(make_child):
    ana, ben = make_child("ana"), make_child("ben")
    connect(ana, ben)
    for child in (ana, ben):
        child.speak()
    ana.mesh(LinkNumber(1), ben)
    ben.mesh(LinkNumber(1), ana)
    return ana, ben


@pytest.fixture
def clip(tmp_path):
    """Four seconds of read speech, as an input."""
    return f"file:{write_clip(tmp_path / 'clip.wav', librivox('0930'))}"


def voice_of(stats: channel.Stats, child: MediaChild) -> channel.VoiceStats:
    return next(voice for voice in stats.voices if voice.ssrc == child.ssrc)


def test_speech_crosses_two_processes_and_is_heard_as_it_was_said(pair, tmp_path):
    ana, ben = pair
    clip = write_clip(tmp_path / "said.wav", librivox("0930")[: 48_000 * 5])
    heard = tmp_path / "heard.wav"
    ben.say(channel.SetOutput(f"file:{heard}"))
    ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_STARTED)
    played_s = ben.stats_at = time.monotonic() - ben.latest_stats().played_age_us / 1e6
    ana.say(channel.SetInput(f"file:{clip}"))
    ana.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)
    spoken_s = time.monotonic() - ana.latest_stats().captured_age_us / 1e6
    ana.next(channel.VoiceState, condition=VoiceCondition.INPUT_ENDED)
    stats = ben.latest_stats()
    ben.say(channel.SetOutput("none"))
    ben.next(channel.VoiceState, condition=VoiceCondition.OUTPUT_ENDED)
    hearing = measure(
        sent=to_float(load(str(clip))),
        spoken_s=spoken_s,
        heard=to_float(load(str(heard))),
        played_s=played_s,
    )
    voice = voice_of(stats, ana)
    whole = voice.played + voice.concealed + voice.recovered
    assert hearing.is_heard(concealed_pct=100 * voice.concealed / whole)


def test_an_idle_process_does_not_tick(make_child):
    child = make_child()
    before = cpu_ticks(child.process.pid)
    select_nothing(child, 2.0)
    assert cpu_ticks(child.process.pid) - before <= 1  # of 10 ms; ticking it would be two or more


def test_a_muted_voice_sends_nothing_but_keepalives(pair):
    ana, ben = pair
    key = ana.key
    ana.say(channel.SetVoice(ana.sid, key.ssrc, key.kid, key.base, True, False))
    ana.say(channel.SetInput("tone"))
    ana.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)
    stats = [ben.latest_stats() for _ in range(2)][-1]
    assert voice_of(stats, ana).played == 0
    assert stats.links[0].received == 0
    assert not [m for m in ben._heard if isinstance(m, channel.Silent)]


def test_a_voice_without_its_key_is_reported_and_heard_once_the_key_is_there(pair):
    ana, ben = pair
    ben.say(channel.SetKeys(()))
    ana.say(channel.SetInput("tone"))
    ben.next(channel.VoiceState, ssrc=ana.ssrc, condition=VoiceCondition.KEY_MISSING)
    ben.say(channel.SetKeys((ana.key,)))
    ben.next(channel.VoiceState, ssrc=ana.ssrc, condition=VoiceCondition.FLOWING)


def test_who_speaks_with_the_key_of_an_open_room_is_found_out_within_three_seconds(pair, clip):
    """To Ben the `speak` of this voice names another audit key: Ana is not who she says."""
    ana, ben = pair
    ben.set_table()
    ben.say(channel.SetKeys((replace(ana.key, akey=bytes(32)),)))
    ben.set_table(channel.TableRow(LinkNumber(1), ana.ssrc, (), (HERE,)))
    ana.say(channel.SetInput(clip))
    ben.next(channel.VoiceState, ssrc=ana.ssrc, condition=VoiceCondition.FLOWING)
    began = time.monotonic()
    ben.next(channel.VoiceState, 6, ssrc=ana.ssrc, condition=VoiceCondition.UNPROVED)
    assert time.monotonic() - began < 3.5  # a busy machine reads the last word late
    while {level.ssrc: level.dbov for level in ben.next(channel.Levels).levels}[ana.ssrc] < 127:
        pass


def test_who_speaks_with_his_own_key_is_heard_on(pair, clip):
    ana, ben = pair
    ana.say(channel.SetInput(clip))
    ana.next(channel.VoiceState, condition=VoiceCondition.INPUT_ENDED)
    stats = [ben.latest_stats() for _ in range(2)][-1]
    assert not [message for message in ben._heard if isinstance(message, channel.AuditFailed)]
    assert voice_of(stats, ana).played > 150


def test_a_link_that_brings_the_voice_of_another_is_refused(make_child):
    """Carla plays Ana: her own engine, patched to nothing, simply takes Ana's SSRC and key."""
    ana, ben, carla = make_child("ana"), make_child("ben"), make_child("carla")
    connect(ana, ben, 1, 1)
    connect(carla, ben, 1, 2)
    carla.ssrc, carla.sid, carla.dev = ana.ssrc, ana.sid, ana.dev
    for child in (ana, carla):
        child.speak()
        child.set_table(channel.TableRow(HERE, child.ssrc, (), (LinkNumber(1),)))
    ben.say(channel.SetKeys((ana.key,)))
    ben.set_table(channel.TableRow(LinkNumber(1), ana.ssrc, (), (HERE,)))
    carla.say(channel.SetInput("tone"))
    carla.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)
    stats = [ben.latest_stats() for _ in range(2)][-1]
    refused = {link.link: link.refused for link in stats.links}
    assert refused[LinkNumber(2)] > 0
    assert voice_of(stats, ana).played == 0
    ana.say(channel.SetInput("tone"))
    ben.next(channel.VoiceState, ssrc=ana.ssrc, condition=VoiceCondition.FLOWING)


def test_the_silence_of_a_frozen_peer_is_noticed_within_600_ms_and_its_return_too(pair):
    ana, ben = pair
    ben.latest_stats()
    os.kill(ana.process.pid, signal.SIGSTOP)
    ben.next(channel.Silent, within_s=3, link=LinkNumber(1))
    os.kill(ana.process.pid, signal.SIGCONT)
    ben.next(channel.Heard, within_s=3, link=LinkNumber(1))


def test_a_killed_peer_is_lost_within_four_seconds(pair):
    ana, ben = pair
    began = time.monotonic()
    ana.process.kill()
    ana.process.wait()
    lost = ben.next(channel.LinkState, within_s=6, link=LinkNumber(1))
    assert lost.status is LinkStatus.LOST
    assert time.monotonic() - began < 5


def test_an_older_table_is_refused(pair):
    ana, ben = pair
    ben.say(channel.SetTable(0, ()))
    ana.say(channel.SetInput("tone"))
    ben.next(channel.VoiceState, ssrc=ana.ssrc, condition=VoiceCondition.FLOWING)


def test_a_row_with_a_link_that_is_not_there_harms_nobody(pair):
    ana, ben = pair
    ana.set_table(
        channel.TableRow(HERE, ana.ssrc, (), (LinkNumber(1), LinkNumber(99))),
        channel.TableRow(LinkNumber(77), Ssrc(5), (), (HERE, LinkNumber(1))),
    )
    ana.say(channel.SetInput("tone"))
    ben.next(channel.VoiceState, ssrc=ana.ssrc, condition=VoiceCondition.FLOWING)


def test_an_unreadable_input_is_one_sentence_and_the_process_goes_on(make_child, tmp_path):
    child = make_child()
    for spec in (f"file:{tmp_path / 'none.wav'}", f"file:{tmp_path}", "nonsense", "file:/dev/zero"):
        child.say(channel.SetInput(spec))
        failed = child.next(channel.VoiceState, condition=VoiceCondition.INPUT_FAILED)
        assert failed.text.endswith(".")
    child.say(channel.SetInput("tone"))
    child.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)


def test_it_ends_when_control_does(make_child):
    child = make_child()
    child.say(channel.SetInput("tone"))
    child.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)
    assert child.end() == 0


def test_it_ends_when_control_speaks_nonsense(make_child):
    child = make_child()
    child.socket.sendall(b"\xff" * 64)
    assert child.process.wait(10) != 0


class Broken(Exception):
    """What a bug in the engine would raise."""


@pytest.mark.parametrize(
    ("command", "dies_at"),
    [
        (channel.SetOutput("null"), channel.Stats),  # said by the tick
        (channel.OpenLink(LinkNumber(1), LinkRole.OFFERER, False), channel.LocalDescription),
    ],
    ids=["tick", "task"],
)
def test_a_dead_tick_or_task_ends_the_whole_engine(command, dies_at):
    def say(message):
        if isinstance(message, dies_at):
            raise Broken

    async def run():
        engine = Engine(say, loopback_only=True)
        engine.perform(command)
        async with asyncio.timeout(10):
            await engine.run()

    with pytest.raises(Broken):
        asyncio.run(run())


def test_a_link_closed_in_the_breath_that_opened_it_leaves_nothing_behind():
    async def run():
        engine = Engine(lambda message: None, loopback_only=True)
        running = asyncio.ensure_future(engine.run())
        before = len(os.listdir("/proc/self/fd"))
        for number in range(1, 9):
            link = LinkNumber(number)
            engine.perform(channel.OpenLink(link, LinkRole.ANSWERER, False))
            engine.perform(channel.ConnectLink(link, "abcd", "p" * 22, bytes(32), ()))
            engine.perform(channel.CloseLink(link))
        async with asyncio.timeout(10):
            while engine._tasks:
                await asyncio.wait(list(engine._tasks))
        assert len(os.listdir("/proc/self/fd")) == before
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(run())


def test_a_new_input_closes_the_microphone_in_that_very_moment():
    """Security: what follows at once may unmute the voice, for a file."""

    async def run():
        started = asyncio.Event()

        def say(message):
            if isinstance(message, channel.VoiceState):
                started.set()

        engine = Engine(say, loopback_only=True)
        running = asyncio.ensure_future(engine.run())
        engine.perform(channel.SetInput("tone"))
        async with asyncio.timeout(10):
            await started.wait()
        engine.perform(channel.SetInput("silence"))
        assert not engine._mouth.is_open
        running.cancel()
        await asyncio.wait([running])

    asyncio.run(run())


def test_an_error_in_a_datagrams_callback_ends_the_whole_engine():
    async def run():
        engine = Engine(lambda message: None, loopback_only=True)

        def fail():
            raise Broken

        asyncio.get_running_loop().call_later(0.05, fail)
        async with asyncio.timeout(10):
            await engine.run()

    with pytest.raises(Broken):
        asyncio.run(run())


def test_a_control_that_reads_no_more_is_given_up(make_child):
    child = make_child()
    child.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    for number in range(20_000):  # each makes it answer with 60 bytes
        try:
            child.say(channel.NewVoice(VoiceId(number.to_bytes(16))))
        except (BrokenPipeError, ConnectionResetError):
            break
    assert child.process.wait(20) is not None


def test_opening_and_closing_links_in_any_order_ends_nothing(make_child):
    child = make_child()
    for number in range(1, 30):
        link = LinkNumber(number)
        child.say(channel.OpenLink(link, LinkRole.OFFERER, False))
        if number % 3:
            child.say(channel.ConnectLink(link, "abcd", "p" * 22, bytes(32), ()))
        if number % 2:
            child.say(channel.CloseLink(link))
    child.say(channel.CloseLink(LinkNumber(500)), channel.SetInput("tone"))
    child.next(channel.VoiceState, condition=VoiceCondition.INPUT_STARTED)


# ── the clock of ticks ───────────────────────────────────────────────────────────────────────


def test_ticks_a_little_late_are_run_one_after_the_other():
    ticks = Ticks(0.0)
    late_s = (STALL_TICKS - 1) * FRAME_S
    assert ticks.advance(FRAME_S + late_s) == 0
    assert ticks.index == 1
    assert ticks.advance(FRAME_S + late_s) == 0
    assert ticks.index == 2


def test_after_a_stall_only_the_latest_tick_is_run_and_time_is_kept():
    ticks = Ticks(0.0)
    assert ticks.advance(0.301) == 14
    assert ticks.index == 15
    assert ticks.scheduled == pytest.approx(0.300)


def cpu_ticks(pid: int) -> int:
    """User and system time of a process, in units of 10 ms."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def select_nothing(child: MediaChild, seconds: float) -> None:
    """Lets time pass in which the process has nothing to do: what is tried here is time itself."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        child.socket.settimeout(left)
        try:
            assert child.socket.recv(65_536)
        except TimeoutError:
            break
    child.socket.settimeout(None)
