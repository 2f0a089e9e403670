"""The media process: joins voices, forwarder, links and sound, one 20 ms tick at a time.

`python -m p2phouse.engine FD` speaks channel.py on that socket. When the socket ends, control is
gone: the microphone is closed and the process exits. A task that dies takes the process with it,
and control starts a new one; there is no half-life in which some links or voices are dead.
"""

import argparse
import asyncio
import gc
import logging
import math
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Final

from p2phouse import channel
from p2phouse.carry.carrier import Ask, Carrier, CarrierOutput
from p2phouse.carry.control import LinkControl
from p2phouse.carry.table import TableRefused, compile_table
from p2phouse.channel import (
    CloseLink,
    ConnectLink,
    EndVoice,
    LinkStatus,
    NewVoice,
    OpenLink,
    SetGain,
    SetInput,
    SetKeys,
    SetOutput,
    SetPage,
    SetReflectors,
    SetTable,
    SetVoice,
    VoiceCondition,
)
from p2phouse.errors import LinkError, PeerError
from p2phouse.link.link import Description, Link
from p2phouse.sound.ear import Ear, open_sink
from p2phouse.sound.mouth import Mouth, open_source
from p2phouse.sound.page import Page
from p2phouse.vocabulary import FRAME_S, HERE, LinkNumber, Ssrc, VoiceId
from p2phouse.voice.incoming import IncomingVoice
from p2phouse.voice.keyring import KeyRing
from p2phouse.voice.level import Loudness
from p2phouse.voice.mix import Mixer
from p2phouse.voice.outgoing import OutgoingVoice
from p2phouse.voice.seal import SealKey

log = logging.getLogger(__name__)

CHANNEL_VERSION: Final = 1
STALL_TICKS: Final = 5  # 100 ms late: catching up tick by tick would only add delay
LEVELS_EACH_TICKS: Final = 5  # 10 Hz
STATS_EACH_TICKS: Final = 50  # 1 Hz
UNREAD_BYTES_MAX: Final = 256 * 1024  # control has not read for minutes: it is no more
NEWS_BYTES_MAX: Final = 64 * 1024  # past this levels and stats are left out; newer ones follow
READ_BYTES: Final = 64 * 1024
DOUBT_S: Final = 600.0  # that a network lets no UDP out: laptops are carried elsewhere
LOSS_PCT_MAX: Final = 30  # past this the copies leave too few bits for the voice itself
NOBODY: Final = Ssrc(0)  # as a voice's SSRC: our own input or output


class Ticks:
    """The 20 ms clock of sound: which tick it is, and when it was due.

    What is captured or played belongs to the tick's scheduled time, not to the moment at which
    the loop came round to it.
    """

    def __init__(self, now: float) -> None:
        self._start = now
        self.index = 0

    @property
    def due(self) -> float:
        """When the next tick is due, in seconds of time.monotonic()."""
        return self._start + (self.index + 1) * FRAME_S

    @property
    def scheduled(self) -> float:
        """When the present tick was due."""
        return self._start + self.index * FRAME_S

    def advance(self, now: float) -> int:
        """Moves to the next tick due; returns how many were passed over to get there.

        A few late ticks are run one after the other; after a stall of STALL_TICKS the time is
        gone for good and only the latest is run.
        """
        behind = int((now - self.due) / FRAME_S)
        skipped = behind if behind >= STALL_TICKS else 0
        self.index += 1 + skipped
        return skipped


