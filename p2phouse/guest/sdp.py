"""A browser's offer (SDP) read, and answered without asking anybody.

No general SDP library: only what WHIP and WHEP need of one audio transport is understood, and what
a guest sends is a stranger's text, so lengths and counts are bounded before anything is looked at.
We are ICE-lite and always the DTLS server: the answer is known as soon as the offer is.

Spec: RFC 8866 (SDP), RFC 9429 (JSEP), RFC 9143 (BUNDLE), RFC 8839 and 8445 (ICE), RFC 9725 (WHIP).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from p2phouse.channel import GuestRole
from p2phouse.errors import PeerError
from p2phouse.vocabulary import Ssrc

OFFER_BYTES_MAX: Final = 32 * 1024  # a browser's offer of four voices has 5 kB, with video 15 kB
LINES_MAX: Final = 1_024
LINE_CHARS_MAX: Final = 1_024
SECTIONS_MAX: Final = 16
FORMATS_MAX: Final = 64
SLOTS_MAX: Final = 4
MID_CHARS_MAX: Final = 32
FINGERPRINTS_MAX: Final = 8

LEVEL_URI: Final = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"  # RFC 6464
LEVEL_ID_MAX: Final = 14  # RFC 8285 §4.2: what an extension in one-byte form may be called

_UFRAG: Final = re.compile(r"[A-Za-z0-9+/]{4,256}")  # RFC 8839 §5.4
_PWD: Final = re.compile(r"[A-Za-z0-9+/]{22,256}")
_SHA_256: Final = re.compile(r"([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}")
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`{|}~A-Za-z0-9-]{1,64}")  # RFC 8866 §9
_PROTOCOL: Final = re.compile(r"[A-Z]{1,8}(/[A-Z]{1,8}){0,4}")
_SECURE: Final = frozenset(("UDP/TLS/RTP/SAVPF", "UDP/TLS/RTP/SAVP"))
_DIRECTIONS: Final = frozenset(("sendrecv", "sendonly", "recvonly", "inactive"))
_READ: Final = _DIRECTIONS | {
    *("mid", "group", "ice-ufrag", "ice-pwd", "fingerprint", "setup"),
    *("rtpmap", "extmap", "rtcp-mux", "bundle-only", "ice-lite"),
}
_SUITS: Final = {
    GuestRole.LISTENER: frozenset(("recvonly", "sendrecv")),
    GuestRole.SPEAKER: frozenset(("sendonly", "sendrecv")),
}


class BadOffer(PeerError):
    """This is no SDP that can be read: {reason}."""


class UnsuitableOffer(PeerError):
    """This offer asks for nothing that is given here: {reason}."""


@dataclass(slots=True)
class Section:
    """One m-line and what was said under it; also what is said before the first of them."""

    media: str = ""
    port: int = 0
    protocol: str = ""
    formats: tuple[str, ...] = ()
    mid: str = ""
    direction: str = "sendrecv"  # RFC 8866 §6.7: what it is where nothing is said
    opus: list[int] = field(default_factory=list)  # its payload types
    level_extension: int = 0
    bundle_only: bool = False
    rtcp_mux: bool = False
    ufrag: str = ""
    pwd: str = field(default="", repr=False)  # Security: no log holds it
    fingerprints: set[bytes] = field(default_factory=set)  # of SHA-256; other hashes are not kept
    setup: str = ""


@dataclass(slots=True)
class _Description:
    session: Section = field(default_factory=Section)
    sections: list[Section] = field(default_factory=list)
    bundle: tuple[str, ...] = ()
    is_lite: bool = False


@dataclass(frozen=True, slots=True)
class Offer:
    """chosen: which m-lines are accepted, by index; SLOTS_MAX at most, all of one transport."""

    role: GuestRole
    sections: tuple[Section, ...]
    chosen: tuple[int, ...]
    is_bundled: bool
    ufrag: str
    pwd: str = field(repr=False)  # Security: no log holds it
    fp: bytes
    payload_type: int
    level_extension: int


@dataclass(frozen=True, slots=True)
class Fragment:
    """What a guest says of its way later on (RFC 8840). ufrag: empty if it says none. section: the
    first of its m-lines, for all of its bundle."""

    ufrag: str
    pwd: str = field(repr=False)  # Security: no log holds it
    bundle: tuple[str, ...]
    section: Section | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where all guests send to. addresses: the best first. fp: SHA-256 of the DTLS certificate."""

    addresses: tuple[str, ...]
    port: int
    fp: bytes


