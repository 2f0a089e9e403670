"""The two texts of a join: an offer as a browser makes it, and what its answer says. Pure.

Our own few lines, not p2phouse/guest/sdp.py: who reads with the eyes of who wrote proves nothing.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from p2phouse.errors import PeerError
from p2phouse.link.lite import Credentials
from p2phouse.vocabulary import Ssrc

PAYLOAD_TYPE: Final = 111
_LINE: Final = re.compile(r"^a=([a-z-]+):(.+?)\r?$", re.MULTILINE)
_CANDIDATE: Final = re.compile(r"\S+ 1 udp \d+ (\S+) (\d+) typ host")
_SHA_256: Final = re.compile(r"sha-256 ((?:[0-9A-F]{2}:){31}[0-9A-F]{2})", re.IGNORECASE)


class NoAnswer(PeerError):
    """The relay's answer has no {what}."""


@dataclass(frozen=True, slots=True)
class Answer:
    """candidates: addresses and ports, as many as were told. ssrcs: of each line, in order."""

    credentials: Credentials = field(repr=False)
    fingerprint: bytes
    candidates: tuple[tuple[str, int], ...]
    ssrcs: tuple[Ssrc, ...]


def write_offer(ours: Credentials, fingerprint: bytes, *, lines: int, ssrc: Ssrc | None) -> bytes:
    """lines: how many voices are wanted. ssrc: of the voice that is brought, of a speaker alone."""
    mids = " ".join(map(str, range(lines)))
    text = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=-", "t=0 0", f"a=group:BUNDLE {mids}"]
    for mid in range(lines):
        text += (
            f"m=audio 9 UDP/TLS/RTP/SAVPF {PAYLOAD_TYPE}",
            "c=IN IP4 0.0.0.0",
            f"a=mid:{mid}",
            "a=recvonly" if ssrc is None else "a=sendonly",
            f"a=ice-ufrag:{ours.ufrag}",
            f"a=ice-pwd:{ours.pwd}",
            f"a=fingerprint:sha-256 {fingerprint.hex(':').upper()}",
            "a=setup:active",
            "a=rtcp-mux",
            f"a=rtpmap:{PAYLOAD_TYPE} opus/48000/2",
        )
        if ssrc is not None:
            text.append(f"a=ssrc:{ssrc} cname:crowd")
    return "\r\n".join((*text, "")).encode()


def read_answer(body: bytes) -> Answer:
    """Raises NoAnswer."""
    said: dict[str, list[str]] = {}
    for name, value in _LINE.findall(body.decode(errors="replace")):
        said.setdefault(name, []).append(value)
    ufrag, pwd = (said.get(each, [""])[0] for each in ("ice-ufrag", "ice-pwd"))
    found = _SHA_256.fullmatch(said.get("fingerprint", [""])[0])
    candidates = [
        (each[1], int(each[2]))
        for text in said.get("candidate", [])
        if (each := _CANDIDATE.match(text))
    ]
    for what, there in (
        ("credentials", ufrag and pwd),
        ("fingerprint", found),
        ("candidate", candidates),
    ):
        if not there:
            raise NoAnswer(what=what)
    assert found is not None
    return Answer(
        Credentials(ufrag, pwd),
        bytes.fromhex(found[1].replace(":", "")),
        tuple(candidates),
        tuple(Ssrc(int(each.split()[0])) for each in said.get("ssrc", [])),
    )
