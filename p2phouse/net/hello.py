"""hello: who listens at this address, before libp2p is dialled (noise needs the PeerId first).

A request is a nonce of 64 bytes, padded with zeros to exactly 512; the reply is a signed record
with that nonce, at most 512 bytes, so a forged source address gains nothing by being answered.
The functions below build and check bytes; `HelloAnswerer.serve_udp` and `ask` are the thin edges.
"""

import contextlib
import ipaddress
import logging
from collections.abc import Callable, Sequence
from typing import Final

import nacl.signing
import trio

from p2phouse.errors import PeerError, UserError
from p2phouse.net import stun
from p2phouse.net.faults import Faults
from p2phouse.net.rates import Buckets, TokenBucket
from p2phouse.record import envelope
from p2phouse.record.limits import ADDRS_MAX
from p2phouse.record.types import Hello
from p2phouse.vocabulary import DeviceKey, Entropy, Now

log = logging.getLogger(__name__)

NONCE_BYTES: Final = 64
REQUEST_BYTES: Final = 512
REPLY_BYTES_MAX: Final = 512
TRIES: Final = 3
TRY_S: Final = 0.5
RESOLVE_S: Final = 5.0
ASKED_MAX: Final = 4  # addresses of one host name
# One signature is 0.1 ms; a class of 30 behind one address asks three times each in a second.
ANSWERS_A_SECOND: Final = 20.0
ANSWERS_BURST: Final = 90.0
ALL_ANSWERS_A_SECOND: Final = 200.0
SOURCES_MAX: Final = 1_024

_SocketAddress = tuple[int, int, tuple[str, int]]
"""Family, protocol, and what a socket of that family connects to."""

VERSIONS: Final = (1, 1)
"""The protocol versions this node speaks, first and last."""


class WrongReply(PeerError):
    """A hello came back that answers another question."""


class NobodyAnswers(UserError):
    """Nobody answered at {host}:{port}. Is p2phouse running there, in the same network?
    Its `p2phouse id show` prints what to type; a firewall may block UDP port {port}."""


class NoSuchHost(UserError):
    """No address is known for "{host}". Check the spelling, or type the number itself."""


class VersionsApart(UserError):
    """That node speaks version {theirs} of the protocol and this one version {ours}.
    Update p2phouse on {older}."""


def request(entropy: Entropy) -> tuple[bytes, bytes]:
    """A new request: its nonce and the datagram."""
    nonce = entropy(NONCE_BYTES)
    return nonce, nonce.ljust(REQUEST_BYTES, b"\x00")


def is_request(datagram: bytes) -> bool:
    """Whether this is padded as a request is; anything else gets no answer."""
    return len(datagram) == REQUEST_BYTES and not any(datagram[NONCE_BYTES:])


def reply(
    datagram: bytes, key: nacl.signing.SigningKey, dev: DeviceKey, addrs: tuple[bytes, ...]
) -> bytes:
    """The answer to a request, and no longer."""
    hello = Hello(nonce=datagram[:NONCE_BYTES], versions=VERSIONS, dev=dev, addrs=addrs[:ADDRS_MAX])
    data = envelope.sign(hello, key).data
    assert len(data) <= REPLY_BYTES_MAX
    return data


def check(datagram: bytes, nonce: bytes) -> Hello:
    """A reply, read and proved to answer `nonce`. Raises PeerError."""
    if len(datagram) > REPLY_BYTES_MAX:
        raise WrongReply
    hello = envelope.read(datagram, Hello).record
    # Security: the nonce makes a reply fresh; without it anybody could replay an old one from an
    # address where that device is no more.
    if hello.nonce != nonce:
        raise WrongReply
    return hello


def check_versions(hello: Hello) -> None:
    """Raises VersionsApart if the two ranges do not meet."""
    first, last = hello.versions
    if first <= VERSIONS[1] and VERSIONS[0] <= last:
        return
    older = "this machine" if first > VERSIONS[1] else "the other machine"
    raise VersionsApart(theirs=_range(first, last), ours=_range(*VERSIONS), older=older)


def _range(first: int, last: int) -> str:
    return str(first) if first == last else f"{first} to {last}"


