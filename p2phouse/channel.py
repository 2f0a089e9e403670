"""What control and media say to each other over their socketpair.

Frames are a big-endian u32 length and a CBOR array `[kind, field ...]` in the strict profile of
`record/cbor.py`: integers, byte strings, text and arrays only. Gains are in permille, ages in µs;
no absolute time crosses, because the two processes share no clock by contract. Links are numbers
that control counts up and never reuses. docs/architecture.md tells who starts and who ends whom.
"""

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Annotated, Final

from p2phouse.errors import P2PHouseError
from p2phouse.record import cbor
from p2phouse.record.schema import Count, Range, Size, Text, Verbatim, pack, unpack
from p2phouse.vocabulary import LinkNumber, Ssrc, VoiceId

FRAME_BYTES_MAX: Final = 256 * 1024
ITEMS_MAX: Final = 64 * 1024  # a table of 256 rows, or stats of 4,096 links
_LENGTH: Final = struct.Struct("!I")


class ChannelBroken(P2PHouseError):
    """The channel between control and media carried something else than a message: {reason}."""


class LinkRole(IntEnum):
    OFFERER = 0  # ICE-controlling and DTLS server
    ANSWERER = 1


class GuestRole(IntEnum):
    LISTENER = 0  # is sent the voices of its room
    SPEAKER = 1  # sends one voice into its room


class LinkStatus(IntEnum):
    CONNECTED = 0
    FAILED = 1  # never connected
    LOST = 2  # was connected: consent ran out or the other side closed


class VoiceCondition(IntEnum):
    """What a person would want to know about a voice, ours or another's."""

    FLOWING = 0
    KEY_MISSING = 1
    NO_PACKETS = 2
    INPUT_STARTED = 3
    INPUT_ENDED = 4
    INPUT_FAILED = 5
    OUTPUT_STARTED = 6
    OUTPUT_ENDED = 7
    OUTPUT_FAILED = 8
    UNPROVED = 9


# ── down: control tells media ────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class OpenLink:
    """Gather candidates for a new link; answered by LocalDescription."""

    link: LinkNumber
    role: LinkRole
    local_only: bool  # a lan room: TTL 1 and only addresses of attached subnets
    room: int = 0  # of a relay, which carries several: the table that the link belongs to


@dataclass(frozen=True, slots=True)
class ConnectLink:
    link: LinkNumber
    ufrag: Annotated[str, Text(64)]
    pwd: Annotated[str, Text(128)]
    fp: Annotated[bytes, Size(32)]  # SHA-256 of the peer's DTLS certificate
    cands: Annotated[tuple[Annotated[str, Text(160)], ...], Count(0, 8)]
    is_relay: bool = False  # a host says so: its HTTPS may be gone through where UDP is blocked


@dataclass(frozen=True, slots=True)
class CloseLink:
    link: LinkNumber


@dataclass(frozen=True, slots=True)
class TableRow:
    """One voice's way through this node: only `ingress` and `standbys` may bring it.

    standbys: the links that have it too, or had it before the room changed its shape. warm: links
    that we stand by for: they are sent this voice only while they pull, or while we push. pinned:
    the choice of the loudest never leaves it out.
    """

    ingress: LinkNumber
    ssrc: Ssrc
    standbys: Annotated[tuple[LinkNumber, ...], Count(0, 8)]
    sinks: Annotated[tuple[LinkNumber, ...], Count(0, 4096)]
    warm: Annotated[tuple[LinkNumber, ...], Count(0, 4096)] = ()
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class SetTable:
    """Replaces the whole forwarding table; an older epoch than the last is refused.

    guarded: the link to the hub that we stand by for: when it falls silent we push by ourselves.
    hurried: links whose other end stands by for us and must notice our end at once.
    loudest: of the voices that go to more than one place, only so many at a time; 0: all.
    leaning: the link to the standby while none to the hub is up: it brings nothing unless pulled.
    room: of a relay, which has a table for each that it carries.
    """

    epoch: int
    rows: Annotated[tuple[TableRow, ...], Count(0, 256)]
    guarded: LinkNumber | None = None
    hurried: Annotated[tuple[LinkNumber, ...], Count(0, 256)] = ()
    loudest: Annotated[int, Range(0, 16)] = 0
    leaning: LinkNumber | None = None
    room: int = 0


