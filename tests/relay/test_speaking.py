"""A guest who speaks among nodes, in the media process: a member with a link to the room's hub,
which is the same process, and a voice that a node opens as anybody's."""

import asyncio
import struct
import time
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

from p2phouse.carry.pace import PACKETS_AT_ONCE_MAX, PACKETS_PER_S_MAX
from p2phouse.channel import (
    CloseLink,
    ConnectLink,
    EndVoice,
    GuestRole,
    LinkRole,
    LinkState,
    LinkStatus,
    LocalDescription,
    NewVoice,
    OpenGuest,
    OpenLink,
    PortReady,
    SetTable,
    SetVoice,
    TableRow,
    VoiceKey,
)
from p2phouse.link.port import Port
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc, VoiceId
from p2phouse.voice.incoming import IncomingVoice
from p2phouse.voice.opus import Encoder
from p2phouse.voice.packet import PT_OPUS, peek_ssrc
from p2phouse.voice.plain import Plain
from p2phouse.voice.seal import SealKey
from p2phouse_relay.media import Media
from p2phouse_relay.speaking import Speaker
from tests.link.browser import Browser, new_credentials
from tests.relay import test_links
from tests.relay.test_links import Node, run
from tests.voice.speech import tone

ONE, HUB, ZOE, GUEST = (LinkNumber(number) for number in (1, 20, 21, 9))
ROOM = 1
SSRC, SID, KID, BASE = Ssrc(77), VoiceId(bytes(16)), 3, bytes(range(16))


class Relay(test_links.Relay):
    """As there, with a second port once it is asked for."""

    def __init__(self, host: str, *, stays_near: bool = False) -> None:
        super().__init__(host, stays_near=stays_near)
        self.more: list[Port] = []
        self.browsers: list[Browser] = []
        self.media = Media(self.said.append, [self.port], open_more=self._open_more)

    def _open_more(self) -> Sequence[Port]:
        self.more = [Port("127.0.0.1", 0)]
        return self.more

    async def run(self) -> None:
        try:
            while True:
                now_s = time.monotonic()
                self.media.peers.read(now_s, 0)
                if self.more:
                    self.media.speaking.read(now_s, 0)
                self.media.peers.work(now_s)
                self.media.speaking.work(now_s)
                self.media.tick(now_s)
                for browser in self.browsers:
                    browser.act()
                await asyncio.sleep(0.001)
        finally:
            for port in self.more:
                port.close()
            for browser in self.browsers:
                browser.close()

    def describe(self, message: OpenLink) -> LocalDescription:
        self.media.perform(message)
        said = self.said[-1]
        assert isinstance(said, LocalDescription)
        return said

    async def meet_ourselves(self) -> None:
        """The link of the guest's member to the hub."""
        theirs = self.describe(OpenLink(ZOE, LinkRole.OFFERER, local_only=False, room=-GUEST))
        ours = self.describe(OpenLink(HUB, LinkRole.ANSWERER, local_only=False, room=ROOM))
        for link, end in ((HUB, theirs), (ZOE, ours)):
            self.media.perform(ConnectLink(link, end.ufrag, end.pwd, end.fp, end.cands))
        up = [LinkState(link, LinkStatus.CONNECTED, "") for link in (HUB, ZOE)]
        await self.until(lambda: all(each in self.said for each in up))

    def begin_voice(self) -> bytes:
        """Its audits' key."""
        self.media.perform(NewVoice(SID, -GUEST))
        said = self.said[-1]
        assert isinstance(said, VoiceKey)
        self.media.perform(SetVoice(SID, SSRC, KID, BASE, False, False, -GUEST))
        own = TableRow(HERE, SSRC, (), (ZOE,))
        self.media.perform(SetTable(1, (own,), room=-GUEST))
        return said.akey


class Guest:
    """An encoder, with a line to the relay's port as a browser has one."""

    def __init__(self, relay: Relay) -> None:
        ready = [each for each in relay.said if isinstance(each, PortReady)][-1]
        ours = new_credentials()
        at = ("127.0.0.1", relay.port.number)
        self.browser = Browser("zoe", at, ours, ready.fp)
        relay.browsers.append(self.browser)
        theirs, fp = self.browser.ours, self.browser.identity.fingerprint
        role = GuestRole.SPEAKER
        relay.media.perform(OpenGuest(GUEST, -GUEST, role, *ours, *theirs, fp, PT_OPUS, ()))
        self._encoder = Encoder(dtx=False, constant=False)
        self.count = 0

    async def come(self, relay: Relay) -> None:
        self.browser.check()
        connected = LinkState(GUEST, LinkStatus.CONNECTED, "")
        await relay.until(lambda: self.browser.is_connected and connected in relay.said)

    def says(self, frames: int = 1) -> None:
        for _ in range(frames):
            self.count += 1
            self.browser.speak(self._encoder.encode(tone(self.count)), seq=self.count)