class HelloAnswerer:
    """Answers requests on one or many sockets, within what each source and all may ask."""

    def __init__(
        self,
        key: nacl.signing.SigningKey,
        *,
        addrs: Callable[[], list[bytes]],
        clock: Callable[[], Now],
        faults: Faults,
        reflects: Callable[[], bool] = lambda: False,
    ) -> None:
        """reflects: whether strangers may be told where they seem to be (stun.py)."""
        self._key = key
        self._reflects = reflects
        self._dev = DeviceKey(bytes(key.verify_key))
        self._addrs = addrs
        self._clock = clock
        self._faults = faults
        self._sources = Buckets(ANSWERS_A_SECOND, ANSWERS_BURST, SOURCES_MAX)
        self._all = TokenBucket(ALL_ANSWERS_A_SECOND, ALL_ANSWERS_A_SECOND)

    def answer(
        self, datagram: bytes, source: str, *, addrs: list[bytes] | None = None
    ) -> bytes | None:
        """The reply for a source, or None: silence is all that a stranger's noise gets."""
        now = self._clock().mono
        # Before any bucket, or one program's noise would use up its whole address's answers.
        if not is_request(datagram):
            self._faults.count("hello_noise")
            return None
        # Security: UDP sources can be invented, hence the second bucket for all of them together.
        if not self._sources.take(source, now) or not self._all.take(now):
            self._faults.count("hello_too_fast")
            return None
        told = tuple(self._addrs() if addrs is None else addrs)
        return reply(datagram, self._key, self._dev, told)

    def reflect(self, datagram: bytes, ip: str, port: int) -> bytes | None:
        """The answer to a question of stun.py's, under the same limits as a hello."""
        now = self._clock().mono
        if not self._reflects():
            return None
        if not self._sources.take(ip, now) or not self._all.take(now):
            self._faults.count("stun_too_fast")
            return None
        return stun.answer(datagram, ipaddress.ip_address(ip), port)

    async def serve_udp(self, socket: trio.socket.SocketType) -> None:
        """Answers on a bound UDP socket until cancelled, then closes it."""
        with socket:
            while True:
                try:
                    datagram, source = await socket.recvfrom(REQUEST_BYTES + 1)
                    if stun.is_request(datagram):
                        data = self.reflect(datagram, source[0], source[1])
                    else:
                        data = self.answer(datagram, source[0])
                    if data is not None:
                        await socket.sendto(data, source)
                except OSError as error:
                    # An ICMP refusal of an earlier reply, or an interface that went away.
                    self._faults.count("hello_socket", error.strerror or "")
                    await trio.sleep(0.05)


async def ask(
    host: str, port: int, *, entropy: Entropy, try_s: float = TRY_S, tries: int = TRIES
) -> tuple[Hello, str]:
    """Asks whoever listens at host:port; returns the proved answer and the address that gave it.

    Raises NoSuchHost, NobodyAnswers or VersionsApart.
    """
    nonce, datagram = request(entropy)
    addresses = await resolve(host, port)
    for _ in range(tries):
        with trio.move_on_after(try_s):
            hello, ip = await _first_answer(addresses, datagram, nonce)
            check_versions(hello)
            return hello, ip
    raise NobodyAnswers(host=host, port=port)


async def _first_answer(
    addresses: Sequence[_SocketAddress], datagram: bytes, nonce: bytes
) -> tuple[Hello, str]:
    """Asks all of them and waits for ever for the first proved answer."""
    answers: list[tuple[Hello, str]] = []

    async def ask_one(address: _SocketAddress) -> None:
        hello = await _ask_one(address, datagram, nonce)
        answers.append((hello, address[2][0].partition("%")[0]))
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        for address in addresses:
            nursery.start_soon(ask_one, address)
    return answers[0]


async def resolve(host: str, port: int) -> list[_SocketAddress]:
    """A few addresses of a host, IPv4 first. Raises NoSuchHost."""
    if not 0 < port < 65_536:
        raise NobodyAnswers(host=host, port=port)
    try:
        with trio.fail_after(RESOLVE_S):
            found = await trio.socket.getaddrinfo(host, port, type=trio.socket.SOCK_DGRAM)
    except (OSError, UnicodeError, trio.TooSlowError) as error:
        raise NoSuchHost(host=host) from error
    addresses: list[_SocketAddress] = [
        (family, protocol, (str(address[0]), port)) for family, _, protocol, _, address in found
    ]
    addresses.sort(key=lambda address: address[0] != trio.socket.AF_INET)
    return addresses[:ASKED_MAX]


async def _ask_one(address: _SocketAddress, datagram: bytes, nonce: bytes) -> Hello:
    """Sends the request once and waits for ever for its answer."""
    family, protocol, target = address
    with (
        contextlib.suppress(OSError),
        trio.socket.socket(family, trio.socket.SOCK_DGRAM, protocol) as socket,
    ):
        # Connected, so that the kernel passes on only what comes from that address.
        await socket.connect(target)
        await socket.send(datagram)
        while True:
            try:
                return check(await socket.recv(REPLY_BYTES_MAX + 1), nonce)
            except PeerError as error:
                log.debug("hello_reply_refused error=%s", error)
    # ICMP says that nothing listens; it may be starting just now.
    await trio.sleep_forever()
    raise AssertionError("unreachable")
