"""ICE-lite (RFC 8445 §2.5) for many peers on one port: who checks with the right word is answered.

Pure: datagrams and the time go in, answers and events come out. A lite end searches no path; the
other end finds one and nominates it. What a lite end would believe blindly is asked back here: when
a peer that has a path names another, that one is used once its answer to a question of ours proves
that it can be reached and belongs to the peer. Else a guest could point its voices at a stranger.

Two lite ends would wait for each other for ever, as two relays of one room: the one that offered
knocks where the other says it is, and goes on asking, since nobody else would.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Final, NamedTuple

from aioice import stun

from p2phouse.link import consent
from p2phouse.link.sparing import Sparing
from p2phouse.vocabulary import Entropy, LinkNumber

ARRIVAL_S_MAX: Final = (
    15.0  # from the answer to the first check: a browser may ask its person first
)
CONSENT_S_MAX: Final = 30.0  # RFC 7675 §5.1: a browser asks each 5 s
ASK_EACH_S: Final = 0.5
KEEP_EACH_S: Final = 1.0  # how often who knocked asks on: a node's consent lasts five
KNOCKS_AT_MAX: Final = 8  # places
ASKS_MAX: Final = 4  # a loss of 20 % leaves one answer out in six hundred
ASKS_OF_NEW_MAX: Final = 2  # where nobody has shown to be
ANSWERED_MAX: Final = 3  # times a check, at most, goes to where it came from, questions and all
WAYS_MAX: Final = 4  # by which one peer may be heard: Wi-Fi and mobile, IPv4 and IPv6
CHECKS_PER_S_MAX: Final = 50  # of one peer: with its right name, but perhaps not its password
DATAGRAM_BYTES_MAX: Final = 548  # RFC 8489 §6.1: what any network carries

# Unauthenticated checks answered a second: enough to tell an honest peer its mistake.
REFUSALS_PER_S: Final = 200
REFUSALS_PER_S_OF_NETWORK: Final = 20

_HEADER: Final = struct.Struct("!HHI12s")
_ATTRIBUTE: Final = struct.Struct("!HH")
_BINDING_REQUEST: Final = 0x0001
_BINDING_SUCCESS: Final = 0x0101
_BINDING_ERROR: Final = 0x0111
_USERNAME: Final = 0x0006
_UNAUTHORIZED: Final = (401, "")
_ROLE_CONFLICT: Final = (487, "")


Address = tuple[str, int] | tuple[str, int, int, int]
"""As a UDP socket of IPv4 or IPv6 gives it."""


class Way(NamedTuple):
    """A peer's address as one of our sockets sees it."""

    socket: int
    address: Address


class Credentials(NamedTuple):
    ufrag: str
    pwd: str


class _Names(NamedTuple):
    """By which a peer and we check one another."""

    ours: Credentials
    theirs: Credentials

    @property
    def key(self) -> bytes:
        return self.ours.pwd.encode()

    @property
    def name(self) -> bytes:
        """The USERNAME of a check to us (RFC 8445 §7.2.2)."""
        return f"{self.ours.ufrag}:{self.theirs.ufrag}".encode()


@dataclass(frozen=True, slots=True)
class Answer:
    """Send this datagram that way."""

    way: Way
    data: bytes


@dataclass(frozen=True, slots=True)
class Seen:
    """The peer has proved itself from there: what comes that way may be its. `gone`: an older such
    way that is its no more."""

    link: LinkNumber
    way: Way
    gone: Way | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """Send to the peer that way from now on."""

    link: LinkNumber
    way: Way


@dataclass(frozen=True, slots=True)
class Expired:
    """The peer has not come, or answers no more; it is forgotten."""

    link: LinkNumber
    came: bool


LiteOutput = Answer | Seen | Chosen | Expired