@dataclass(frozen=True, slots=True)
class NewVoice:
    """Make a voice with a fresh sid; answered by VoiceKey. room: of a relay, that of a guest who
    speaks among nodes."""

    sid: Annotated[VoiceId, Size(16)]
    room: int = 0


@dataclass(frozen=True, slots=True)
class SetVoice:
    sid: Annotated[VoiceId, Size(16)]
    ssrc: Ssrc
    kid: Annotated[int, Range(0, 255)]
    base: Annotated[bytes, Size(16)]  # SFrame base key of this sender; never the epoch secret
    muted: bool
    sealed: bool  # constant bitrate and no DTX, so that lengths tell nothing
    room: int = 0  # as of NewVoice


@dataclass(frozen=True, slots=True)
class EndVoice:
    sid: Annotated[VoiceId, Size(16)]
    room: int = 0  # as of NewVoice


@dataclass(frozen=True, slots=True)
class VoiceKeyRow:
    ssrc: Ssrc
    kid: Annotated[int, Range(0, 255)]
    base: Annotated[bytes, Size(16)]
    akey: Annotated[bytes, Size(32)]  # that of the voice's `speak`: it signs the audits


@dataclass(frozen=True, slots=True)
class SetKeys:
    """Replaces all keys of others' voices, at most two an SSRC.

    room: of a relay, which is told those of rooms whose keys are public, for their guests.
    """

    keys: Annotated[tuple[VoiceKeyRow, ...], Count(0, 512)]
    room: int = 0


@dataclass(frozen=True, slots=True)
class SetGain:
    ssrc: Ssrc
    permille: Annotated[int, Range(0, 4_000)]


@dataclass(frozen=True, slots=True)
class SetInput:
    """`spec`: file:PATH, tone, silence, device, device:NAME, page or none (the ear stays as it
    is)."""

    spec: Annotated[str, Verbatim(4_096)]


@dataclass(frozen=True, slots=True)
class SetOutput:
    """`spec`: file:PATH, null, device, device:NAME, page or none."""

    spec: Annotated[str, Verbatim(4_096)]


@dataclass(frozen=True, slots=True)
class SetPage:
    """Whose browser may be mouth and ear: who shows the token and comes from the origin.

    Answered by PageReady.
    """

    token: Annotated[bytes, Size(32)] = field(repr=False)  # Security: no log holds it
    origin: Annotated[str, Text(64)]  # http://127.0.0.1:PORT


@dataclass(frozen=True, slots=True)
class Reflector:
    ip: Annotated[str, Text(45)]
    port: Annotated[int, Range(1, 65_535)]


@dataclass(frozen=True, slots=True)
class SetReflectors:
    """Nodes to ask where a new link's datagrams seem to come from (STUN Binding)."""

    reflectors: Annotated[tuple[Reflector, ...], Count(0, 4)]


@dataclass(frozen=True, slots=True)
class NewGuestRoom:
    """A room of guests, who hear its loudest voices in up to four slots.

    slots: the SSRCs that all its listeners see, distinct, chosen at random by control.
    of: the room of nodes whose voices they hear, by its number in SetTable; 0: of guests alone.
    """

    room: int
    slots: Annotated[tuple[Ssrc, ...], Count(4, 4)]
    of: int = 0


@dataclass(frozen=True, slots=True)
class CloseGuestRoom:
    """Ends the links of everybody in it, without a word to them."""

    room: int


@dataclass(frozen=True, slots=True)
class OpenGuest:
    """Expect a browser: control has answered its offer already. Answered by LinkState alone."""

    link: LinkNumber
    room: int  # of a guest who speaks among nodes: its own, its link's number made negative
    role: GuestRole
    ufrag: Annotated[str, Text(64)]  # ours, as the answer named it
    pwd: Annotated[str, Text(128)] = field(repr=False)  # Security: no log holds it
    remote_ufrag: Annotated[str, Text(256)]  # RFC 8839 §5.4 allows so many
    remote_pwd: Annotated[str, Text(256)] = field(repr=False)
    fp: Annotated[bytes, Size(32)]  # SHA-256 of the guest's DTLS certificate
    payload_type: Annotated[int, Range(0, 127)]  # that its offer gave to Opus
    slots: Annotated[tuple[Ssrc, ...], Count(0, 4)]  # the first so many of its room; SPEAKER: none
    # The id under which a speaker sends the level of its packets (RFC 6464), if the answer agreed
    # to one in one-byte form; 0 if not, then every packet of its counts as equally loud.
    level_extension: Annotated[int, Range(0, 14)] = 0


