"""The bodies of signed records, field by field in the order of the wire.

Each class names its type number, the context its signature is bound to, its size limit and the
field that holds the signing key. docs/protocol.md §2 is the normative text.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Annotated, ClassVar, Final, Literal

from p2phouse.record import limits
from p2phouse.record.schema import Count, Range, Size, Text

BODY_VERSION: Final = 1  # the first element of every body

Hash = Annotated[bytes, Size(32)]
Key = Annotated[bytes, Size(32)]
Time = Annotated[int, Range(0, 2**40)]  # unix seconds
Number = Annotated[int, Range(0, 2**53)]
Address = Annotated[bytes, Size(1, limits.ADDR_BYTES_MAX)]
Language = Annotated[str, Text(35)]  # BCP 47 tags are at most 35 characters


class RecordType(IntEnum):
    """Type numbers of the envelope; those without a class are reserved."""

    IDENTITY = 1
    GENESIS = 2
    ENTRY = 3
    CARD = 4
    JOIN = 5
    OFFER = 6
    SPEAK = 7
    SOFT = 8
    CHAT = 9
    BEAT = 10
    EPOCH = 11
    AUDIT = 12
    HELLO = 13
    REPORT = 14
    INVITE = 15
    CLAIM = 16
    BID = 17
    POLICY = 18
    RELAYGRANT = 19


class Access(IntEnum):
    OPEN = 0
    SOCIAL = 1
    CLOSED = 2
    LAN = 3


class Act(IntEnum):
    """What an entry of a room's log does."""

    GRANT = 0
    REVOKE = 1
    ROLE = 2
    TITLE = 3
    LOCK = 4
    ACCESS = 5
    END = 6
    CHAT = 7


class Admits(IntEnum):
    """Whose rooms a relay carries without a relay grant."""

    EVERYBODY = 0
    LISTED = 1  # theirs who stand on its own list


class GrantOf(IntEnum):
    """What the subject of a relay grant is."""

    ROOM = 0
    PERSON = 1  # every room that this person opens


class SoftKind(IntEnum):
    HAND = 0
    REACTION = 1
    TYPING = 2
    OWN_MUTE = 3
    ON_STAGE = 4
    LOWER_HANDS = 5
    PLEASE_MUTE = 6
    GUESTS = 7  # of a relay: how many listen through it with only a browser


class ChatKind(IntEnum):
    TEXT = 0
    DELETE = 1  # takes back a text, of the author's own or as a moderator
    PIN = 2
    UNPIN = 3
    MODS = 4  # a text in the moderators' channel


class Record:
    """What every body has besides its fields."""

    __slots__ = ()

    TYPE: ClassVar[RecordType]
    NAME: ClassVar[str]  # bound into the signature; the number alone is not trusted
    SIZE_MAX: ClassVar[int]  # bytes of the whole envelope
    SIGNER: ClassVar[str]  # the field that holds the key


@dataclass(frozen=True, slots=True)
class IdentityDevice:
    dev: Key
    xpk: Key  # X25519, a key of its own: sealed boxes
    olm: Key  # X25519: direct messages
    added: Time
    exp: Time


@dataclass(frozen=True, slots=True)
class Identity(Record):
    """A person's devices; the highest seq wins."""

    TYPE = RecordType.IDENTITY
    NAME = "identity"
    SIZE_MAX = 1_536
    SIGNER = "uid"

    uid: Key
    seq: Number
    name: Annotated[str, Text(limits.NAME_CODE_POINTS_MAX)]
    devices: Annotated[tuple[IdentityDevice, ...], Count(1, limits.DEVICES_MAX)]
    created: Time
    exp: Time
    relays: Annotated[tuple[Address, ...], Count(0, 4)]


@dataclass(frozen=True, slots=True)
class Genesis(Record):
    """Creates a room; the room's id is this record's id."""

    TYPE = RecordType.GENESIS
    NAME = "genesis"
    SIZE_MAX = 512
    SIGNER = "dev"

    uid: Key
    dev: Key
    idrec: Hash
    nonce: Annotated[bytes, Size(16)]
    title: Annotated[str, Text(limits.TITLE_CODE_POINTS_MAX)]
    access: Access
    langs: Annotated[tuple[Language, ...], Count(0, 4)]
    created: Time
    exp: Time
    relay: Annotated[tuple[Address, ...], Count(0, 3)]
    maxspk: Annotated[int, Range(1, limits.SPEAKERS_MAX)]
    exposure: Literal["direct", "relay"]
    continues: Hash | None  # the room that went before this one