def an_ear(akey: bytes) -> IncomingVoice:
    ear = IncomingVoice(SSRC)
    ear.set_keys([SealKey(KID, BASE)])
    ear.set_akey(akey)
    return ear


async def begin(relay: test_links.Relay) -> tuple[Relay, Node, IncomingVoice, Guest]:
    """Ana, whom the hub brings the guest's voice, how she opens it, and the guest."""
    assert isinstance(relay, Relay)
    ana = await relay.join(room=ROOM)
    await relay.meet_ourselves()
    ear = an_ear(relay.begin_voice())
    relay.set_rows(TableRow(HUB, SSRC, (), (ONE,)), room=ROOM)
    guest = Guest(relay)
    await guest.come(relay)
    return relay, ana, ear, guest


def test_a_guest_is_a_voice_to_nodes_and_no_more_than_one(monkeypatch):
    async def test(made: test_links.Relay) -> None:
        relay, ana, ear, guest = await begin(made)
        for _ in range(60):
            guest.says()
            await asyncio.sleep(0.005)
        await relay.until(lambda: sum(each[1] & 0x7F == PT_OPUS for each in ana.packets) == 60)
        assert {peek_ssrc(each) for each in ana.packets} == {SSRC}
        frames = [ear.receive(0.0, each) for each in ana.packets]
        assert sum(frames) == 60
        assert len(frames) > 60, "and its audits"
        ana.packets.clear()
        began_s = time.monotonic()
        for _ in range(20):
            guest.says(50)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.5)
        most = PACKETS_AT_ONCE_MAX + PACKETS_PER_S_MAX * (time.monotonic() - began_s)
        assert 0 < len(ana.packets) <= most

    monkeypatch.setattr(test_links, "Relay", Relay)
    run(test)


def test_of_a_guest_nothing_is_sealed_beyond_a_voice_or_that_is_none():
    """Security: what a hub would drop costs us no seal either."""
    said: list[Plain] = []
    speaking = SimpleNamespace(say=lambda now_s, room, packet: said.append(packet))
    guest = OpenGuest(GUEST, -GUEST, GuestRole.SPEAKER, "", "", "", "", bytes(32), PT_OPUS, ())
    speaker = Speaker(guest, speaking)  # type: ignore[arg-type]  # as much of it as is used
    rtp = struct.pack("!BBHII", 0x80, PT_OPUS, 1, 0, 7) + b"opus"
    speaker.receive(0.0, GUEST, rtp[:1] + bytes([PT_OPUS + 1]) + rtp[2:])
    speaker.receive(0.0, GUEST, b"no RTP")
    assert said == []
    for _ in range(2 * PACKETS_AT_ONCE_MAX):
        speaker.receive(1.0, GUEST, rtp)
    assert len(said) == PACKETS_AT_ONCE_MAX


def test_when_its_voice_or_its_link_has_ended_a_guest_says_nothing_more(monkeypatch):
    """Security: muted by its member as well."""

    async def test(made: test_links.Relay) -> None:
        relay, ana, _, guest = await begin(made)
        guest.says()
        await relay.until(lambda: bool(ana.packets))
        ana.packets.clear()
        came: list[Plain] = []
        say = relay.media.speaking.say

        def count(now_s: float, room: int, packet: Plain) -> None:
            came.append(packet)
            say(now_s, room, packet)

        monkeypatch.setattr(relay.media.speaking, "say", count)
        muted = SetVoice(SID, SSRC, KID, BASE, True, False, -GUEST)
        for message in (
            muted,
            replace(muted, muted=False, sid=VoiceId(b"\1" * 16)),  # of another
            EndVoice(SID, -GUEST),
        ):
            relay.media.perform(message)
            guest.says(3)
            await relay.until(lambda: len(came) == 3)
            came.clear()
        await asyncio.sleep(0.2)
        assert [each for each in ana.packets if each[1] & 0x7F == PT_OPUS] == []
        for link in (ZOE, HUB):
            relay.media.perform(CloseLink(link))
        assert ZOE not in relay.media.speaking

    monkeypatch.setattr(test_links, "Relay", Relay)
    run(test)