# ── reading ──────────────────────────────────────────────────────────────────────────────────


def read_offer(body: bytes, role: GuestRole) -> Offer:
    """role: what the guest wants to be. Raises BadOffer, UnsuitableOffer."""
    found = _description(body)
    if body[:3] != b"v=0":
        raise BadOffer(reason="it does not begin with v=0")
    if found.is_lite:
        raise UnsuitableOffer(reason="both sides would be ICE-lite, so nobody would begin")
    mids = [each.mid for each in found.sections if each.mid]
    if len(set(mids)) != len(mids):
        raise BadOffer(reason="two m-lines have the same mid")
    chosen, payload_type = _choose(found, role)
    first = found.sections[chosen[0]]
    # Transport is said in the m-line itself, or for its whole bundle in the first m-line of that
    # (RFC 9143 §7.1.3), or for everything before the first m-line (RFC 8839 §5.4, RFC 8122 §5).
    tagged = [each for each in found.sections if each.mid and each.mid in found.bundle[:1]]
    sources = (first, *tagged, found.session)
    ufrag = next((each.ufrag for each in sources if each.ufrag), "")
    pwd = next((each.pwd for each in sources if each.pwd), "")
    fingerprints = next((each.fingerprints for each in sources if each.fingerprints), set())
    setup = next((each.setup for each in sources if each.setup), "actpass")
    if not ufrag or not pwd:
        raise BadOffer(reason="ice-ufrag or ice-pwd is missing")
    if len(fingerprints) != 1:
        raise UnsuitableOffer(reason="it needs one fingerprint of kind sha-256")
    if setup not in ("actpass", "active"):
        raise UnsuitableOffer(reason="its setup has to be actpass or active")
    return Offer(
        role=role,
        sections=tuple(found.sections),
        chosen=chosen,
        is_bundled=first.mid != "" and first.mid in found.bundle,
        ufrag=ufrag,
        pwd=pwd,
        fp=next(iter(fingerprints)),
        payload_type=payload_type,
        level_extension=first.level_extension if role is GuestRole.SPEAKER else 0,
    )


def read_fragment(body: bytes) -> Fragment:
    """Raises BadOffer. Its candidates are not looked at: who is ICE-lite answers whoever comes."""
    found = _description(body)
    said = (*found.sections, found.session)
    named = {(each.ufrag, each.pwd) for each in said if each.ufrag}
    if len(named) > 1:
        raise BadOffer(reason="it has more than one ice-ufrag or ice-pwd")
    ufrag, pwd = next(iter(named), ("", ""))
    return Fragment(ufrag, pwd, found.bundle, found.sections[0] if found.sections else None)


def _description(body: bytes) -> _Description:
    if len(body) > OFFER_BYTES_MAX:
        raise BadOffer(reason=f"it has more than {OFFER_BYTES_MAX:,} bytes")
    try:
        lines = body.decode().replace("\r\n", "\n").split("\n")
    except UnicodeDecodeError as error:
        raise BadOffer(reason="it is not in UTF-8") from error
    if len(lines) > LINES_MAX or max(map(len, lines)) > LINE_CHARS_MAX:
        raise BadOffer(reason=f"it has more than {LINES_MAX:,} lines, or {LINE_CHARS_MAX:,} in one")
    found = _Description()
    at = found.session
    for number, line in enumerate(lines, 1):
        if line[:2] == "a=":
            name, _, value = line[2:].partition(":")
            if name in _READ:  # most are of codecs that are not ours, or candidates
                _attribute(found, at, name, value, number)
        elif line[:2] == "m=":
            if len(found.sections) == SECTIONS_MAX:
                raise BadOffer(reason=f"it has more than {SECTIONS_MAX} m-lines")
            at = _section(line[2:], number)
            at.direction = found.session.direction
            found.sections.append(at)
        elif line and line[1:2] != "=":
            raise BadOffer(reason=f"line {number} is not of the form x=…")
    return found


