"""Who is speaking: the speaker signs hashes of its packets, and without such proof is not heard.

The seal proves that somebody in the room sealed a frame; in an open room that may be anybody. So
each block of AUDIT_FRAMES frames is followed by an audit, a packet of the voice that anybody can
check with the key named in its `speak`. Frames play at once and are judged afterwards.

A frame that the speaker did not send ends a voice for good. A voice of which too little is proved
is silent until more is: a full uplink drops large packets first, as audits are.

Audits get lost as any packet. Each carries the tags of its own block and the exclusive or of those
of three earlier ones: a lost block comes back from any of three later audits. docs/protocol.md §5.7
tells the sums behind the numbers.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from nacl.signing import SigningKey

from p2phouse.errors import PeerError
from p2phouse.record import envelope, limits
from p2phouse.record.types import Audit

FRAMES: Final = limits.AUDIT_FRAMES
TAG_BYTES: Final = limits.AUDIT_TAG_BYTES
REACH: Final = limits.AUDIT_REACH
# At 20 % random loss 0.7 % of the blocks stay unproved, and 4.0 % if each audit said the last one
# again, in as many bytes. Far apart, so that a burst of losses takes one of the three.
DISTANCES: Final = (1, 3, REACH)

# All audits of 2.75 s are eight: lost one and all by chance at 20 % once in 390,000 times.
UNPROVED_S_MAX: Final = 2.75
UNPROVED_FRAMES_MIN: Final = 60  # an outage leaves up to three blocks (51) without their proof
JUDGED_S: Final = 3.0  # a frame unproved by then stays so
UNPROVED_FRAMES_MAX: Final = 150  # 3 s of a voice, as one outage of its proofs costs, beyond
UNPROVED_SHARE_MAX: Final = 0.05  # of all that is heard
HEARD_MAX: Final = 512  # frames not judged yet; honest are 150, and what lay in a socket
BLOCKS_KEPT: Final = 16  # 5.4 s
CHECKS_BURST: Final = 16  # what lay in the socket while we stood still
CHECK_EACH_S: Final = 0.25  # an honest voice needs three a second; a signature costs 0.1 ms

_TAGS_BYTES: Final = FRAMES * TAG_BYTES
_NOTHING: Final = bytes(_TAGS_BYTES)


class AuditRefused(PeerError):
    """An audit was passed over: {reason}."""


def tag_of(sframe: bytes) -> bytes:
    """What an audit says of one packet: the first bytes of the hash of its sealed frame."""
    return sha256(sframe).digest()[:TAG_BYTES]


class AuditWriter:
    """The speaker's side: tell it each packet, and after each tick ask for the audit due."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key
        self._blocks: dict[int, bytearray] = {}  # of the last blocks, those with a frame
        self._last: int | None = None  # newest block with a frame
        self._first = 0  # block with which the present run of audits began
        self._next = 0  # block to be audited next
        self._owed: deque[bytes] = deque()  # audits that a stall of ours has kept back

    @property
    def akey(self) -> bytes:
        return bytes(self._key.verify_key)

    def sent(self, counter: int, sframe: bytes) -> None:
        """A packet goes out."""
        block, at = divmod(counter, FRAMES)
        if self._last is None or block > self._last + REACH:
            # No parity of this run reaches back to a frame of the last one.
            if self._last is not None:
                self._owed.extend(self._sign(late) for late in range(self._next, self._last + 1))
            self._first = self._next = block
        self._last = block
        tags = self._blocks.get(block)
        if tags is None:
            self._blocks = {b: t for b, t in self._blocks.items() if b >= block - 2 * REACH}
            tags = self._blocks[block] = bytearray(_TAGS_BYTES)
        tags[at * TAG_BYTES : (at + 1) * TAG_BYTES] = tag_of(sframe)

    def next_audit(self, counter: int) -> bytes | None:
        """The signed audit due after the tick of `counter`, if any; at most one a tick.

        After the last block with a frame REACH more are audited, so that its proof has been said
        four times before the voice is silent.
        """
        if self._owed:
            return self._owed.popleft()
        whole = (counter + 1) // FRAMES
        if self._last is None or self._next >= min(whole, self._last + REACH + 1):
            return None
        block, self._next = self._next, self._next + 1
        return self._sign(block)

    def _sign(self, block: int) -> bytes:
        parity = 0
        for distance in DISTANCES:
            parity ^= int.from_bytes(self._blocks.get(block - distance, b""))
        audit = Audit(
            akey=self.akey,
            block=block,
            run=min(block - self._first, REACH),
            tags=bytes(self._blocks.get(block, _NOTHING)),
            parity=parity.to_bytes(_TAGS_BYTES),
        )
        return envelope.sign(audit, self._key).data