@dataclass(frozen=True, slots=True)
class Entry(Record):
    """An act in a room's log. It carries no time: room/rules.py says what it is worth."""

    TYPE = RecordType.ENTRY
    NAME = "entry"
    SIZE_MAX = 1_024
    SIGNER = "dev"

    room: Hash
    uid: Key
    dev: Key
    idrec: Hash
    auth: Hash  # the seat it is done from: the genesis, or the grant of the seat
    prev: Hash | None  # the entry before it in that seat
    act: Act
    sub: Annotated[bytes, Size(32)] | None  # a person; of a revoke the grant
    val: Annotated[str, Text(limits.TITLE_CODE_POINTS_MAX)] | Number | bool | None
    over: Annotated[tuple[Hash, ...], Count(0, limits.OVER_MAX)]  # the entries it replaces
    pin: Hash | None  # of a revoke: the last entry of the seat that goes on counting


@dataclass(frozen=True, slots=True)
class Card(Record):
    """Advertises a room; a ttl of 0 takes it off the list."""

    TYPE = RecordType.CARD
    NAME = "card"
    SIZE_MAX = 1_280
    SIGNER = "dev"

    genesis: Annotated[bytes, Size(1, Genesis.SIZE_MAX)]
    grant: Annotated[bytes, Size(0, Entry.SIZE_MAX)]
    dev: Key
    seq: Number
    created: Time
    ttl: Annotated[int, Range(0, limits.CARD_TTL_S_MAX)]
    nspk: Annotated[int, Range(0, 10_000_000)]
    nlis: Annotated[int, Range(0, 10_000_000)]
    at: Annotated[tuple[Address, ...], Count(0, limits.CARD_ADDRS_MAX)]


@dataclass(frozen=True, slots=True)
class Join(Record):
    """A device enters a room; a new one with each process that does."""

    TYPE = RecordType.JOIN
    NAME = "join"
    SIZE_MAX = 512
    SIGNER = "dev"

    room: Hash
    dev: Key
    idrec: Hash
    beat: Hash | None
    ts: Time


@dataclass(frozen=True, slots=True)
class Offer(Record):
    """One end of a media link; `answer` is the nonce of the offer it answers."""

    TYPE = RecordType.OFFER
    NAME = "offer"
    SIZE_MAX = 2_048
    SIGNER = "dev"

    room: Hash
    dev: Key
    to: Key
    n: Annotated[bytes, Size(16)]
    answer: Annotated[bytes, Size(16)] | None
    ufrag: Annotated[str, Text(64)]
    pwd: Annotated[str, Text(128)]
    fp: Hash
    cands: Annotated[
        tuple[Annotated[str, Text(limits.CANDIDATE_CHARS_MAX)], ...],
        Count(0, limits.CANDIDATES_MAX),
    ]
    ts: Time


@dataclass(frozen=True, slots=True)
class Speak(Record):
    """Begins a voice. Its id gives the SSRC; `akey` signs the voice's audits."""

    TYPE = RecordType.SPEAK
    NAME = "speak"
    SIZE_MAX = 512
    SIGNER = "dev"

    room: Hash
    dev: Key
    sid: Annotated[bytes, Size(16)]
    slot: Annotated[int, Range(0, limits.SPEAKERS_MAX - 1)]
    created: Time
    akey: Key


@dataclass(frozen=True, slots=True)
class Soft(Record):
    """Soft state of a member: hand, reaction, typing, own mute, on stage; and what it asks for."""

    TYPE = RecordType.SOFT
    NAME = "soft"
    SIZE_MAX = 256
    SIGNER = "dev"

    room: Hash
    dev: Key
    seq: Number
    kind: Annotated[int, Range(0, 255)]  # SoftKind; later kinds are passed over
    val: Annotated[str, Text(64)] | Number | bool | None
    ts: Time


@dataclass(frozen=True, slots=True)
class Beat(Record):
    """What somebody who runs the room holds of its log, said again and again."""

    TYPE = RecordType.BEAT
    NAME = "beat"
    SIZE_MAX = 256
    SIGNER = "dev"

    room: Hash
    dev: Key
    count: Annotated[int, Range(0, limits.ENTRIES_PER_ROOM_MAX)]
    digest: Hash
    en: Annotated[int, Range(0, 2**32 - 1)]  # the epoch of the room's keys; 0: public ones
    ts: Time


@dataclass(frozen=True, slots=True)
class EpochBox:
    dev: Key
    sealed: Annotated[bytes, Size(80)]  # the secret, for the device's xpk alone