def _section(value: str, number: int) -> Section:
    words = value.split(" ")
    media, port, protocol, *formats = words if len(words) >= 4 else ("", "", "", "")
    good = (
        _TOKEN.fullmatch(media)
        and _is_number(port, 65_535)
        and _PROTOCOL.fullmatch(protocol)
        and len(formats) <= FORMATS_MAX
        and all(map(_TOKEN.fullmatch, formats))
    )
    if not good:
        raise BadOffer(reason=f"line {number} is no m-line")
    return Section(media, int(port), protocol, tuple(formats))


def _attribute(found: _Description, at: Section, name: str, rest: str, number: int) -> None:
    """What one a-line says of `at`."""
    good: object = True
    match name:
        case "mid":
            good = _TOKEN.fullmatch(rest) and len(rest) <= MID_CHARS_MAX and at is not found.session
            at.mid = rest
        case "group" if rest.startswith("BUNDLE") and not found.bundle:
            found.bundle = tuple(rest.split()[1:])
        case "ice-ufrag":
            good = _UFRAG.fullmatch(rest)
            at.ufrag = rest
        case "ice-pwd":
            good = _PWD.fullmatch(rest)
            at.pwd = rest
        case "fingerprint":
            kind, _, digits = rest.partition(" ")
            if kind.lower() == "sha-256":
                good = _SHA_256.fullmatch(digits) and len(at.fingerprints) < FINGERPRINTS_MAX
                if good:
                    at.fingerprints.add(bytes.fromhex(digits.replace(":", "")))
        case "setup":
            good = rest in ("actpass", "active", "passive", "holdconn")
            at.setup = rest
        case "rtpmap":
            payload_type, _, encoding = rest.partition(" ")
            if encoding.lower() == "opus/48000/2" and payload_type in at.formats:
                good = _is_number(payload_type, 127)
                # RFC 5761 §4: with rtcp-mux 64 to 95 would be taken for RTCP.
                if good and not 64 <= int(payload_type) <= 95:
                    at.opus.append(int(payload_type))
        case "extmap":
            which, _, uri = rest.partition(" ")
            identifier = which.partition("/")[0]
            if uri.partition(" ")[0] == LEVEL_URI and _is_number(identifier, LEVEL_ID_MAX):
                at.level_extension = int(identifier)
        case "rtcp-mux":
            at.rtcp_mux = True
        case "bundle-only":
            at.bundle_only = True
        case "ice-lite":
            found.is_lite = True
        case _ if name in _DIRECTIONS:
            at.direction = name
    if not good:
        raise BadOffer(reason=f"line {number} says {name} wrongly")