class Engine:
    """Everything of the media process but its socket. `perform` takes commands; `say` tells."""

    def __init__(self, say: Callable[[channel.Up], None], *, loopback_only: bool) -> None:
        self._say = say
        self._loopback_only = loopback_only
        self._reflectors: tuple[tuple[str, int], ...] = ()
        self._doubts_udp_until = -math.inf
        self._links: dict[LinkNumber, Link] = {}
        self._controls: dict[LinkNumber, LinkControl] = {}  # of connected links
        self._carrier = Carrier(self._hear)
        self._voice: OutgoingVoice | None = None
        self._voice_key: SealKey | None = None
        self._keys = KeyRing()
        self._heard: dict[Ssrc, IncomingVoice] = {}
        self._conditions: dict[Ssrc, VoiceCondition] = {}
        self._forged_told: set[Ssrc] = set()
        self._doubted: set[Ssrc] = set()
        self._levels_told: dict[Ssrc, int] = {}
        self._bad_logged = 0
        self.bad_packets = 0  # of voices: forged, replayed or impossible
        self._gains: dict[Ssrc, float] = {}
        self._mixer = Mixer()
        self._ticks = Ticks(time.monotonic())
        self._skipped = 0
        self._awake = asyncio.Event()
        self._page = page = Page(self._die_of)
        self._mouth = Mouth(
            self._sound_state, lambda spec, is_wanted: open_source(spec, is_wanted, page)
        )
        self._input = Loudness()
        self._ear_is_page = False
        self._ear = Ear(self._sound_state, lambda spec: open_sink(spec, page))
        self._tasks: set[asyncio.Task[None]] = set()
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # ── commands ─────────────────────────────────────────────────────────────────────────────

    def perform(self, message: channel.Down) -> None:
        match message:
            case OpenLink(number, role, local_only):
                # Known at once: its close may stand in the same breath.
                self._links[number] = self._new_link(number, role, local_only)
                self._start(self._open(self._links[number]))
            case ConnectLink(number, ufrag, pwd, fp, cands, is_relay):
                if (link := self._links.get(number)) is not None:
                    theirs = Description(ufrag, pwd, fp, cands)
                    doubts = time.monotonic() < self._doubts_udp_until
                    self._start(link.connect(theirs, is_relay=is_relay, doubts_udp=doubts))
            case CloseLink(number):
                self._close(number)
            case SetTable():
                self._set_table(message)
            case NewVoice(sid):
                self._new_voice(sid)
            case SetVoice():
                self._set_voice(message)
            case EndVoice(sid):
                if self._voice is not None and self._voice.sid == sid:
                    self._voice = self._voice_key = None
            case SetKeys(rows):
                self._set_keys(rows)
            case SetGain(ssrc, permille):
                self._gains[ssrc] = permille / 1_000
                if permille == 1_000:  # as usual: nothing to remember of a voice that may be gone
                    del self._gains[ssrc]
            case SetInput(spec):
                # Security: closed in this very moment; a tick before the task must take nothing
                # more of a microphone that was muted, under a voice that is unmuted for a file.
                self._mouth.close()
                self._start(self._mouth.set(spec))
            case SetOutput(spec):
                self._ear_is_page = spec == "page"
                self._start(self._ear.set(spec))
            case SetReflectors(reflectors):
                self._reflectors = tuple((each.ip, each.port) for each in reflectors)
            case SetPage(token, origin):
                self._start(self._open_page(token, origin))
        self._awake.set()

    async def run(self) -> None:
        """Ticks until cancelled. Raises whatever a task died of: there is no half-life."""
        # What a datagram's callback or a library's task dies of ends us too; asyncio's own way is
        # to log it, packet after packet, and to live on deaf.
        asyncio.get_running_loop().set_exception_handler(self._loop_failed)
        ticking = asyncio.ensure_future(self._tick_on())
        try:
            await asyncio.wait([ticking, self._failed], return_when=asyncio.FIRST_COMPLETED)
            for ended in (ticking, self._failed):
                if ended.done():
                    ended.result()
        finally:
            ticking.cancel()
            self._failed.cancel()
            # Security: the microphone is closed first, whatever else may hang.
            self._mouth.close()
            self._ear.close()
            await self._page.close()
            for link in self._links.values():
                await link.close()

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or self._failed.done():
            return
        error = task.exception()
        if error is not None:
            self._die_of(error)
        self._awake.set()

    def _die_of(self, error: BaseException) -> None:
        if not self._failed.done():
            self._failed.set_exception(error)

    def _loop_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is not None:
            self._die_of(error)
        else:
            loop.default_exception_handler(context)

    async def _open_page(self, token: bytes, origin: str) -> None:
        port = await self._page.open(token, origin)
        if port is not None:
            self._say(channel.PageReady(port))

    # ── links ────────────────────────────────────────────────────────────────────────────────

    def _new_link(self, number: LinkNumber, role: channel.LinkRole, local_only: bool) -> Link:
        return Link(
            number,
            role,
            local_only=local_only,
            loopback_only=self._loopback_only,
            reflectors=self._reflectors,
            on_packet=self._packet,
            on_control=self._control,
            on_state=self._link_state,
        )

    async def _open(self, link: Link) -> None:
        number = link.number
        try:
            end = await link.open()
        except LinkError as error:
            self._link_state(number, LinkStatus.FAILED, str(error))
            return
        if number in self._links:
            self._say(channel.LocalDescription(number, end.ufrag, end.pwd, end.fp, end.cands))

    def _link_state(self, number: LinkNumber, status: LinkStatus, reason: str) -> None:
        if number not in self._links:
            return
        if status is LinkStatus.CONNECTED:
            now = time.monotonic()
            link, control = self._links[number], LinkControl(os.urandom)
            self._controls[number] = control

            def send(packet: bytes) -> None:
                link.send(packet)
                control.sent_voice(time.monotonic(), packet)

            self._carrier.add(now, number, send)
            self._awake.set()
        else:
            self._carry_no_more(number)
        is_tunnelled = status is LinkStatus.CONNECTED and self._links[number].is_tunnelled
        if is_tunnelled:
            self._doubts_udp_until = time.monotonic() + DOUBT_S
        self._say(channel.LinkState(number, status, reason[:200], is_tunnelled))

    def _close(self, number: LinkNumber) -> None:
        self._carry_no_more(number)
        link = self._links.pop(number, None)
        if link is not None:
            self._start(link.close())

    def _carry_no_more(self, number: LinkNumber) -> None:
        self._carrier.remove(number)
        self._controls.pop(number, None)

    def _set_table(self, to: SetTable) -> None:
        try:
            table = compile_table(to.epoch, to.rows, to.guarded, to.hurried, to.loudest, to.leaning)
        except TableRefused as error:
            log.error("table_refused epoch=%d error=%s", to.epoch, error)
            return
        if not self._carrier.set_table(time.monotonic(), table):
            log.warning("table_old epoch=%d", to.epoch)
            return
        heard = {row.ssrc for row in to.rows if HERE in row.sinks}
        for ssrc in self._heard.keys() - heard:
            del self._heard[ssrc]
            self._conditions.pop(ssrc, None)
            self._forged_told.discard(ssrc)
            self._doubted.discard(ssrc)
        for ssrc in heard - self._heard.keys():
            voice = self._heard[ssrc] = IncomingVoice(ssrc)
            self._keys.give(voice)

    # ── packets ──────────────────────────────────────────────────────────────────────────────

    def _packet(self, number: LinkNumber, packet: bytes) -> None:
        now = time.monotonic()
        control = self._controls.get(number)
        if control is not None:
            # Heard even if refused: a peer may talk before our table names its voice.
            self._tell_all(self._carrier.hear_voice(now, number))
            if self._carrier.receive(number, packet):
                control.received_voice(now, packet)

    def _control(self, number: LinkNumber, data: bytes) -> None:
        now = time.monotonic()
        control = self._controls.get(number)
        if control is None:
            return
        try:
            message = control.receive(now, data)
        except PeerError as error:
            log.debug("bad_control link=%d error=%s", number, error)
            return
        self._tell_all(self._carrier.hear_control(now, number, message))

    def _hear(self, ssrc: Ssrc, packet: bytes) -> None:
        voice = self._heard.get(ssrc)
        if voice is not None:
            try:
                voice.receive(time.monotonic(), packet)
            except PeerError:
                self.bad_packets += 1

    # ── voices ───────────────────────────────────────────────────────────────────────────────

    def _new_voice(self, sid: VoiceId) -> None:
        # The counter is time since the voice began, so it begins at the tick that comes next.
        self._voice = OutgoingVoice(sid, entropy=os.urandom)
        self._voice_key = None
        self._say(channel.VoiceKey(sid, self._voice.akey))

    def _set_voice(self, to: SetVoice) -> None:
        voice = self._voice
        if voice is None or voice.sid != to.sid:
            return
        if self._voice_key is None or (self._voice_key.kid, self._voice_key.base) != (
            to.kid,
            to.base,
        ):
            self._voice_key = SealKey(to.kid, to.base)
        voice.set(to.ssrc, self._voice_key, muted=to.muted, sealed=to.sealed)

    def _set_keys(self, rows: tuple[channel.VoiceKeyRow, ...]) -> None:
        self._keys.set(rows)
        for voice in self._heard.values():
            self._keys.give(voice)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    @property
    def _is_busy(self) -> bool:
        """Whether there is anything to do at a tick: idle, 50 of them a second cost 1.3 % CPU."""
        return bool(self._links) or self._mouth.is_open or self._ear.is_open

    async def _tick_on(self) -> None:
        while True:
            if not self._is_busy:
                self._awake.clear()
                await self._awake.wait()
                continue
            pause_s = self._ticks.due - time.monotonic()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
            self._tick(time.monotonic())
            if pause_s <= 0:
                await asyncio.sleep(0)  # late: packets and commands have their turn all the same

    def _tick(self, now: float) -> None:
        skipped = self._ticks.advance(now)
        if skipped:
            self._skip(skipped)
        scheduled = self._ticks.scheduled
        frame = self._mouth.frame(scheduled)
        if frame is not None:
            self._input.hear(frame)
        if self._voice is not None:
            for packet in (self._voice.next_packet(frame), self._voice.next_audit()):
                if packet is not None:
                    self._carrier.receive(HERE, packet)
        heard = [
            (voice.pull(now), self._gains.get(ssrc, 1.0)) for ssrc, voice in self._heard.items()
        ]
        if self._ear.is_open:
            self._ear.play(scheduled, self._mixer.mix(heard))
        for ssrc, voice in self._heard.items():
            self._tell_condition(ssrc, voice)
        self._keep_links(now)
        if self._ticks.index % LEVELS_EACH_TICKS == 0:
            self._tell_levels()
        if self._ticks.index % STATS_EACH_TICKS == 0:
            self._tell_stats(now)

    def _skip(self, ticks: int) -> None:
        """Time went on without us: files keep clock time, voices count it, nobody catches up."""
        self._skipped += ticks
        self._mouth.skip(ticks)
        self._ear.skip(ticks)
        if self._voice is not None:
            self._voice.skip(ticks)
        for voice in self._heard.values():
            voice.skip(ticks)

    def _keep_links(self, now: float) -> None:
        carrier = self._carrier
        loud = carrier.loud(own=self._voice is not None and self._voice.talking)
        for number, control in self._controls.items():
            for data in control.tick(
                now,
                quiet=number not in loud,
                epoch=carrier.epoch,
                is_standby=number in carrier.hurried,
                carries=number in carrier.carried,
            ):
                self._links[number].send_control(data)
        self._tell_all(carrier.tick(now))

    # ── telling control ──────────────────────────────────────────────────────────────────────

    def _tell_all(self, outputs: Iterable[CarrierOutput]) -> None:
        for output in outputs:
            match output:
                case Ask(link, kind, altogether):
                    control = self._controls.get(link)
                    if control is not None:
                        data = control.request(kind, self._carrier.epoch, altogether=altogether)
                        self._links[link].send_control(data)
                case _:
                    self._say(output)

    def _sound_state(self, condition: VoiceCondition, text: str) -> None:
        # First the figures: of a short file the end comes before the next report would.
        self._tell_stats(time.monotonic())
        self._say(channel.VoiceState(NOBODY, condition, text[:400]))

    def _tell_levels(self) -> None:
        levels = {ssrc: voice.level for ssrc, voice in self._heard.items()}
        if self._voice is not None and self._voice.ssrc is not None:
            levels[self._voice.ssrc] = self._voice.level
        if levels != self._levels_told:
            self._levels_told = levels
            self._say(channel.Levels(tuple(channel.Level(*item) for item in levels.items())))

    def _tell_condition(self, ssrc: Ssrc, voice: IncomingVoice) -> None:
        if voice.forged and ssrc not in self._forged_told:
            self._forged_told.add(ssrc)
            log.warning("voice_forged ssrc=%08x", ssrc)
            self._say(channel.AuditFailed(ssrc))
        if voice.doubted is not (ssrc in self._doubted):
            self._doubted ^= {ssrc}
            log.warning("voice_doubted ssrc=%08x now=%s", ssrc, voice.doubted)
        if voice.doubted:
            condition = VoiceCondition.UNPROVED
        elif voice.key_missing:
            condition = VoiceCondition.KEY_MISSING
        elif voice.stats.played:
            condition = VoiceCondition.FLOWING
        else:
            condition = VoiceCondition.NO_PACKETS
        if self._conditions.get(ssrc) is not condition:
            self._conditions[ssrc] = condition
            self._say(channel.VoiceState(ssrc, condition, ""))

    def _tell_stats(self, now: float) -> None:
        bad = self.bad_packets + sum(link.forged for link in self._links.values())
        if bad >= max(1, 10 * self._bad_logged):
            self._bad_logged = bad  # once, and again at ten times as many
            log.warning("bad_packets count=%d", bad)
        if self._voice is not None:
            losses = sorted(control.loss_permille for control in self._controls.values())
            # Security: the median, for one listener that lies must not spoil the voice for all.
            loss_pct = losses[len(losses) // 2] // 10 if losses else 0
            self._voice.set_loss(min(LOSS_PCT_MAX, loss_pct))
        for number, control in self._controls.items():
            self._carrier.set_jitter(number, control.jitter_us / 1e6)
        self._say(
            channel.Stats(
                _age_us(now, self._mouth.began_s),
                _age_us(now, self._ear.began_s),
                self._skipped,
                tuple(_voice_stats(ssrc, voice) for ssrc, voice in self._heard.items()),
                tuple(self._link_stats(number) for number in self._controls),
                self._input.loudest_dbov,
                self._input.loud_frames,
                not self._ear_is_page or self._page.connection is not None,
            )
        )

        self._input = Loudness()

    def _link_stats(self, number: LinkNumber) -> channel.LinkStats:
        counts, control = self._carrier.counts(number), self._controls[number]
        return channel.LinkStats(
            number,
            counts.sent,
            counts.received,
            counts.refused,
            counts.malformed + self._links[number].forged,
            control.rtt_us,
            control.loss_permille,
            control.jitter_us,
        )


def _voice_stats(ssrc: Ssrc, voice: IncomingVoice) -> channel.VoiceStats:
    stats = voice.stats
    return channel.VoiceStats(
        ssrc,
        stats.played,
        stats.recovered,
        stats.concealed,
        stats.late,
        stats.grown,
        stats.dropped,
        stats.buffered_us,
        stats.jitter_us,
    )


def _age_us(now: float, began_s: float | None) -> int:
    return -1 if began_s is None else max(0, int((now - began_s) * 1e6))


# ── the process ──────────────────────────────────────────────────────────────────────────────


class _Control:
    """The socket to control. Full, it leaves out news and then gives control up for dead."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer

    def say(self, message: channel.Up) -> None:
        unread = self._writer.transport.get_write_buffer_size()
        if unread > NEWS_BYTES_MAX and isinstance(message, channel.Levels | channel.Stats):
            return
        if unread > UNREAD_BYTES_MAX:
            log.error("control_reads_no_more unread=%d", unread)
            self._writer.transport.abort()  # the reader ends, and with it the process
            return
        self._writer.write(channel.encode(message))


async def serve(sock: socket.socket, *, loopback_only: bool) -> None:
    """Does what control says until it says no more; then everything is closed."""
    reader, writer = await asyncio.open_connection(sock=sock)
    control = _Control(writer)
    engine = Engine(control.say, loopback_only=loopback_only)
    control.say(channel.Started(CHANNEL_VERSION))
    running = asyncio.ensure_future(engine.run())
    reading = asyncio.ensure_future(_read(reader, engine))
    try:
        done, _ = await asyncio.wait([running, reading], return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        reading.cancel()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        writer.close()


async def _read(reader: asyncio.StreamReader, engine: Engine) -> None:
    frames = channel.FrameReader("down")
    with suppress(ConnectionError):  # control was killed: an end like any other
        while data := await reader.read(READ_BYTES):
            for message in frames.feed(data):
                engine.perform(message)  # type: ignore[arg-type]  # a reader of "down" gives Down


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fd", type=int)
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--log", default="WARNING")
    arguments = parser.parse_args()
    logging.basicConfig(
        level=arguments.log, format="%(asctime)s %(levelname).1s %(name)s %(message)s"
    )
    # Security: at level info these name every address they try.
    for name in ("aioice", "aiortc"):
        logging.getLogger(name).setLevel(logging.ERROR)
    # What is imported stays: scanned again and again it would hold up a tick for 20 ms.
    gc.collect()
    gc.freeze()
    # Ctrl-C reaches the whole terminal; the end of this process is control's to decide.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    asyncio.run(serve(socket.socket(fileno=arguments.fd), loopback_only=arguments.loopback))


if __name__ == "__main__":
    main()