@dataclass(frozen=True, slots=True)
class RestartGuest:
    """A guest looks for another way (ICE restart): expect it under these names as well."""

    link: LinkNumber
    ufrag: Annotated[str, Text(64)]
    pwd: Annotated[str, Text(128)] = field(repr=False)  # Security: no log holds it
    remote_ufrag: Annotated[str, Text(256)]
    remote_pwd: Annotated[str, Text(256)] = field(repr=False)


@dataclass(frozen=True, slots=True)
class SendOn:
    """Voices that enter this guest room here are sent on to so many other processes of the relay,
    in which somebody listens; instead of those before."""

    room: int
    to: Annotated[tuple[Annotated[int, Range(0, 255)], ...], Count(0, 255)]


Down = (
    OpenLink
    | ConnectLink
    | CloseLink
    | SetTable
    | NewVoice
    | SetVoice
    | EndVoice
    | SetKeys
    | SetGain
    | SetInput
    | SetOutput
    | SetPage
    | SetReflectors
    | NewGuestRoom
    | CloseGuestRoom
    | OpenGuest
    | SendOn
    | RestartGuest
)

# ── up: media tells control ──────────────────────────────────────────────────────────────────


@dataclass(frozen=True, slots=True)
class Started:
    """The first message up: media is ready."""

    version: int


@dataclass(frozen=True, slots=True)
class LocalDescription:
    link: LinkNumber
    ufrag: Annotated[str, Text(64)]
    pwd: Annotated[str, Text(128)]
    fp: Annotated[bytes, Size(32)]
    cands: Annotated[tuple[Annotated[str, Text(160)], ...], Count(0, 8)]


@dataclass(frozen=True, slots=True)
class LinkState:
    link: LinkNumber
    status: LinkStatus
    reason: Annotated[str, Verbatim(200)]
    is_tunnelled: bool = False  # connected through the other end's HTTPS


@dataclass(frozen=True, slots=True)
class VoiceKey:
    """`akey`: the ephemeral Ed25519 public key that signs this voice's audits."""

    sid: Annotated[VoiceId, Size(16)]
    akey: Annotated[bytes, Size(32)]


@dataclass(frozen=True, slots=True)
class Level:
    ssrc: Ssrc
    dbov: Annotated[int, Range(0, 127)]  # RFC 6464: 0 is loudest, 127 silence


@dataclass(frozen=True, slots=True)
class Levels:
    """10 Hz, newest wins."""

    levels: Annotated[tuple[Level, ...], Count(0, 64)]


@dataclass(frozen=True, slots=True)
class VoiceState:
    """`ssrc` 0 is our own input or output. `text`: one sentence when it failed, else empty."""

    ssrc: Ssrc
    condition: VoiceCondition
    text: Annotated[str, Verbatim(400)]


@dataclass(frozen=True, slots=True)
class Silent:
    """The link has been silent for longer than it may be (carry/repair.py)."""

    link: LinkNumber


@dataclass(frozen=True, slots=True)
class Heard:
    """A link reported silent is heard again."""

    link: LinkNumber


@dataclass(frozen=True, slots=True)
class Pulls:
    """How many of the links that we stand by for have pulled within 400 ms; told on change."""

    count: int
    of: int
    room: int = 0


@dataclass(frozen=True, slots=True)
class FirstPacket:
    """This link has brought a voice for the first time under our table of this epoch."""

    link: LinkNumber
    epoch: int


@dataclass(frozen=True, slots=True)
class Released:
    """The other end of this link needs us to carry nothing to it any more; under this table it is
    sent nothing more."""

    link: LinkNumber


@dataclass(frozen=True, slots=True)
class VoiceStats:
    """Counts since the voice began, in frames of 20 ms, and its present delay in the buffer."""

    ssrc: Ssrc
    played: int
    recovered: int  # from in-band FEC
    concealed: int  # holes in seq filled by PLC
    late: int
    grown: int
    dropped: int
    buffered_us: int
    jitter_us: int


@dataclass(frozen=True, slots=True)
class LinkStats:
    link: LinkNumber
    sent: int
    received: int
    refused: int  # packets of an SSRC that this link may not bring
    malformed: int
    rtt_us: int  # 0 if not measured yet
    loss_permille: int
    jitter_us: int


