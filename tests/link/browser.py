"""The other end of a port: a full ICE agent with socket, certificate and SRTP, as browsers have.

Nothing of it waits: `act` reads what has come and answers. `meet` lets a browser and our side take
turns until something is so.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence

from aioice import stun

from p2phouse.link.handshake import PROFILES, Handshake, Identity, Profile
from p2phouse.link.lite import Credentials
from p2phouse.link.srtp import Receiving, new, open_sending, protect, protect_control, read
from p2phouse.vocabulary import Ssrc
from p2phouse.voice.packet import PT_OPUS
from p2phouse.voice.plain import Plain, build

MEET_S_MAX = 10.0


def credentials(name: str) -> Credentials:
    return Credentials(name, f"password of {name}".replace(" ", "+"))


def check(
    ours: Credentials,
    theirs: Credentials,
    *,
    nominate: bool = True,
    controlling: bool = True,
    pwd: str | None = None,
) -> bytes:
    """A connectivity check as `ours` sends it to `theirs`. pwd: another password than theirs."""
    request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST)
    request.attributes["USERNAME"] = f"{theirs.ufrag}:{ours.ufrag}"
    request.attributes["PRIORITY"] = 1
    request.attributes["ICE-CONTROLLING" if controlling else "ICE-CONTROLLED"] = 7
    if nominate:
        request.attributes["USE-CANDIDATE"] = None
    request.add_message_integrity((theirs.pwd if pwd is None else pwd).encode())
    return bytes(request)


class Browser:
    def __init__(
        self,
        name: str,
        relay: tuple[str, int],
        theirs: Credentials,
        relay_fp: bytes,
        profiles: Sequence[Profile] = PROFILES,
    ) -> None:
        self.identity = Identity(profiles)
        self.ours = credentials(name)
        self.theirs = theirs
        self.relay = relay
        self.tls = Handshake(self.identity, is_server=False, fingerprint=relay_fp)
        self.answered: list[stun.Message] = []  # what came to our checks
        self.asked = 0  # checks that came to us
        self.answers_checks = True
        self.shakes_hands = True
        self.stalls = False  # says no more after its first flight
        self.packets: list[bytes] = []  # that opened
        self.controls: list[bytes] = []  # RTCP that opened
        self.unread: list[bytes] = []  # SRTP that came before the keys or did not open
        self.late: list[bytes] = []  # DTLS that came after the keys
        self.socket = self.bind()
        self._begun = False
        self._receiving: Receiving | None = None
        self._seq = 100

    def bind(self) -> socket.socket:
        host = self.relay[0]  # all of these tests stay on one machine
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_DGRAM)
        sock.bind((host, 0))
        sock.setblocking(False)
        return sock

    def move(self) -> None:
        """Another network: the old socket is gone."""
        self.socket.close()
        self.socket = self.bind()

    def close(self) -> None:
        self.socket.close()

    @property
    def address(self) -> tuple[str, int]:
        name: tuple[str, int] = self.socket.getsockname()
        return name

    @property
    def is_connected(self) -> bool:
        return self.tls.keys is not None

    def check(self, *, nominate: bool = True) -> None:
        self.send(check(self.ours, self.theirs, nominate=nominate))

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.relay)

    def shake(self) -> None:
        """The first flight."""
        self._begun = True
        for data in self.tls.begin():
            self.send(data)

    def act(self) -> None:
        while True:
            try:
                data = self.socket.recv(4_096)
            except BlockingIOError:
                return
            if data[0] < 4:
                self._stun(stun.parse_message(data))
            elif data[0] < 64:
                self._dtls(data)
            else:
                self._srtp(data)

    def speak(self, payload: bytes = b"\x78opus", *, ssrc: int = 5, seq: int | None = None) -> None:
        if seq is None:
            self._seq += 1
            seq = self._seq
        packet = build(Plain(PT_OPUS, False, seq, 960 * seq, Ssrc(ssrc), 30, payload))
        self.send(self.protect(packet))

    def protect(self, packet: bytes) -> bytes:
        assert self.tls.keys is not None
        if not hasattr(self, "_sending"):
            self._sending = open_sending(self.tls.keys)
        row, size = new("char[]", 2_000), new("int *", len(packet))
        row[0 : len(packet)] = packet
        assert protect(self._sending, row, size) == 0
        return read(row, size[0])

    def _stun(self, message: stun.Message) -> None:
        if message.message_class is not stun.Class.REQUEST:
            self.answered.append(message)
            if message.message_class is stun.Class.RESPONSE and not self._begun:
                assert message.check_message_integrity(self.theirs.pwd.encode())
                if self.shakes_hands:
                    self.shake()
            return
        self.asked += 1
        if self.answers_checks:
            assert message.check_message_integrity(self.ours.pwd.encode())
            answer = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, message.transaction_id)
            answer.attributes["XOR-MAPPED-ADDRESS"] = self.relay
            answer.add_message_integrity(self.ours.pwd.encode())
            self.send(bytes(answer))

    def _dtls(self, data: bytes) -> None:
        if self.stalls:
            return
        if self.is_connected:
            self.late.append(data)
            return
        for each in self.tls.receive(data):
            self.send(each)
        if self.tls.keys is not None:
            self._receiving = Receiving(self.tls.keys)

    def _srtp(self, data: bytes) -> None:
        is_control = 192 <= data[1] < 224
        plain = None
        if self._receiving is not None:
            plain = (self._receiving.open_control if is_control else self._receiving.open)(data)
        if plain is None:
            self.unread.append(data)
        else:
            (self.controls if is_control else self.packets).append(plain)

    def report(self, data: bytes) -> None:
        """Sends this RTCP."""
        assert self.tls.keys is not None
        if not hasattr(self, "_sending"):
            self._sending = open_sending(self.tls.keys)
        protected = protect_control(self._sending, data)
        assert protected is not None
        self.send(protected)


def meet(turn: Callable[[], None], until: Callable[[], bool], seconds: float = MEET_S_MAX) -> bool:
    """Turns until it is so, or for so long; whether it is."""
    end_s = time.monotonic() + seconds
    while not until():
        if time.monotonic() > end_s:
            return False
        turn()
        time.sleep(0.0005)  # the datagrams of loopback are there by then
    return True


def new_credentials() -> Credentials:
    return Credentials(os.urandom(4).hex(), os.urandom(12).hex())