class _Peer:
    __slots__ = (
        "asked",
        "asked_way",
        "asks",
        "asks_of_new",
        "checks",
        "checks_second",
        "consent_s",
        "deadline",
        "early",
        "is_restarting",
        "key",
        "knocked",
        "knocks",
        "link",
        "name",
        "other",
        "ours",
        "question",
        "theirs",
        "way",
        "ways",
    )

    def __init__(
        self, link: LinkNumber, ours: Credentials, theirs: Credentials | None, consent_s: float
    ) -> None:
        self.link = link
        self.ours = ours
        self.theirs = theirs
        self.key = ours.pwd.encode()
        self.name = b"" if theirs is None else _Names(ours, theirs).name
        # Of an ICE restart: the names it is to come by, or once it has, those it had before.
        self.other: _Names | None = None
        self.is_restarting = False
        self.consent_s = consent_s
        self.way: Way | None = None
        self.ways: list[Way] = []
        self.early: Way | None = None  # nominated before we knew by whom
        self.deadline = inf
        self.checks_second = 0
        self.checks = 0
        self.question = b""  # transaction of what we asked; empty: nothing is open
        self.asked_way: Way | None = None
        self.asked = -inf
        self.asks = 0
        self.asks_of_new = ASKS_OF_NEW_MAX  # while what is asked is a new way
        self.knocks: tuple[Way, ...] = ()  # where it may be that we have to go to
        self.knocked = 0

    def restart(self) -> None:
        """It has come by its new names: what follows goes by these."""
        assert self.theirs is not None
        assert self.other is not None
        former = _Names(self.ours, self.theirs)
        self.key, self.name = self.other.key, self.other.name
        self.ours, self.theirs = self.other
        self.other, self.is_restarting = former, False


