"""Offers of browsers, of other software and of people who mean harm; what they are answered."""

from pathlib import Path

import pytest
from aiortc.sdp import SessionDescription
from hypothesis import given, settings
from hypothesis import strategies as st

from p2phouse.channel import GuestRole
from p2phouse.errors import PeerError
from p2phouse.guest import sdp
from p2phouse.guest.sdp import BadOffer, Place, UnsuitableOffer, read_offer, write_answer
from p2phouse.vocabulary import Ssrc
from tests.record.mutants import mutant, survives

LISTENER, SPEAKER = GuestRole.LISTENER, GuestRole.SPEAKER
OFFERS = Path(__file__).parent / "offers"
PLACE = Place(("192.0.2.7", "2001:db8::7"), 7_000, bytes(range(32)))
PRINT = ":".join(["AB"] * 32)
SLOTS = tuple(map(Ssrc, (11, 22, 33, 44)))


def real(name: str) -> bytes:
    """As the browser or library wrote it, but for the addresses of candidates."""
    return (OFFERS / f"{name}.sdp").read_bytes()


def section(mid="0", *, direction="recvonly", port=9, pt=111, kind="audio", more=()) -> list[str]:
    return [
        f"m={kind} {port} UDP/TLS/RTP/SAVPF {pt} 9",
        "c=IN IP4 0.0.0.0",
        "a=ice-ufrag:abcd",
        "a=ice-pwd:" + "p" * 22,
        f"a=fingerprint:sha-256 {PRINT}",
        "a=setup:actpass",
        f"a=mid:{mid}",
        f"a={direction}",
        "a=rtcp-mux",
        f"a=rtpmap:{pt} opus/48000/2",
        *more,
    ]


def offer(*sections: list[str], bundle: str | None = None, session=()) -> bytes:
    mids = " ".join(line[6:] for each in sections for line in each if line[:6] == "a=mid:")
    lines = ["v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0"]
    lines += [f"a=group:BUNDLE {mids if bundle is None else bundle}", *session]
    return "\r\n".join([*lines, *(line for each in sections for line in each), ""]).encode()


def answered(body: bytes, role: GuestRole = LISTENER) -> tuple[sdp.Offer, str]:
    found = read_offer(body, role)
    slots = SLOTS[: len(found.chosen)] if role is LISTENER else ()
    text = write_answer(found, PLACE, number=7, ufrag="uuuu", pwd="w" * 24, slots=slots)
    return found, text


def m_lines(answer: str) -> list[str]:
    return [line for line in answer.split("\r\n") if line[:2] == "m="]


# ── what real ones get ───────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("name", "count"), [("chromium-recvonly", 4), ("aiortc-recvonly", 2)])
def test_every_m_line_of_a_listener_becomes_a_slot(name, count):
    found, text = answered(real(name))
    theirs = SessionDescription.parse(text)
    assert [each.direction for each in theirs.media] == ["sendonly"] * count
    assert [each.ssrc[0].ssrc for each in theirs.media] == list(SLOTS[:count])
    assert [each.rtp.muxId for each in theirs.media] == [str(index) for index in range(count)]
    assert theirs.group[0].items == [str(index) for index in range(count)]
    assert theirs.media[0].dtls.role == "server"
    assert theirs.media[0].ice.iceLite
    for media in theirs.media:  # aiortc itself takes those of the last m-line
        assert media.ice_candidates_complete
        assert [each.ip for each in media.ice_candidates] == list(PLACE.addresses)
        assert {each.port for each in media.ice_candidates} == {PLACE.port}
    assert theirs.media[0].dtls.fingerprints[0].value == PLACE.fp.hex(":").upper()
    codec = theirs.media[0].rtp.codecs[0]
    assert (codec.mimeType, codec.payloadType) == ("audio/opus", found.payload_type)