@dataclass(frozen=True, slots=True)
class Stats:
    """1 Hz. Ages are of the first sample of the running input or output, at sending; -1 if none.

    A frame's first sample is spoken 20 ms before its tick and heard at the tick that plays it.
    """

    captured_age_us: int
    played_age_us: int
    skipped_ticks: int
    voices: Annotated[tuple[VoiceStats, ...], Count(0, 64)]
    links: Annotated[tuple[LinkStats, ...], Count(0, 4096)]
    # Of our input since the last report, muted or not: its loudest frame in -dBov, -1 if it gave
    # none, and how many of its frames were as loud as speech.
    input_dbov: Annotated[int, Range(-1, 127)] = -1
    input_loud: int = 0
    output_ready: bool = True  # False: our ear is the page, and none is open


@dataclass(frozen=True, slots=True)
class PageReady:
    """Where the page finds its mouth and ear: a WebSocket on this port of 127.0.0.1."""

    port: Annotated[int, Range(1, 65_535)]


@dataclass(frozen=True, slots=True)
class AuditFailed:
    """Somebody else has spoken as this voice; media lets nobody hear it any more."""

    ssrc: Ssrc
    room: int = 0  # of a relay


@dataclass(frozen=True, slots=True)
class PortReady:
    """The UDP port for everybody is bound; no offer can be answered before."""

    port: Annotated[int, Range(1, 65_535)]
    fp: Annotated[bytes, Size(32)]  # SHA-256 of the DTLS certificate, the same for all


@dataclass(frozen=True, slots=True)
class Load:
    """1 Hz: how much of its core media has used since the last report.

    not_sent_on: packets that another process of the relay had no place for, since the last report.
    octets: sent since then, with the headers of UDP and IP.
    """

    core_permille: Annotated[int, Range(0, 1_000)]
    not_sent_on: int = 0
    octets: int = 0


@dataclass(frozen=True, slots=True)
class GuestSlots:
    """Who is heard in which slot by listeners with a line for each; told when that changes.

    holders: the guest's link; of a voice of a node its SSRC made negative; 0: nobody.
    """

    room: int
    holders: Annotated[tuple[LinkNumber, ...], Count(4, 4)]


@dataclass(frozen=True, slots=True)
class Mixed:
    """The next cluster of a room's mix, in WebM (guest/mix.py)."""

    room: int
    cluster: Annotated[bytes, Size(1, 16_384)]


Up = (
    Started
    | LocalDescription
    | LinkState
    | VoiceKey
    | Levels
    | VoiceState
    | Silent
    | Heard
    | Pulls
    | FirstPacket
    | Released
    | Stats
    | PageReady
    | AuditFailed
    | PortReady
    | Load
    | GuestSlots
    | Mixed
)

_DOWN: Final = dict(enumerate(Down.__args__))
_UP: Final = dict(enumerate(Up.__args__))
_KINDS: Final = {cls: kind for table in (_DOWN, _UP) for kind, cls in table.items()}


def encode(message: Down | Up) -> bytes:
    """The message as one frame, length included."""
    body = cbor.encode([_KINDS[type(message)], *pack(message)])
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into messages; keeps at most one frame that is not whole."""

    def __init__(self, direction: str) -> None:
        """direction: "down" in the media process, "up" in control."""
        self._classes = _DOWN if direction == "down" else _UP
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Down | Up]:
        """All messages that `data` completes. Raises ChannelBroken."""
        self._pending += data
        messages: list[Down | Up] = []
        while len(self._pending) >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._pending)
            if length > FRAME_BYTES_MAX:
                raise ChannelBroken(reason=f"a frame of {length} bytes")
            end = _LENGTH.size + length
            if len(self._pending) < end:
                break
            messages.append(self._decode(bytes(self._pending[_LENGTH.size : end])))
            del self._pending[:end]
        return messages

    def _decode(self, body: bytes) -> Down | Up:
        try:
            value = cbor.decode(body, size_max=FRAME_BYTES_MAX, items_max=ITEMS_MAX)
        except P2PHouseError as error:
            raise ChannelBroken(reason=str(error)) from error
        match value:
            case [int(kind), *fields] if type(kind) is int and kind in self._classes:
                try:
                    message: Down | Up = unpack(self._classes[kind], fields)
                except P2PHouseError as error:
                    raise ChannelBroken(reason=str(error)) from error
                return message
        raise ChannelBroken(reason="a message of no known kind")
