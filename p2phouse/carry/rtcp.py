"""Link control and reports as bytes: RTCP (RFC 3550 §6) before SRTCP is put round it.

    APP     0x80 | kind, 204 | 4 | ssrc | "p2ph" | flags | epoch      alone in its datagram
    SR, RR  RFC 3550 §6.4.1, §6.4.2, without SDES (RFC 5506)

What others may put in a compound packet (SDES, BYE, feedback) is walked over by its length.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.vocabulary import Ssrc

NAME: Final = b"p2ph"
BLOCKS_MAX: Final = 31  # what a five-bit count can say
DATAGRAM_BYTES_MAX: Final = 1_500  # larger ones do not come whole through any usual network
LOST_MIN, LOST_MAX = -(1 << 23), (1 << 23) - 1  # 24 bit, signed

_SR, _RR, _APP = 200, 201, 204
_TYPES: Final = range(192, 224)  # RFC 5761 §4: the other values could be RTP
_VERSION: Final = 0x80
_PADDING: Final = 0x20
# Flags of a message; the others are zero when sent and not looked at.
_QUIET: Final = 1  # in a keepalive
_CARRIES: Final = 2  # in a keepalive
_ALTOGETHER: Final = 1  # in a release
_COUNT_MASK: Final = 0x1F  # reports: how many blocks; APP: the subtype
_HEADER: Final = struct.Struct("!BBH")
_MESSAGE: Final = struct.Struct("!BBHI4sII")
_SENDER: Final = struct.Struct("!QIII")
_BLOCK: Final = struct.Struct("!IB3sIIII")
_U32: Final = struct.Struct("!I")
_WORD: Final = 4
_BODY: Final = _HEADER.size + _U32.size  # where a packet's own fields begin


class NotLinkControl(PeerError):
    """A datagram is no link control: {reason}."""


class ControlKind(IntEnum):
    """The subtype of the APP packet."""

    KEEPALIVE = 0
    PULL = 1  # bring me your voices
    PUSH = 2  # I bring you mine, unasked
    RELEASE = 3  # no more: they come another way


@dataclass(frozen=True, slots=True)
class Keepalive:
    """The link lives though no voice is on it. quiet: nobody talks, so none is missing.
    carries: by the sender's table some voice goes to this link, unasked."""

    quiet: bool
    epoch: int  # of the sender's table, its low 32 bits
    carries: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """PULL, PUSH or RELEASE. altogether: a release of all that is sent, not of a pull alone."""

    kind: ControlKind
    epoch: int
    altogether: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """What the reporter received of one SSRC (RFC 3550 §6.4.1)."""

    ssrc: Ssrc
    fraction_lost: int = 0  # of 256, since its last report
    lost: int = 0  # since the beginning; negative after duplicates
    highest_seq: int = 0  # with the count of wraps above it
    jitter: int = 0  # in units of the voice's timestamp
    lsr: int = 0  # our clock in the last SR it had from this SSRC; 0: none
    dlsr: int = 0  # 1/65536 s since it had that


@dataclass(frozen=True, slots=True)
class SenderInfo:
    clock: int  # the middle 32 bits of the NTP field, in 1/65536 s
    packets: int
    octets: int


@dataclass(frozen=True, slots=True)
class Report:
    ssrc: Ssrc
    sender: SenderInfo | None  # None: an RR
    blocks: tuple[Block, ...]


def encode_keepalive(ssrc: Ssrc, message: Keepalive) -> bytes:
    flags = (_QUIET if message.quiet else 0) | (_CARRIES if message.carries else 0)
    return _message(ssrc, ControlKind.KEEPALIVE, flags, message.epoch)


def encode_request(ssrc: Ssrc, message: Request) -> bytes:
    return _message(ssrc, message.kind, _ALTOGETHER if message.altogether else 0, message.epoch)


def _message(ssrc: Ssrc, kind: ControlKind, flags: int, epoch: int) -> bytes:
    words = _MESSAGE.size // _WORD - 1
    return _MESSAGE.pack(_VERSION | kind, _APP, words, ssrc, NAME, flags, epoch & 0xFFFFFFFF)