@pytest.mark.parametrize(
    ("name", "payload_type", "extension"),
    [("chromium-sendonly", 111, 1), ("aiortc-sendonly", 96, 2)],
)
def test_a_speaker_is_heard_with_the_level_of_each_packet(name, payload_type, extension):
    found, text = answered(real(name), SPEAKER)
    assert (found.payload_type, found.level_extension) == (payload_type, extension)
    theirs = SessionDescription.parse(text)
    assert [each.direction for each in theirs.media] == ["recvonly"]
    assert [(each.id, each.uri) for each in theirs.media[0].rtp.headerExtensions] == [
        (extension, sdp.LEVEL_URI)
    ]
    assert theirs.media[0].ssrc == []


def test_transport_may_be_said_once_for_all():
    """As Firefox says the fingerprint, and others everything."""
    moved = ("a=fingerprint", "a=ice-", "a=setup")
    bare = [line for line in section() if not line.startswith(moved)]
    said = [line for line in section() if line.startswith(moved)]
    assert read_offer(offer(bare, session=said), LISTENER).fp == b"\xab" * 32


def test_transport_may_be_said_once_for_a_bundle():
    video = section("v", kind="video")
    bare = [line for line in section("a") if not line.startswith(("a=fingerprint", "a=ice-"))]
    assert read_offer(offer(video, bare), LISTENER).ufrag == "abcd"


# ── what is rejected, and what is refused ────────────────────────────────────────────────────


def test_a_fifth_m_line_is_rejected_and_keeps_its_place():
    _, text = answered(offer(*(section(str(index)) for index in range(6))))
    assert [line.split()[1] for line in m_lines(text)] == ["7000"] * 4 + ["0"] * 2
    assert "a=group:BUNDLE 0 1 2 3\r\n" in text


def test_what_is_no_voice_is_rejected_in_its_place():
    data = ["m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "a=mid:d"]
    _, text = answered(offer(section("v", kind="video"), section("a"), data))
    assert [line.split()[:2] for line in m_lines(text)] == [
        ["m=video", "0"],
        ["m=audio", "7000"],
        ["m=application", "0"],
    ]
    assert "a=group:BUNDLE a\r\n" in text


def test_a_second_voice_of_a_speaker_is_rejected():
    both = [section(str(index), direction="sendonly") for index in range(2)]
    _, text = answered(offer(*both), SPEAKER)
    assert [line.split()[1] for line in m_lines(text)] == ["7000", "0"]


def test_m_lines_without_a_bundle_have_a_transport_each_and_only_the_first_is_taken():
    found, text = answered(offer(section("0"), section("1"), bundle="x"))
    assert found.chosen == (0,)
    assert "BUNDLE" not in text


def test_a_bundle_only_m_line_counts_though_its_port_is_0():
    second = section("1", port=0, more=["a=bundle-only"])
    assert read_offer(offer(section("0"), second), LISTENER).chosen == (0, 1)
    assert read_offer(offer(section("0"), section("1", port=0)), LISTENER).chosen == (0,)


def test_all_slots_have_one_payload_type():
    """One rewritten header serves them all."""
    assert read_offer(offer(section("0"), section("1", pt=112)), LISTENER).chosen == (0,)


@pytest.mark.parametrize(
    "body",
    [
        offer(section(direction="sendonly")),
        offer(section(direction="inactive")),
        offer(section(kind="video")),
        offer(section(pt=72)),
        offer([line for line in section() if line != "a=rtcp-mux"]),
        offer([line.replace("UDP/TLS/RTP/SAVPF", "RTP/AVP") for line in section()]),
        offer([line.replace("opus", "PCMU") for line in section()]),
        offer([line.replace("actpass", "passive") for line in section()]),
        offer([line.replace("sha-256", "sha-512") for line in section()]),
        offer(section(more=["a=fingerprint:sha-256 " + PRINT.replace("AB", "AC")])),
        offer(section(), session=["a=ice-lite"]),
        offer(),
    ],
)
def test_an_offer_in_which_nothing_can_be_given_is_unsuitable(body):
    with pytest.raises(UnsuitableOffer):
        read_offer(body, LISTENER)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"\xff\xfe",
        offer(section())[5:],
        offer(section("0"), section("0")),
        offer(section("m" * 33)),
        offer([line for line in section() if not line.startswith("a=ice-pwd")]),
        offer([line.replace("abcd", "ab") for line in section()]),
        offer([line.replace("abcd", "a b\tcd") for line in section()]),
        offer([line.replace("p" * 22, "p" * 21) for line in section()]),
        offer([line.replace("AB:AB", "AB:ZZ") for line in section()]),
        offer([line.replace("actpass", "both") for line in section()]),
        offer(section(port=65_536)),
        offer(["m=audio 9"]),
        offer(section(), session=["no line at all"]),
        offer(section(), session=["i=" + "x" * sdp.LINE_CHARS_MAX]),
        offer(*(section(str(index)) for index in range(sdp.SECTIONS_MAX + 1))),
        offer(section(), session=["a="] * sdp.LINES_MAX),
        offer(section()) + b"\r\n" * sdp.OFFER_BYTES_MAX,
        offer(section(), session=["a=mid:0"]),
    ],
)
def test_what_is_no_offer_is_bad_and_its_words_are_not_repeated(body):
    with pytest.raises(BadOffer) as told:
        read_offer(body, LISTENER)
    assert "ZZ" not in str(told.value)


