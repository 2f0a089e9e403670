"""One guest of a crowd on its way in: offer, answer, check, handshake, keys. Nothing here waits.

A full ICE agent with one candidate, on a socket of its own. Once it is in, only the crowd's loop
(crowd.py) reads its socket; then no object stands for any of its packets.
"""

import errno
import os
import select
import socket
from enum import Enum
from typing import Final

from p2phouse.errors import LinkError
from p2phouse.link.handshake import Handshake, Identity, Keys
from p2phouse.link.lite import Credentials
from p2phouse.vocabulary import Ssrc
from p2phouse_relay.crowd.checks import answer, check, is_by, is_success
from p2phouse_relay.crowd.offer import Answer, NoAnswer, read_answer, write_offer
from p2phouse_relay.crowd.place import Place, is_ours, tcp_socket, udp_socket

AGAIN_S: Final = 0.100  # a check or a flight that was not answered
JOIN_S_MAX: Final = 20.0
HTTP_BYTES_MAX: Final = 64 * 1024
DATAGRAM_BYTES_MAX: Final = 2_048
SOCKET_BYTES: Final = 1024 * 1024  # half a second of four voices, if this process is held up


class Stage(Enum):
    NEW = "new"
    ASKING = "asking"  # HTTP
    CHECKING = "checking"  # ICE
    SHAKING = "shaking"  # DTLS
    IN = "in"
    FAILED = "failed"


