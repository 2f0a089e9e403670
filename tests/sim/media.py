"""A media process reduced to what control sees of it: links that come up, fall silent and end.

What goes where, what is silent and who is pulled is decided by the shipped `carry.Carrier`, fed
by keepalives and packets that the wire may lose. The work of ICE, DTLS and Opus is only timed;
who is made to talk sends a packet each 20 ms.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from p2phouse import channel
from p2phouse.carry.carrier import Ask, Carrier, CarrierOutput
from p2phouse.carry.rtcp import Keepalive, Request
from p2phouse.carry.table import Table, compile_table
from p2phouse.channel import LinkRole, LinkStatus, VoiceCondition
from p2phouse.vocabulary import FRAME_SAMPLES, HERE, LinkNumber, Ssrc
from p2phouse.voice import packet
from p2phouse.voice.packet import PT_OPUS, Packet

if TYPE_CHECKING:
    from tests.sim.world import Node, World

GATHER_S = 0.02  # ICE gathering on a LAN
CONNECT_ROUND_TRIPS = 4  # a STUN check, then three flights of DTLS
CONNECT_S_MAX = 10.0  # link/ice.py
CONSENT_S_MAX = 3.4  # link/ice.py
KEEPALIVE_S = 0.2  # carry/control.py
BRISK_S = 0.02  # the same, to a standby and while somebody talks
TICK_S = 0.02  # engine.py
KEYS_MAX = 2  # voice/incoming.py


@dataclass(slots=True)
class Link:
    number: LinkNumber
    ufrag: str
    role: LinkRole
    local_only: bool
    remote: str | None = None  # ufrag of the other end, once told
    up: bool = False
    consent_s: float = 0.0  # when its other end last answered
    said_s: float = -1.0  # when a voice or a keepalive last went out


@dataclass(eq=False, slots=True)
class Media:
    """One life of the process."""

    node: "Node"
    world: "World"
    is_known: bool = True  # control has heard that the process before it died
    alive: bool = True
    links: dict[LinkNumber, Link] = field(default_factory=dict)
    carrier: Carrier = field(init=False)
    table: Table = field(default_factory=Table.empty)
    keys: dict[Ssrc, list[channel.VoiceKeyRow]] = field(default_factory=dict)
    voice: channel.SetVoice | None = None
    sid: bytes | None = None
    input: str = "none"
    output: str = "none"
    _keepalive_s: float = 0.0
    _ticks_at: float = -1.0
    _inputs: int = 0  # how many there were
    _measures: bool = False
    talks: bool = False
    _seq: int = 100  # of our voice
    sent: dict[tuple[Ssrc, int], bytes] = field(default_factory=dict)  # all of ours
    heard: dict[tuple[Ssrc, int], float] = field(default_factory=dict)  # when each came to our ear

    def __post_init__(self) -> None:
        self.carrier = Carrier(self._to_ear)

    # ── commands ─────────────────────────────────────────────────────────────────────────────

    def perform(self, message: channel.Down) -> None:
        world = self.world
        match message:
            case channel.OpenLink(number, role, local_only):
                assert number > self.node.last_link, "a link number is used again"
                self.node.last_link = number
                ufrag = f"u{next(world.numbers)}"
                link = self.links[number] = Link(number, ufrag, role, local_only)
                world.ends[ufrag] = (self, link)
                told = channel.LocalDescription(number, ufrag, "p" * 22, bytes(32), ())
                self.say_later(GATHER_S, told)
            case channel.ConnectLink(number, ufrag):
                if number in self.links:
                    self.links[number].remote = ufrag
                    self._connect(self.links[number])
            case channel.CloseLink(number):
                self._close(number)
            case channel.SetTable(epoch, rows):
                self._measure_again()
                table = compile_table(
                    epoch, rows, message.guarded, message.hurried, message.loudest, message.leaning
                )
                assert self.carrier.set_table(world.time, table), "an old table"
                self.table = table
                self._tick_again()
            case channel.SetKeys(keys):
                self.keys = {row.ssrc: [] for row in keys}
                for row in keys:
                    self.keys[row.ssrc].append(row)
                assert all(len(rows) <= KEYS_MAX for rows in self.keys.values())
            case channel.NewVoice(sid):
                assert sid not in self.node.sids, "a sid used again would use a nonce again"
                self.node.sids.append(sid)
                self.sid, self.voice = sid, None
                self.say_later(0.001, channel.VoiceKey(sid, bytes(32)))
            case channel.SetVoice(sid):
                if sid == self.sid:
                    self.voice = message
            case channel.EndVoice(sid):
                if sid == self.sid:
                    self.voice = None
            case channel.SetInput(spec):
                self._set_input(spec)
            case channel.SetOutput(spec):
                self.output = spec

    def _set_input(self, spec: str) -> None:
        """`file:…` lasts for two seconds; any other input goes on."""
        self.input = spec
        self._inputs += 1
        number = self._inputs
        if not spec.startswith("file:"):
            return

        def end() -> None:
            if self._inputs == number:
                self.input = "none"
                self.say(channel.VoiceState(Ssrc(0), VoiceCondition.INPUT_ENDED, ""))

        self.say_later(TICK_S, channel.VoiceState(Ssrc(0), VoiceCondition.INPUT_STARTED, ""))
        self.world.after(2.0, end)

    def say(self, message: channel.Up) -> None:
        if self.alive and self.node.alive and self.node.media is self:
            self.node.hear(self.node.dev, message)

    def say_later(self, delay_s: float, message: channel.Up) -> None:
        self.world.after(delay_s, lambda: self.say(message))

    # ── links ────────────────────────────────────────────────────────────────────────────────

    def _connect(self, link: Link) -> None:
        wait_s = CONNECT_ROUND_TRIPS * self.world.round_trip_s()
        self.world.after(wait_s, lambda: self._try_path(link, CONNECT_S_MAX - wait_s))

    def _try_path(self, link: Link, left_s: float) -> None:
        if self.links.get(link.number) is not link or link.up or not self.alive:
            return
        found = self.other_end(link)
        if found is not None and self.world.carries_sound(self.node, found[0].node):
            for media, end in ((self, link), found):
                if not end.up:
                    media.connected(end)
        elif left_s > 0:
            self.world.after(0.5, lambda: self._try_path(link, left_s - 0.5))
        else:
            self.say(channel.LinkState(link.number, LinkStatus.FAILED, "no path"))

    def connected(self, link: Link) -> None:
        link.up = True
        link.consent_s = self.world.time
        self.carrier.add(self.world.time, link.number, lambda data: self._send(link, data))
        self.say(channel.LinkState(link.number, LinkStatus.CONNECTED, ""))
        self._tick_again()

    def _close(self, number: LinkNumber) -> None:
        link = self.links.get(number)
        if link is None:
            return
        found = self.other_end(link)
        del self.links[number]
        self.carrier.remove(number)
        if found is not None and self.world.passes(self.node, found[0].node):
            media, end = found
            self.world.after(self.world.delay_s(), lambda: media.lose(end, "closed by the peer"))

    def lose(self, link: Link, reason: str) -> None:
        if self.alive and self.links.get(link.number) is link and link.up:
            link.up = False
            self.carrier.remove(link.number)
            self.say(channel.LinkState(link.number, LinkStatus.LOST, reason))

    def other_end(self, link: Link) -> "tuple[Media, Link] | None":
        found = self.world.ends.get(link.remote or "")
        if found is None:
            return None
        media, end = found
        lives = media.alive and media.links.get(end.number) is end
        return found if lives and end.remote == link.ufrag else None

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def _tick_again(self) -> None:
        """At the tick of 20 ms on which repair or a keepalive is due."""
        if not any(link.up for link in self.links.values()):
            return
        due = min(self.carrier.deadline, self._keepalive_s + KEEPALIVE_S)
        if self.talks or self.carrier.hurried:
            due = self.world.time + TICK_S / 2
        at = max(self.world.time + 1e-9, due)
        at += -at % TICK_S
        if self.world.time < self._ticks_at <= at:
            return
        self._ticks_at = at
        self.world.after(at - self.world.time, self._tick)

    def _tick(self) -> None:
        if not self.alive or not self.node.alive or self.world.time < self._ticks_at:
            return
        if self.world.time >= self._keepalive_s + KEEPALIVE_S:
            self._keepalive_s = self.world.time
            self._keep_links()
        if self.talks:
            self._speak()
        self._do(self.carrier.tick(self.world.time))
        self._hurry()
        self._tick_again()

    def _keep_links(self) -> None:
        for link in list(self.links.values()):
            found = self.other_end(link) if link.up else None
            if found is None or not found[1].up:
                continue
            media, _ = found
            # Of five questions in a second one is ICE's; its answer has to come back too.
            if self._keepalive(link) and self.world.passes(media.node, self.node):
                link.consent_s = self.world.time
        for link in list(self.links.values()):
            if link.up and self.world.time - link.consent_s > CONSENT_S_MAX:
                self.lose(link, "the other end answers no more")

    def _keepalive(self, link: Link) -> bool:
        link.said_s = self.world.time
        quiet = link.number not in self.carrier.loud(own=self.talks)
        carries = link.number in self.carrier.carried
        return self._say_on(link, Keepalive(quiet, self.carrier.epoch, carries))

    def _hurry(self) -> None:
        """Keepalives within 20 ms of the last voice, and each 20 ms to who stands by for us."""
        loud = self.carrier.loud(own=self.talks) if self.world.is_talking else set()
        for number in {*self.carrier.hurried, *loud}:
            link = self.links.get(number)
            if link is not None and link.up and link.said_s <= self.world.time - BRISK_S + 1e-9:
                self._keepalive(link)

    def _say_on(self, link: Link, said: Keepalive | Request) -> bool:
        """Whether it got through."""
        found = self.other_end(link) if link.up else None
        if found is None or not self.world.passes(self.node, found[0].node):
            return False
        media, end = found
        self.world.after(self.world.way_s(self.node, media.node), lambda: media.hear(end, said))
        return True

    def hear(self, link: Link, said: Keepalive | Request) -> None:
        if self.alive and self.node.alive and self.links.get(link.number) is link and link.up:
            self._do(self.carrier.hear_control(self.world.time, link.number, said))
            self._tick_again()

    def _do(self, outputs: Iterable[CarrierOutput]) -> None:
        for output in outputs:
            if not isinstance(output, Ask):
                self.say(output)
            elif output.link in self.links:
                request = Request(output.kind, self.carrier.epoch, output.altogether)
                self._say_on(self.links[output.link], request)

    # ── packets ──────────────────────────────────────────────────────────────────────────────

    def _speak(self) -> None:
        """The packet of one frame of ours."""
        voice = self.voice
        if voice is None or voice.muted:
            return
        self._seq += 1
        time = self._seq * FRAME_SAMPLES
        data = packet.build(
            Packet(PT_OPUS, False, self._seq, time, voice.ssrc, 30, True, bytes(voice.sid))
        )
        self.sent[voice.ssrc, self._seq] = data
        self.world.spoken[voice.ssrc, self._seq] = (self.world.time, data)
        self.carrier.receive(HERE, data)

    def _send(self, link: Link, data: bytes) -> None:
        link.said_s = self.world.time
        found = self.other_end(link) if link.up else None
        if found is not None and self.world.passes(self.node, found[0].node):
            media, end = found
            self.world.after(self.world.way_s(self.node, media.node), lambda: media.take(end, data))

    def take(self, link: Link, data: bytes) -> None:
        """A packet came on a link."""
        if not self.alive or not self.node.alive or self.links.get(link.number) is not link:
            return
        # M2: whatever way it came, it is as it was sent.
        parsed = packet.parse(data)
        assert self.world.spoken[parsed.ssrc, parsed.seq][1] == data
        self._do(self.carrier.hear_voice(self.world.time, link.number))
        self.carrier.receive(link.number, data)
        self._tick_again()

    def _to_ear(self, ssrc: Ssrc, data: bytes) -> None:
        self.heard.setdefault((ssrc, packet.parse(data).seq), self.world.time)

    def talk(self, *, on: bool) -> None:
        """Says something, or stops; heard if its core has unmuted us."""
        self.talks = on
        self.world.is_talking = self.world.is_talking or on
        self._tick_again()

    def _measure_again(self) -> None:
        """Stats each second, if anybody here may carry: else nobody asks for them."""
        if self._measures or not self.node.measures:
            return
        self._measures = True

        def measure() -> None:
            if self.alive and self.node.alive and self.node.media is self:
                self.say(self._stats())
                self.world.after(1.0, measure)

        self.world.after(1.0, measure)

    def _stats(self) -> channel.Stats:
        links, lost = [], self.node.loses_permille
        for link in self.links.values():
            found = self.other_end(link) if link.up else None
            if found is not None:
                rtt_us = round(2e6 * self.world.apart_s(self.node, found[0].node))
                links.append(channel.LinkStats(link.number, 0, 0, 0, 0, rtt_us, lost, 0))
        return channel.Stats(-1, -1, 0, (), tuple(links))

    # ── what a person would find ─────────────────────────────────────────────────────────────

    def way_to(self, other: "Media") -> tuple[LinkNumber, LinkNumber] | None:
        """The numbers of the connected link to another media process, at either end."""
        for link in self.links.values():
            found = self.other_end(link) if link.up else None
            if found is not None and found[0] is other and found[1].up:
                return link.number, found[1].number
        return None

    def plays(self, other: "Media") -> bool:
        """Would a packet of the other's voice reach our ear and open there?"""
        voice = other.voice
        if voice is None:
            return False
        keys = self.keys.get(voice.ssrc, [])
        fits = any((key.kid, key.base) == (voice.kid, voice.base) for key in keys)
        return fits and self in other.reached(voice.ssrc)

    def reached(self, ssrc: Ssrc) -> "list[Media]":
        """Those at whose ear a packet of our voice arrives, by all tables on its way."""
        ears, seen, todo = [], {(self, HERE)}, [(self, HERE)]
        while todo:
            media, ingress = todo.pop()
            way = media.table.way(ingress, ssrc)
            for sink in way.sinks if way is not None else ():
                if sink == HERE:
                    ears.append(media)
                    continue
                link = media.links.get(sink)
                found = media.other_end(link) if link is not None and link.up else None
                if found is None or not self.world.carries_sound(media.node, found[0].node):
                    continue
                step = (found[0], found[1].number)
                if found[1].up and step not in seen:
                    seen.add(step)
                    todo.append(step)
        return ears