@dataclass(slots=True)
class _Heard:
    """A frame that was opened and is not judged yet."""

    number: int  # in the order of their coming
    arrived_s: float
    counter: int
    tag: bytes
    is_played: bool  # and not silenced for want of proof
    proved: bool = False


class AuditReader:
    """A listener's side: is this voice the one whose `speak` named the key?"""

    def __init__(self, akey: bytes) -> None:
        self.akey = akey
        self.forged = False  # once true it stays so: for this voice trust does not come back
        self.doubted = False  # until there is proof again
        self.proved = 0  # frames
        self.unproved = 0  # frames for which no proof came in time
        self._tags: dict[int, bytes] = {}  # by block: what the speaker says that it sent
        self._parities: dict[int, int] = {}  # by the block of the audit that brought it
        self._recent: deque[bytes] = deque(maxlen=BLOCKS_KEPT)  # audits that held
        self._newest = -1  # block
        self._heard: deque[_Heard] = deque()
        self._waiting: dict[int, _Heard] = {}  # those of them without proof, by counter
        self._dropped = 0  # frames that have left `_heard`: the number of its first
        self._proved_last = -1  # number of the latest frame heard that is proved
        self._debt = 0.0  # frames heard without proof, beyond the share that may be
        self._checks = float(CHECKS_BURST)
        self._checked_s: float | None = None

    def hear(self, now_s: float, counter: int, sframe: bytes) -> None:
        """A frame was opened, for the first time."""
        if len(self._heard) >= HEARD_MAX:
            self._judge(self._heard[0])
        heard = _Heard(
            self._dropped + len(self._heard), now_s, counter, tag_of(sframe), not self.doubted
        )
        self._heard.append(heard)
        self._waiting[counter] = heard
        tags = self._tags.get(counter // FRAMES)
        if tags is not None:
            self._compare(counter // FRAMES, tags)

    def receive(self, now_s: float, data: bytes) -> None:
        """An audit came; one that came before says nothing new.

        Raises PeerError, before anything has changed, if it is none of this voice.
        """
        if data in self._recent:
            return
        # Security: the cheap questions first, for a signature costs a hundred times as much, and
        # whoever forwards this voice may send as many audits as it likes.
        # Test: test_audit.py::test_a_flood_of_false_audits_costs_few_signatures
        if self.akey not in data:
            raise AuditRefused(reason="of another key")
        self._take_check(now_s)
        audit = envelope.read(data, Audit).record
        # Security: only the key that the voice's `speak` names may prove it.
        # Test: test_audit.py::test_an_audit_of_another_key_is_refused
        if audit.akey != self.akey:
            raise AuditRefused(reason="of another key")
        self._recent.append(data)
        if audit.block not in self._parities and audit.block > self._newest - BLOCKS_KEPT:
            self._learn(audit)

    def tick(self, now_s: float) -> None:
        """Judge what is due. Call once per tick."""
        while self._heard and self._heard[0].arrived_s <= now_s - JUDGED_S:
            self._judge(self._heard[0])
        first = max(0, self._proved_last + 1 - self._dropped)
        count = len(self._heard) - first
        # Security: who drops the audits and speaks in this voice's name is heard for less than 3 s.
        # Test: test_audit.py::test_forged_frames_are_silent_within_three_seconds
        is_bare = (
            count >= UNPROVED_FRAMES_MIN and now_s - self._heard[first].arrived_s >= UNPROVED_S_MAX
        )
        # Security: who forges a little and lets true audits pass in between gets no further.
        # Test: test_audit.py::test_a_true_audit_now_and_then_is_not_enough
        self.doubted = is_bare or self._debt > UNPROVED_FRAMES_MAX

    def skip(self, seconds: float) -> None:
        """We stood still: what proves the last frames may lie unread, and its time is not over."""
        for heard in self._heard:
            heard.arrived_s += seconds

    # ── proof ────────────────────────────────────────────────────────────────────────────────

    def _take_check(self, now_s: float) -> None:
        if self._checked_s is not None:
            gained = max(0.0, now_s - self._checked_s) / CHECK_EACH_S
            self._checks = min(float(CHECKS_BURST), self._checks + gained)
        self._checked_s = now_s
        if self._checks < 1.0:
            raise AuditRefused(reason="far more than anybody needs")
        self._checks -= 1.0

    def _learn(self, audit: Audit) -> None:
        """Everything that follows from an audit that holds."""
        self._newest = max(self._newest, audit.block)
        self._parities[audit.block] = int.from_bytes(audit.parity)
        said = {audit.block: audit.tags}
        if audit.run < REACH:
            first = audit.block - audit.run
            said |= dict.fromkeys(range(first - REACH, first), _NOTHING)
        oldest = self._newest - BLOCKS_KEPT
        self._tags = {block: tags for block, tags in self._tags.items() if block > oldest}
        self._parities = {b: parity for b, parity in self._parities.items() if b > oldest}
        for block, tags in said.items():
            if block > oldest:
                self._know(block, tags)
        while recovered := next(self._recovered(), None):
            self._know(*recovered)

    def _recovered(self) -> Iterator[tuple[int, bytes]]:
        """Blocks that a parity gives, since all others of it are known."""
        for at, parity in self._parities.items():
            blocks = [at - distance for distance in DISTANCES if at >= distance]
            missing = [block for block in blocks if block not in self._tags]
            if len(missing) == 1 and missing[0] > self._newest - BLOCKS_KEPT:
                for block in blocks:
                    parity ^= int.from_bytes(self._tags.get(block, b""))
                yield missing[0], parity.to_bytes(_TAGS_BYTES)

    def _know(self, block: int, tags: bytes) -> None:
        if self._tags.setdefault(block, tags) is tags:
            self._compare(block, tags)

    def _compare(self, block: int, tags: bytes) -> None:
        """Hold what was heard of a block against what the speaker says that it sent."""
        for at in range(FRAMES):
            heard = self._waiting.pop(block * FRAMES + at, None)
            if heard is None:
                continue
            # Security: one frame that the speaker did not send, and the voice is not the speaker's.
            # Test: test_audit.py::test_one_frame_that_the_speaker_did_not_send_is_enough
            if tags[at * TAG_BYTES : (at + 1) * TAG_BYTES] != heard.tag:
                self.forged = True
                continue
            heard.proved = True
            self.proved += 1
            self._proved_last = max(self._proved_last, heard.number)

    def _judge(self, heard: _Heard) -> None:
        """The oldest frame has had its time."""
        self._heard.popleft()
        self._dropped += 1
        if heard.proved:
            self._debt = max(0.0, self._debt - UNPROVED_SHARE_MAX / (1 - UNPROVED_SHARE_MAX))
            return
        self._waiting.pop(heard.counter, None)
        self.unproved += 1
        if heard.is_played:  # what nobody heard has deceived nobody
            self._debt = min(self._debt + 1.0, UNPROVED_FRAMES_MAX + 1.0)