def test_as_much_as_is_allowed_is_read():
    sections = [section(str(index)) for index in range(sdp.SECTIONS_MAX)]
    body = offer(*sections, session=["i=" + "x" * (sdp.LINE_CHARS_MAX - 2)])
    assert len(read_offer(body, LISTENER).chosen) == sdp.SLOTS_MAX


# ── whatever comes ───────────────────────────────────────────────────────────────────────────

CORPUS = [real(path.stem) for path in sorted(OFFERS.glob("*.sdp"))] + [offer(section())]


@given(st.binary(max_size=400) | st.text(max_size=400).map(str.encode), st.sampled_from(GuestRole))
def test_whatever_comes_is_read_or_refused_by_name(body, role):
    try:
        read_offer(body, role)
    except PeerError:
        return


@settings(max_examples=300)
@given(st.sampled_from(CORPUS), st.sampled_from(GuestRole), st.randoms(use_true_random=False))
def test_an_offer_with_lines_moved_cut_and_doubled_gets_an_answer_of_its_own_shape(body, role, rng):
    """And no word of it but mids and formats comes back."""
    lines = body.split(b"\r\n")
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(lines))
        match rng.randrange(4):
            case 0:
                del lines[at]
            case 1:
                lines.insert(rng.randrange(len(lines)), lines[at])
            case 2:
                lines[at] = lines[at][: rng.randrange(len(lines[at]) + 1)]
            case 3:
                lines[at] += rng.choice([b" 111", b"\ra=evil", b":0", b"\x00", "é".encode()])
        if not lines:
            return
    try:
        found, text = answered(b"\r\n".join(lines), role)
    except PeerError:
        return
    theirs = SessionDescription.parse(text)
    assert len(theirs.media) == len(found.sections)
    accepted = [index for index, each in enumerate(theirs.media) if each.port]
    assert accepted == list(found.chosen)
    assert 1 <= len(accepted) <= (sdp.SLOTS_MAX if role is LISTENER else 1)
    assert "evil" not in text
    assert text.isascii()


def test_no_malformed_offer_takes_long_or_much():
    def read(body: bytes) -> None:
        read_offer(body, LISTENER)

    survives(read, lambda rng: mutant(rng, CORPUS), errors=PeerError)


def test_a_fragment_tells_whose_it_is():
    assert sdp.read_fragment(b"a=ice-ufrag:abcd\r\na=candidate:rubbish\r\n").ufrag == "abcd"
