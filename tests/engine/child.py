"""A media process without control: the test speaks channel.py to it and reads what it says."""

import os
import select
import socket
import subprocess
import sys
import time
from collections import deque
from pathlib import Path

from p2phouse import channel
from p2phouse.channel import LinkRole, LinkStatus
from p2phouse.room.keys import key_id, open_secret, sender_base
from p2phouse.vocabulary import HERE, DeviceKey, LinkNumber, RoomId, Ssrc, VoiceId
from tests.e2e import witness

ROOM = RoomId(bytes(32))
WAIT_S_MAX = 20.0


class MediaChild:
    """One engine. `say` tells it something, `next` waits for something it says."""

    def __init__(self, name: str = "media", opened: Path | None = None):
        """opened: where it writes down each packet that it opens (tests/e2e/witness.py)."""
        ours, theirs = socket.socketpair()
        module = "p2phouse.engine" if opened is None else witness.__name__
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, str(theirs.fileno()), "--loopback"],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=os.environ | ({} if opened is None else {witness.WITNESS: str(opened)}),
            )
        self.name = name
        self.socket = ours
        self.sid = VoiceId(os.urandom(16))
        self.ssrc = Ssrc(int.from_bytes(os.urandom(4)))
        self.dev = DeviceKey(os.urandom(32))
        self.akey = bytes(32)  # until `speak`
        self._frames = channel.FrameReader("up")
        self._heard: deque[channel.Up] = deque()
        self._epoch = 0
        self.stats_at = 0.0  # our clock at the last Stats
        self.next(channel.Started)

    def say(self, *messages: channel.Down) -> None:
        for message in messages:
            self.socket.sendall(channel.encode(message))

    def next(self, kind, within_s=WAIT_S_MAX, **wanted):
        """The next message of that kind with those fields; the others are kept."""
        end = time.monotonic() + within_s
        while True:
            for message in self._heard:
                if isinstance(message, kind) and all(
                    getattr(message, name) == value for name, value in wanted.items()
                ):
                    self._heard.remove(message)
                    return message
            left = end - time.monotonic()
            assert left > 0, f"{self.name} never said {kind.__name__} {wanted}"
            if select.select([self.socket], [], [], left)[0]:
                data = self.socket.recv(65_536)
                assert data, f"{self.name} ended: {self.last_words()}"
                self._heard.extend(self._frames.feed(data))  # type: ignore[arg-type]  # all Up

    def latest_stats(self) -> channel.Stats:
        """The next report from now on, and when it came."""
        while any(isinstance(message, channel.Stats) for message in self._heard):
            self.next(channel.Stats)
        stats: channel.Stats = self.next(channel.Stats)
        self.stats_at = time.monotonic()
        return stats

    def last_words(self) -> str:
        self.process.wait(10)
        assert self.process.stderr is not None
        return self.process.stderr.read().decode()

    def end(self) -> int:
        """Control is gone: what the process makes of it."""
        self.socket.close()
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            assert self.process.stderr is not None
            self.process.stderr.close()

    # ── voices and tables ────────────────────────────────────────────────────────────────────

    @property
    def key(self) -> channel.VoiceKeyRow:
        base = sender_base(open_secret(ROOM), room=ROOM, epoch=0, dev=self.dev, sid=self.sid)
        return channel.VoiceKeyRow(self.ssrc, key_id(epoch=0, slot=1), base, self.akey)

    def speak(self, *, muted: bool = False, sealed: bool = False) -> None:
        """Gives it its voice; a sealed one sends a packet each 20 ms, whatever it hears."""
        self.say(channel.NewVoice(self.sid))
        self.akey = self.next(channel.VoiceKey, sid=self.sid).akey
        key = self.key
        self.say(channel.SetVoice(self.sid, key.ssrc, key.kid, key.base, muted, sealed))

    def set_table(
        self,
        *rows: channel.TableRow,
        guarded: LinkNumber | None = None,
        hurried: tuple[LinkNumber, ...] = (),
        loudest: int = 0,
    ) -> None:
        self._epoch += 1
        self.say(channel.SetTable(self._epoch, rows, guarded, hurried, loudest))

    def mesh(self, number: LinkNumber, other: "MediaChild") -> None:
        """The rows of a mesh of two."""
        self.say(channel.SetKeys((other.key,)))
        self.set_table(
            channel.TableRow(HERE, self.ssrc, (), (number,)),
            channel.TableRow(number, other.ssrc, (), (HERE,)),
        )


def connect(a: MediaChild, b: MediaChild, at_a: int = 1, at_b: int = 1) -> None:
    """A link between two engines, numbered as each end likes."""
    first, second = LinkNumber(at_a), LinkNumber(at_b)
    a.say(channel.OpenLink(first, LinkRole.OFFERER, False))
    b.say(channel.OpenLink(second, LinkRole.ANSWERER, False))
    to_b = a.next(channel.LocalDescription, link=first)
    to_a = b.next(channel.LocalDescription, link=second)
    a.say(channel.ConnectLink(first, to_a.ufrag, to_a.pwd, to_a.fp, to_a.cands))
    b.say(channel.ConnectLink(second, to_b.ufrag, to_b.pwd, to_b.fp, to_b.cands))
    for child, number in ((a, first), (b, second)):
        assert child.next(channel.LinkState, link=number).status is LinkStatus.CONNECTED