def encode_report(report: Report) -> bytes:
    assert len(report.blocks) <= BLOCKS_MAX
    body = b""
    if (sender := report.sender) is not None:
        # The outer 16 bits of the NTP field and the RTP timestamp stay zero: there is no absolute
        # time to tell, and no one timestamp on a link of many voices.
        body = _SENDER.pack(sender.clock << 16, 0, sender.packets, sender.octets)
    for block in report.blocks:
        lost = max(LOST_MIN, min(block.lost, LOST_MAX)).to_bytes(3, signed=True)
        body += _BLOCK.pack(
            block.ssrc,
            block.fraction_lost,
            lost,
            block.highest_seq,
            block.jitter,
            block.lsr,
            block.dlsr,
        )
    kind = _RR if report.sender is None else _SR
    first, words = _VERSION | len(report.blocks), (_BODY + len(body)) // _WORD - 1
    return _HEADER.pack(first, kind, words) + _U32.pack(report.ssrc) + body


def decode(data: bytes) -> Keepalive | Request | tuple[Report, ...]:
    """The message that stands alone in a datagram, or the reports in a compound packet, which may
    be none. Raises NotLinkControl for what is neither."""
    # Size first: nothing of a datagram is looked at before its size is known.
    if not 0 < len(data) <= DATAGRAM_BYTES_MAX:
        raise NotLinkControl(reason=f"{len(data)} bytes")
    reports: list[Report] = []
    start = 0
    while start < len(data):
        first, kind, end = _measure(data, start)
        size = end - start
        if first & _PADDING:
            if end < len(data):
                raise NotLinkControl(reason="padding before the last packet")
            size -= _padding(data, size)
        packet = data[start : start + size]
        if kind in (_SR, _RR):
            reports.append(_report(packet))
        elif kind == _APP:
            message = _app(packet)
            if message is not None:
                # Alone, so that a keepalive costs 20 bytes and a report never hides one.
                if size < len(data):
                    raise NotLinkControl(reason="a message that is not alone in its datagram")
                return message
        start = end
    return tuple(reports)


def _measure(data: bytes, start: int) -> tuple[int, int, int]:
    """First byte, type and end of the packet that begins here (RFC 3550 §A.2)."""
    if len(data) - start < _HEADER.size:
        raise NotLinkControl(reason=f"{len(data) - start} bytes after the last packet")
    first, kind, words = _HEADER.unpack_from(data, start)
    if first & 0xC0 != _VERSION or kind not in _TYPES:
        raise NotLinkControl(reason=f"a packet begins with {first:#04x} {kind:#04x}")
    end = start + (words + 1) * _WORD
    if end > len(data):
        raise NotLinkControl(reason="a packet longer than its datagram")
    return first, kind, end


def _padding(data: bytes, size: int) -> int:
    """How many bytes of the datagram's last packet, of this size, are padding."""
    count = data[-1]
    if count % _WORD or not 0 < count <= size - _HEADER.size:
        raise NotLinkControl(reason=f"{count} bytes of padding in {size}")
    return count


def _report(packet: bytes) -> Report:
    count, kind = packet[0] & _COUNT_MASK, packet[1]
    at = _BODY + (_SENDER.size if kind == _SR else 0)
    if len(packet) < at + count * _BLOCK.size:
        raise NotLinkControl(reason=f"{count} blocks in {len(packet)} bytes")
    sender = None
    if kind == _SR:
        ntp, _, packets, octets = _SENDER.unpack_from(packet, _BODY)
        sender = SenderInfo(ntp >> 16 & 0xFFFFFFFF, packets, octets)
    blocks = tuple(
        Block(ssrc, fraction, int.from_bytes(lost, signed=True), highest, jitter, lsr, dlsr)
        for ssrc, fraction, lost, highest, jitter, lsr, dlsr in _BLOCK.iter_unpack(
            packet[at : at + count * _BLOCK.size]
        )
    )
    return Report(_ssrc(packet), sender, blocks)


def _app(packet: bytes) -> Keepalive | Request | None:
    """Our message; None if it is another's APP, or of a kind that a later version added."""
    if len(packet) < _BODY + len(NAME):
        raise NotLinkControl(reason=f"an APP packet of {len(packet)} bytes")
    subtype = packet[0] & _COUNT_MASK
    if packet[_BODY : _BODY + len(NAME)] != NAME or subtype >= len(ControlKind):
        return None
    if len(packet) != _MESSAGE.size:
        raise NotLinkControl(reason=f"a message of {len(packet)} bytes")
    _, _, _, _, _, flags, epoch = _MESSAGE.unpack(packet)
    kind = ControlKind(subtype)
    if kind is ControlKind.KEEPALIVE:
        return Keepalive(bool(flags & _QUIET), epoch, bool(flags & _CARRIES))
    return Request(kind, epoch, kind is ControlKind.RELEASE and bool(flags & _ALTOGETHER))


def _ssrc(packet: bytes) -> Ssrc:
    (ssrc,) = _U32.unpack_from(packet, _HEADER.size)
    return Ssrc(ssrc)