def _is_number(text: str, most: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5 and int(text) <= most


def _choose(found: _Description, role: GuestRole) -> tuple[tuple[int, ...], int]:
    """The m-lines that are accepted, and the payload type of Opus in all of them."""
    suiting = [
        index
        for index, each in enumerate(found.sections)
        if each.media == "audio"
        and each.protocol in _SECURE
        and each.opus
        and each.rtcp_mux
        and each.direction in _SUITS[role]
        and (each.port or each.bundle_only)  # port 0 alone: the guest does not want it any more
    ]
    if not suiting:
        wants = "receives" if role is GuestRole.LISTENER else "sends"
        raise UnsuitableOffer(
            reason=f"it needs an audio m-line that {wants} Opus over DTLS, with rtcp-mux"
        )
    first = found.sections[suiting[0]]
    payload_type = first.opus[0]
    together = [
        index
        for index in suiting
        if found.sections[index].mid in found.bundle and payload_type in found.sections[index].opus
    ]
    most = SLOTS_MAX if role is GuestRole.LISTENER else 1
    chosen = together[:most] if first.mid and first.mid in found.bundle else suiting[:1]
    return tuple(chosen), payload_type


# ── answering ────────────────────────────────────────────────────────────────────────────────


def write_answer(
    offer: Offer, place: Place, *, number: int, ufrag: str, pwd: str, slots: Sequence[Ssrc]
) -> str:
    """number: of this description, < 2^63. slots: the SSRC of each chosen m-line of a listener."""
    assert len(slots) == (len(offer.chosen) if offer.role is GuestRole.LISTENER else 0)
    lines = ["v=0", f"o=- {number} 1 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=ice-lite"]
    if offer.is_bundled:
        together = " ".join(offer.sections[index].mid for index in offer.chosen)
        lines.append(f"a=group:BUNDLE {together}")
    # What is one for the whole bundle would do in its first m-line (RFC 9143 §7.3.3). But aiortc
    # reads candidates in the last, and players in the one that they use: each m-line has it all.
    transport = (
        f"a=ice-ufrag:{ufrag}",
        f"a=ice-pwd:{pwd}",
        f"a=fingerprint:sha-256 {place.fp.hex(':').upper()}",
        "a=setup:passive",
        "a=rtcp-mux",
        f"a=rtpmap:{offer.payload_type} opus/48000/2",
        f"a=fmtp:{offer.payload_type} minptime=10;useinbandfec=1",
    )
    candidates = _candidates(place)
    kind = "IP6" if ":" in place.addresses[0] else "IP4"
    for index, section in enumerate(offer.sections):
        if index not in offer.chosen:
            # RFC 9429 §5.3.1: a rejected m-line keeps its place, with port 0.
            lines.append(f"m={section.media} 0 {section.protocol} {' '.join(section.formats)}")
            lines += ("c=IN IP4 0.0.0.0", *_mid(section), "a=inactive")
            continue
        lines += (
            f"m=audio {place.port} {section.protocol} {offer.payload_type}",
            f"c=IN {kind} {place.addresses[0]}",
            *_mid(section),
            *transport,
        )
        if offer.role is GuestRole.LISTENER:
            slot = offer.chosen.index(index)
            # One stream of all slots: a player that takes the first stream hears everybody.
            lines += ("a=sendonly", f"a=msid:p2phouse slot{slot}")
            lines.append(f"a=ssrc:{slots[slot]} cname:p2phouse")
        else:
            lines.append("a=recvonly")
            if offer.level_extension:
                lines.append(f"a=extmap:{offer.level_extension} {LEVEL_URI}")
        lines += candidates
    return "\r\n".join((*lines, ""))


def write_fragment(fragment: Fragment, place: Place, *, ufrag: str, pwd: str) -> str:
    """The answer to one that asks for an ICE restart (RFC 9725 §4.3.3)."""
    lines = ["a=ice-lite"]
    if fragment.bundle:
        lines.append(f"a=group:BUNDLE {' '.join(fragment.bundle)}")
    if fragment.section is not None:
        its = fragment.section
        lines.append(f"m={its.media} 9 {its.protocol} {' '.join(its.formats)}")
        lines += _mid(its)
    lines += (f"a=ice-ufrag:{ufrag}", f"a=ice-pwd:{pwd}", *_candidates(place))
    return "\r\n".join((*lines, ""))


def _mid(section: Section) -> tuple[str, ...]:
    return (f"a=mid:{section.mid}",) if section.mid else ()


def _candidates(place: Place) -> tuple[str, ...]:
    found = (f"a=candidate:{each}" for each in reached_at(place.addresses, place.port))
    return *found, "a=end-of-candidates"


def reached_at(addresses: Sequence[str], port: int) -> tuple[str, ...]:
    """Candidates (RFC 8839 §5.1) of a UDP port that is reached at these addresses, the best
    first."""
    first = (126 << 24) + (65_535 << 8) + 255  # RFC 8445 §5.1.2.1: host, component 1
    return tuple(
        f"{rank + 1} 1 udp {first - (rank << 8)} {address} {port} typ host"
        for rank, address in enumerate(addresses)
    )