@dataclass(frozen=True, slots=True)
class Epoch(Record):
    """The secret that voices of a sealed room are under: for whom, and after which removals."""

    TYPE = RecordType.EPOCH
    NAME = "epoch"
    SIZE_MAX = 16_256  # with its head a frame of 16 KiB
    SIGNER = "dev"

    room: Hash
    dev: Key
    by: Key  # the device that made the secret; whoever holds it may sign for whom he seals it to
    n: Annotated[int, Range(0, limits.EPOCH_NUMBER_MAX)]
    ratchet: bool  # made of the secret before it; else of chance
    parent: Hash | None  # of a ratchet the id of the epoch of chance that its line began with
    rm: Annotated[tuple[Hash, ...], Count(0, limits.EPOCH_REMOVALS_MAX)]
    commit: Hash  # SHA-256 of the secret
    boxes: Annotated[tuple[EpochBox, ...], Count(0, limits.EPOCH_BOXES_MAX)]


@dataclass(frozen=True, slots=True)
class Chat(Record):
    """A word in a room's chat, or what is done to one; room/chat.py says what they add up to."""

    TYPE = RecordType.CHAT
    NAME = "chat"
    SIZE_MAX = 1_024
    SIGNER = "dev"

    room: Hash
    uid: Key
    dev: Key
    idrec: Hash
    n: Number  # rises with each of the device's; two with one n are a forgery of its own maker
    kind: Annotated[int, Range(0, 255)]  # ChatKind; later kinds are passed over
    ref: Hash | None  # of a delete or unpin: the record it takes back
    text: Annotated[str, Text(limits.CHAT_CODE_POINTS_MAX)]
    ts: Time


@dataclass(frozen=True, slots=True)
class Report(Record):
    """What a person tells those who run the room about another; room/report.py bundles proof."""

    TYPE = RecordType.REPORT
    NAME = "report"
    SIZE_MAX = 3_072
    SIGNER = "dev"

    room: Hash
    uid: Key
    dev: Key
    idrec: Hash
    about: Key
    text: Annotated[str, Text(limits.REPORT_CODE_POINTS_MAX)]
    evidence: Annotated[tuple[Hash, ...], Count(0, limits.EVIDENCE_MAX)]
    ts: Time


@dataclass(frozen=True, slots=True)
class Audit(Record):
    """A speaker's word for the packets of its voice: hashes of what it sent in one block of frames.

    Signed in the media process by the voice's ephemeral key, to which its `speak` binds room,
    device and sid. voice/audit.py says what the fields add up to.
    """

    TYPE = RecordType.AUDIT
    NAME = "audit"
    SIZE_MAX = 400
    SIGNER = "akey"

    akey: Key
    block: Annotated[int, Range(0, 2**28 - 1)]  # frames block × 17 to block × 17 + 16
    run: Annotated[int, Range(0, limits.AUDIT_REACH)]
    tags: Annotated[bytes, Size(limits.AUDIT_FRAMES * limits.AUDIT_TAG_BYTES)]
    parity: Annotated[bytes, Size(limits.AUDIT_FRAMES * limits.AUDIT_TAG_BYTES)]


@dataclass(frozen=True, slots=True)
class Hello(Record):
    """Answers a hello request: who listens here, and which protocol versions it speaks."""

    TYPE = RecordType.HELLO
    NAME = "hello"
    SIZE_MAX = limits.HELLO_BYTES
    SIGNER = "dev"

    nonce: Annotated[bytes, Size(64)]
    versions: tuple[Annotated[int, Range(0, 65_535)], Annotated[int, Range(0, 65_535)]]
    dev: Key
    addrs: Annotated[tuple[Address, ...], Count(0, limits.ADDRS_MAX)]


@dataclass(frozen=True, slots=True)
class Invite(Record):
    """Lets whoever shows it into a social or closed room; `once`: the first who does."""

    TYPE = RecordType.INVITE
    NAME = "invite"
    SIZE_MAX = 512
    SIGNER = "dev"

    room: Hash
    uid: Key
    dev: Key
    idrec: Hash
    nonce: Annotated[bytes, Size(16)]
    exp: Time
    once: bool


@dataclass(frozen=True, slots=True)
class Claim(Record):
    """Who carries the room from now on; shape/claims.py says which of several counts."""

    TYPE = RecordType.CLAIM
    NAME = "claim"
    SIZE_MAX = 320
    SIGNER = "dev"

    room: Hash
    dev: Key
    epoch: Annotated[int, Range(1, limits.CLAIM_EPOCH_MAX)]
    cost: Annotated[int, Range(0, limits.COST_MAX)]  # of the hub, in ms (shape/measure.py)
    hub: Key | None  # None: nobody, the room is a mesh again
    standby: Key | None
    ts: Time