class Lite:
    """Tell it whom to expect and what comes; call `tick` at `deadline`, or more often."""

    def __init__(self, entropy: Entropy) -> None:
        self._entropy = entropy
        self._peers: dict[LinkNumber, _Peer] = {}
        self._named: dict[str, _Peer] = {}  # by our ufrag
        self._owners: dict[Way, _Peer] = {}
        self._questions: dict[bytes, _Peer] = {}
        self._refusals = Sparing(REFUSALS_PER_S, REFUSALS_PER_S_OF_NETWORK)
        self._ticked_s = 0.0

    def expect(
        self,
        now_s: float,
        link: LinkNumber,
        ours: Credentials,
        theirs: Credentials | None,
        consent_s: float = CONSENT_S_MAX,
    ) -> bool:
        """A peer will check under these names. False if our ufrag is in use.

        theirs: None if they are not known yet: its checks are answered, and what follows from them
        waits for `meet`.
        """
        if ours.ufrag in self._named or link in self._peers:
            return False
        peer = _Peer(link, ours, theirs, consent_s)
        peer.deadline = now_s + ARRIVAL_S_MAX
        self._peers[link] = self._named[ours.ufrag] = peer
        return True

    def meet(
        self, link: LinkNumber, theirs: Credentials, knock_at: Sequence[Way] = ()
    ) -> Sequence[LiteOutput]:
        """Who it is that was expected; it may have checked already.

        knock_at: where it may be if it checks nothing by itself; for the end that offered.
        """
        peer = self._peers.get(link)
        if peer is None or peer.theirs is not None:
            return ()
        peer.theirs = theirs
        peer.name = _Names(peer.ours, theirs).name
        peer.knocks = tuple(knock_at[:KNOCKS_AT_MAX])
        early, peer.early = peer.early, None
        if early is None or early in self._owners:
            return ()
        peer.way = early
        return [*self._see(peer, early), Chosen(link, early)]

    def restart(self, link: LinkNumber, ours: Credentials, theirs: Credentials) -> bool:
        """It will check under new names as well, and is used where it is until it nominates a way
        under these (RFC 8445 §2.4). False if it is not here, or our ufrag is in use."""
        peer = self._peers.get(link)
        if peer is None or peer.theirs is None or ours.ufrag in self._named:
            return False
        if peer.other is not None:
            del self._named[peer.other.ours.ufrag]
        peer.other, peer.is_restarting = _Names(ours, theirs), True
        self._named[ours.ufrag] = peer
        return True

    def forget(self, link: LinkNumber) -> None:
        peer = self._peers.pop(link, None)
        if peer is not None:
            self._named.pop(peer.ours.ufrag, None)
            if peer.other is not None:
                self._named.pop(peer.other.ours.ufrag, None)
            self._questions.pop(peer.question, None)
            for way in peer.ways:
                self._owners.pop(way, None)

    def ask(self, now_s: float, link: LinkNumber) -> Sequence[LiteOutput]:
        """Is it there still? Unless it answers within two seconds, it is not."""
        peer = self._peers.get(link)
        if peer is None or peer.way is None or peer.question:
            return ()
        return self._ask(now_s, peer, peer.way)

    def named(self, ufrag: str) -> LinkNumber | None:
        """Who is expected under this name; only an HMAC tells if a check is his."""
        peer = self._named.get(ufrag)
        return None if peer is None else peer.link

    def receive(self, now_s: float, data: bytes, way: Way) -> Sequence[LiteOutput]:
        """A datagram that begins like STUN. Raises nothing."""
        if not _HEADER.size <= len(data) <= DATAGRAM_BYTES_MAX:
            return ()
        kind, _, cookie, transaction = _HEADER.unpack_from(data)
        if cookie != stun.COOKIE:
            return ()
        if kind == _BINDING_REQUEST:
            return self._check(now_s, data, transaction, way)
        if kind in (_BINDING_SUCCESS, _BINDING_ERROR):
            return self._answered(now_s, data, transaction, way)
        return ()

    @property
    def deadline(self) -> float:
        """When to call tick(); it looks at all peers, so no sooner than that."""
        return self._ticked_s + ASK_EACH_S if self._peers else inf

    def tick(self, now_s: float) -> list[LiteOutput]:
        """Questions that must be put again, and who is gone."""
        self._ticked_s = now_s
        outputs: list[LiteOutput] = []
        for peer in list(self._peers.values()):
            if now_s >= peer.deadline:
                outputs += self._expire(peer)
            elif peer.question and now_s >= peer.asked + ASK_EACH_S:
                assert peer.asked_way is not None
                if peer.knocks and peer.way is None:
                    outputs += self._knock(now_s, peer)
                elif peer.asks < (ASKS_MAX if peer.asked_way == peer.way else peer.asks_of_new):
                    outputs += self._ask(now_s, peer, peer.asked_way)
                elif peer.asked_way == peer.way:
                    outputs += self._expire(peer)
                else:
                    self._close_question(peer)  # a way that does not work; the old one may
            elif peer.knocks and now_s >= peer.asked + KEEP_EACH_S:
                outputs += self._knock(now_s, peer)
        return outputs

    # ── what comes ───────────────────────────────────────────────────────────────────────────

    def _check(
        self, now_s: float, data: bytes, transaction: bytes, way: Way
    ) -> Sequence[LiteOutput]:
        """RFC 8445 §7.3."""
        ufrag = ufrag_in(data)
        peer = self._named.get(ufrag)
        if peer is None:
            # Security: nothing of a stranger's is parsed further, and hardly any is answered.
            return self._refuse(now_s, transaction, way)
        if int(now_s) != peer.checks_second:
            peer.checks_second, peer.checks = int(now_s), 0
        peer.checks += 1
        if peer.checks > CHECKS_PER_S_MAX:
            return ()  # Security: a known name alone must not cost us an HMAC each time
        other = peer.other if ufrag != peer.ours.ufrag else None
        name, key = (peer.name, peer.key) if other is None else (other.name, other.key)
        nominates = consent.read(data, name, key)
        if nominates is None:
            message = _parse(data)
            if message is None:
                return ()
            # Security: who does not know the password is not the peer, wherever it stands.
            # Test: test_lite.py::test_a_check_with_a_wrong_password_opens_nothing
            username = message.attributes.get("USERNAME", "").encode()
            is_named = peer.theirs is None or username == name
            if not message.check_message_integrity(key) or not is_named:
                return self._refuse(now_s, transaction, way)
            if "ICE-CONTROLLED" in message.attributes:
                # Two in one role; we cannot be the one that nominates (RFC 8445 §7.3.1.1).
                return [Answer(way, _error(transaction, _ROLE_CONFLICT, key))]
            nominates = "USE-CANDIDATE" in message.attributes
        success = consent.answer(transaction, way.address[0], way.address[1], key)
        outputs: list[LiteOutput] = [Answer(way, success)]
        if peer.theirs is None:
            if nominates:
                peer.early = way
            return outputs
        if other is not None and nominates:
            nominates = peer.is_restarting  # what it chose by its former names is over
            if nominates:
                peer.restart()
                self._close_question(peer)  # nobody answers any more to the names that asked it
        if way == peer.way or peer.way is None:
            peer.deadline = now_s + peer.consent_s
        if peer.way is None:  # it knocks itself
            peer.knocks = ()
            self._close_question(peer)
        owner = self._owners.get(way)
        # Security: nobody takes a way from somebody who is there by writing its address on a check.
        # Test: test_lite.py::test_a_forged_source_takes_nobodys_way
        is_free = owner is None or owner is peer
        if is_free:
            outputs += self._see(peer, way)
        if not nominates or way == peer.way:
            return outputs
        if is_free and peer.way is None:
            peer.way = way
            outputs.append(Chosen(peer.link, way))
        elif peer.asked_way != way:
            self._close_question(peer)
            (question,) = self._ask(now_s, peer, way)
            # Security: a stranger's address written on a check is sent little more than came of it.
            # Test: test_lite.py::test_where_a_peer_only_says_it_is_little_is_sent
            asks = (ANSWERED_MAX * len(data) - len(success)) // len(question.data)
            peer.asks_of_new = min(ASKS_OF_NEW_MAX, asks)
            outputs.append(question)
        return outputs

    def _see(self, peer: _Peer, way: Way) -> list[LiteOutput]:
        if way in peer.ways:
            return []
        gone = None
        if len(peer.ways) >= WAYS_MAX:
            gone = next(each for each in peer.ways if each != peer.way)
            peer.ways.remove(gone)
            del self._owners[gone]
        peer.ways.append(way)
        self._owners[way] = peer
        return [Seen(peer.link, way, gone)]

    def _answered(
        self, now_s: float, data: bytes, transaction: bytes, way: Way
    ) -> Sequence[LiteOutput]:
        """An answer to a question of ours (RFC 8445 §7.2.5): only it proves that a way leads to
        the peer, since the source of a check can be forged by the peer itself."""
        peer = self._questions.get(transaction)
        # Security: from where we asked, and by nobody but the peer.
        # Test: test_lite.py::test_an_answer_from_elsewhere_or_by_another_moves_nothing
        if peer is None or peer.theirs is None or peer.asked_way != way:
            return ()
        message = _parse(data)
        if message is None or not message.check_message_integrity(peer.theirs.pwd.encode()):
            return ()
        self._close_question(peer)
        if message.message_class != stun.Class.RESPONSE:
            return ()
        peer.deadline = now_s + peer.consent_s
        if peer.way == way:
            return ()
        outputs: list[LiteOutput] = []
        owner = self._owners.get(way)
        if owner is not None and owner is not peer:
            outputs += self._expire(owner)  # whoever was there is not there any more
        outputs += self._see(peer, way)
        peer.way = way
        return [*outputs, Chosen(peer.link, way)]

    def _refuse(self, now_s: float, transaction: bytes, way: Way) -> list[LiteOutput]:
        """RFC 8489 §9.1.3, for a few. The refusal is shorter than any check with a name."""
        if not self._refusals.allow(now_s, way.address[0]):
            return []
        return [Answer(way, _error(transaction, _UNAUTHORIZED, None))]

    # ── what we ask ──────────────────────────────────────────────────────────────────────────

    def _knock(self, now_s: float, peer: _Peer) -> Sequence[LiteOutput]:
        """At the next place where it may be, or where we have found it."""
        self._close_question(peer)
        if peer.way is not None:
            return self._ask(now_s, peer, peer.way)
        peer.knocked += 1
        return self._ask(now_s, peer, peer.knocks[peer.knocked % len(peer.knocks)])

    def _ask(self, now_s: float, peer: _Peer, way: Way) -> list[Answer]:
        assert peer.theirs is not None
        if not peer.question:
            peer.asks = 0
            peer.question = self._entropy(12)
            peer.asked_way = way
            self._questions[peer.question] = peer
        peer.asks += 1
        peer.asked = now_s
        request = stun.Message(stun.Method.BINDING, stun.Class.REQUEST, peer.question)
        request.attributes["USERNAME"] = f"{peer.theirs.ufrag}:{peer.ours.ufrag}"
        request.attributes["PRIORITY"] = 1
        if peer.knocks:  # RFC 8445 §6.1.1: who offered chooses
            request.attributes["ICE-CONTROLLING"] = 0
            request.attributes["USE-CANDIDATE"] = None
        else:
            request.attributes["ICE-CONTROLLED"] = 0
        request.add_message_integrity(peer.theirs.pwd.encode())
        return [Answer(way, bytes(request))]

    def _close_question(self, peer: _Peer) -> None:
        self._questions.pop(peer.question, None)
        peer.question, peer.asked_way = b"", None

    def _expire(self, peer: _Peer) -> list[LiteOutput]:
        self.forget(peer.link)
        return [Expired(peer.link, came=peer.way is not None)]


def ufrag_in(data: bytes) -> str:
    """The part of the USERNAME that names us, without parsing anything else; empty if none."""
    at = _HEADER.size
    while at + _ATTRIBUTE.size <= len(data):
        name, length = _ATTRIBUTE.unpack_from(data, at)
        at += _ATTRIBUTE.size
        if name == _USERNAME:
            return data[at : at + length].partition(b":")[0].decode("ascii", "replace")
        at += length + -length % 4
    return ""


def _parse(data: bytes) -> stun.Message | None:
    try:
        return stun.parse_message(data)
    except (ValueError, struct.error):  # struct.error: an attribute shorter than its kind
        return None


def _error(transaction: bytes, code: tuple[int, str], key: bytes | None) -> bytes:
    message = stun.Message(stun.Method.BINDING, stun.Class.ERROR, transaction)
    message.attributes["ERROR-CODE"] = code
    if key is None:
        message.add_fingerprint()
    else:
        message.add_message_integrity(key)
    return bytes(message)
