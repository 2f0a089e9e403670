"""Packets as tests of carry/ need them: whole, and told apart by voice and seq."""

from p2phouse.vocabulary import LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS, Packet, build

ANA, BEN, CEM = Ssrc(0xA0A0A0A0), Ssrc(0xB0B0B0B0), Ssrc(0xC0C0C0C0)
ONE, TWO, THREE, FOUR = LinkNumber(1), LinkNumber(2), LinkNumber(3), LinkNumber(4)


def a_packet(
    ssrc: Ssrc, seq: int = 0, *, timestamp: int = 0, kind: int = PT_OPUS, payload: bytes = b"sealed"
) -> bytes:
    return build(Packet(kind, False, seq % (1 << 16), timestamp, ssrc, 30, True, payload))