class Guest:
    """`begin` it, `act` when `waits_on` is ready, `tick` now and then, until it is IN or FAILED."""

    def __init__(
        self, number: int, place: Place, identity: Identity, path: str, *,
        lines: int, ssrc: Ssrc | None = None, token: str = "",
    ) -> None:  # fmt: skip
        """number: from which it has its address. ssrc: of a speaker. Raises OSError."""
        self.number = number
        self.ssrc = ssrc
        self.stage = Stage.NEW
        self.reason = ""  # why it failed
        self.stalls = False  # it says no more after its first flight, as an attacker might
        self.status = 0  # of HTTP
        self.location = ""
        self.began_s = self.in_s = self.first_s = 0.0
        self.keys: Keys | None = None
        self.answer: Answer | None = None
        self.udp = udp_socket(place, number)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BYTES)
        self._place = place
        self._identity = identity
        self._ours = Credentials(os.urandom(4).hex(), os.urandom(12).hex())
        self._tcp: socket.socket | None = None
        offer = write_offer(self._ours, identity.fingerprint, lines=lines, ssrc=ssrc)
        self._unsent = _request("POST", path, place, token, offer)
        self._head = bytearray()
        self._handshake: Handshake | None = None
        self._transaction = b""
        self._again_s = 0.0

    @property
    def waits_on(self) -> tuple[socket.socket, int]:
        """What to wait for, of epoll."""
        if self._tcp is not None:
            return self._tcp, select.EPOLLOUT if self._unsent else select.EPOLLIN
        return self.udp, select.EPOLLIN

    def begin(self, now_s: float) -> None:
        self.began_s = now_s
        self.stage = Stage.ASKING
        try:
            self._tcp = tcp_socket(self._place, self.number)
            code = self._tcp.connect_ex(self._place.address)
        except OSError as error:
            self._fail(error.strerror or "no socket")
            return
        if code not in (0, errno.EINPROGRESS):
            self._fail(os.strerror(code))

    def act(self, now_s: float) -> None:
        """What it waits on is ready."""
        try:
            if self._tcp is not None:
                self._talk(now_s, self._tcp)
            else:
                self._read(now_s)
        except BlockingIOError:
            return
        except (OSError, LinkError, NoAnswer) as error:
            self._fail(str(error))

    def tick(self, now_s: float) -> None:
        if self.stage in (Stage.IN, Stage.FAILED):
            return
        if now_s > self.began_s + JOIN_S_MAX:
            self._fail(f"not in after {JOIN_S_MAX:.0f} s: {self.stage.value}")
        elif self.stage in (Stage.CHECKING, Stage.SHAKING) and now_s >= self._again_s:
            self._again_s = now_s + AGAIN_S
            if self.stage is Stage.CHECKING:
                self.ask()
            elif self._handshake is not None:
                self._send(*self._handshake.retry())

    def ask(self) -> None:
        """A check; once in, it asks for consent to go on (RFC 7675)."""
        assert self.answer is not None
        self._transaction = os.urandom(12)
        self._send(check(self._transaction, self._ours, self.answer.credentials))

    def control(self, data: bytes) -> bool:
        """A datagram of STUN; whether it is a yes to our last check."""
        if is_success(data, self._transaction):
            return True
        host, port = self.udp.getsockname()[:2]
        reply = answer(data, self._ours, (host, port))
        if reply is not None:
            self._send(reply)
        return False

    def close(self) -> None:
        self.udp.close()
        if self._tcp is not None:
            self._tcp.close()

    # ── HTTP ─────────────────────────────────────────────────────────────────────────────────

    def _talk(self, now_s: float, tcp: socket.socket) -> None:
        if self._unsent:
            self._unsent = self._unsent[tcp.send(self._unsent) :]
            return
        data = tcp.recv(HTTP_BYTES_MAX)
        self._head += data
        head, ended, body = bytes(self._head).partition(b"\r\n\r\n")
        fields = _fields(head)
        if not ended or len(body) < int(fields.get("content-length", "0")):
            if not data or len(self._head) > HTTP_BYTES_MAX:
                self._fail("HTTP ended early")
            return
        tcp.close()
        self._tcp = None
        self.status = int(fields[":status"])  # a relay that says no number is none
        if self.status != 201:
            self._fail(f"HTTP {self.status}: {body.decode(errors='replace').strip()}")
            return
        self.location = fields.get("location", "")
        self.answer = read_answer(body)
        self._unsent, self._head = b"", bytearray()
        self._go(self.answer)
        self._again_s = now_s + AGAIN_S

    def _go(self, told: Answer) -> None:
        # Security: not even a relay of ours sends a crowd to somebody else.
        # Test: test_crowd.py::test_an_answer_leads_a_crowd_to_nobody_else
        ours = next((each for each in told.candidates if is_ours(each[0])), None)
        if ours is None:
            self._fail("the answer leads to another machine")
            return
        self.udp.connect(ours)
        self.stage = Stage.CHECKING
        self.ask()

    # ── ICE and DTLS ─────────────────────────────────────────────────────────────────────────

    def _read(self, now_s: float) -> None:
        assert self.answer is not None
        while self.stage in (Stage.CHECKING, Stage.SHAKING):
            if self.stalls and self.stage is Stage.SHAKING:
                return
            data = self.udp.recv(DATAGRAM_BYTES_MAX)
            if data[0] < 4:
                is_yes = self.control(data)
                if is_yes and self.stage is Stage.CHECKING:
                    self._shake(data, self.answer)
            elif 19 < data[0] < 64 and self._handshake is not None:
                self._send(*self._handshake.receive(data))
                self.keys = self._handshake.keys
                if self.keys is not None:
                    self._handshake = None
                    self.stage, self.in_s = Stage.IN, now_s
            self._again_s = now_s + AGAIN_S

    def _shake(self, data: bytes, told: Answer) -> None:
        if not is_by(data, told.credentials.pwd):
            return
        self.stage = Stage.SHAKING
        self._handshake = Handshake(self._identity, is_server=False, fingerprint=told.fingerprint)
        self._send(*self._handshake.begin())

    def _send(self, *datagrams: bytes) -> None:
        for data in datagrams:
            try:
                self.udp.send(data)
            except OSError:  # nobody there any more, or no room: it is repeated
                return

    def _fail(self, reason: str) -> None:
        self.stage, self.reason = Stage.FAILED, reason
        self._handshake = None
        self.close()


def delete(place: Place, number: int, location: str) -> None:
    """Says goodbye and waits for the answer; there is nothing that could be done without one."""
    sock = tcp_socket(place, number)
    sock.settimeout(2.0)
    with sock:
        try:
            sock.connect(place.address)
            sock.sendall(_request("DELETE", location, place, "", b""))
            sock.recv(HTTP_BYTES_MAX)
        except OSError:
            return


def _request(method: str, path: str, place: Place, token: str, body: bytes) -> bytes:
    host = f"[{place.host}]" if ":" in place.host else place.host
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {host}:{place.port}",
        "Content-Type: application/sdp",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *([f"Authorization: Bearer {token}"] if token else []),
    ]
    return "\r\n".join((*lines, "", "")).encode() + body


def _fields(head: bytes) -> dict[str, str]:
    first, *lines = head.decode("latin-1").split("\r\n")
    found = {":status": first[9:12]}
    for line in lines:
        name, _, value = line.partition(":")
        found[name.lower()] = value.strip()
    return found