class BidFlag(IntFlag):
    CARRIES = 1  # would carry this room
    METERED = 2  # its network costs by the byte
    MAINS = 4
    DRAINING = 8  # is about to leave
    STRAINED = 16  # its processor or uplink does not keep up
    DESERTED = 32  # hears neither hub nor standby


@dataclass(frozen=True, slots=True)
class BidRow:
    """What the bidder has measured of another member."""

    dev: Key
    rtt_p50: Annotated[int, Range(0, 65_535)]  # ms
    rtt_p90: Annotated[int, Range(0, 65_535)]
    loss: Annotated[int, Range(0, 1_000)]  # permille; 1000: no link, though we want one
    served: Annotated[int, Range(0, 65_535)]  # seconds for which it carried to us without loss


@dataclass(frozen=True, slots=True)
class Bid(Record):
    """What a member could carry, and how well it reaches those who could."""

    TYPE = RecordType.BID
    NAME = "bid"
    SIZE_MAX = 640
    SIGNER = "dev"

    room: Hash
    dev: Key
    seq: Number
    flags: Annotated[int, Range(0, 255)]  # BidFlag; later flags are passed over
    version: Annotated[int, Range(0, 65_535)]  # a hub must forward as this one says
    uptime_min: Annotated[int, Range(0, 2**32 - 1)]
    cap: Annotated[int, Range(0, 4_096)]  # links it would feed
    rows: Annotated[tuple[BidRow, ...], Count(0, limits.BID_ROWS_MAX)]
    ts: Time


@dataclass(frozen=True, slots=True)
class Policy(Record):
    """What a relay is, by whom it is run and what it carries; the highest seq wins."""

    TYPE = RecordType.POLICY
    NAME = "policy"
    SIZE_MAX = 2_048
    SIGNER = "dev"

    dev: Key
    uid: Key  # by which a room's log names the relay
    seq: Number
    name: Annotated[str, Text(limits.NAME_CODE_POINTS_MAX)]
    who: Annotated[str, Text(limits.POLICY_CODE_POINTS_MAX)]  # runs it
    where: Annotated[str, Text(limits.POLICY_CODE_POINTS_MAX)]  # it stands, and whose law holds
    logs: Annotated[str, Text(limits.POLICY_CODE_POINTS_MAX)]  # what is kept, and how long
    rules: Annotated[str, Text(limits.POLICY_CODE_POINTS_MAX)]
    price: Annotated[str, Text(limits.POLICY_CODE_POINTS_MAX)]
    contact: Annotated[str, Text(limits.POLICY_CODE_POINTS_MAX)]  # for complaints
    page: Annotated[str, Text(limits.POLICY_CODE_POINTS_MAX)]  # https://HOST for guests, or empty
    admits: Admits
    rooms: Annotated[int, Range(0, 4_096)]  # at one time, of all
    rooms_each: Annotated[int, Range(0, 4_096)]  # of one person or relay grant
    listeners: Annotated[int, Range(0, 4_096)]  # in one room
    kbps: Annotated[int, Range(0, 2**32 - 1)]  # that it sends, for all rooms together
    others: Annotated[tuple[Annotated[str, Text(80)], ...], Count(0, limits.OTHER_RELAYS_MAX)]
    at: Annotated[tuple[Address, ...], Count(0, limits.ADDRS_MAX)]
    created: Time
    exp: Time


@dataclass(frozen=True, slots=True)
class RelayGrant(Record):
    """Lets a room, or all rooms of a person, be carried; by a key on the relay's list."""

    TYPE = RecordType.RELAYGRANT
    NAME = "relaygrant"
    SIZE_MAX = 320
    SIGNER = "by"

    by: Key
    of: GrantOf
    subject: Hash
    relay: Key | None  # None: every relay that has `by` on its list
    listeners: Annotated[int, Range(0, 4_096)]
    kbps: Annotated[int, Range(0, 2**32 - 1)]
    created: Time
    exp: Time


RECORDS: Final[dict[int, type[Record]]] = {
    int(cls.TYPE): cls
    for cls in (
        Identity,
        Genesis,
        Entry,
        Card,
        Join,
        Offer,
        Speak,
        Soft,
        Chat,
        Beat,
        Epoch,
        Audit,
        Hello,
        Report,
        Invite,
        Claim,
        Bid,
        Policy,
        RelayGrant,
    )
}
