import base64
import re
from dataclasses import replace
from string import ascii_letters, digits

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multiaddr import Multiaddr

from p2phouse.hall import invitation
from p2phouse.hall.invitation import LINK_CHARS_MAX, Invitation, LinkUnreadable
from p2phouse.identity.keys import peer_id
from p2phouse.vocabulary import DeviceKey, RoomId

ROOM = RoomId(bytes(range(32)))
DEV = DeviceKey(bytes(range(32, 64)))
ADDRESS = "/ip4/192.168.1.7/tcp/17472"
LINK = (
    "p2ph:aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypq"
    "?d=12D3KooWBynX2HaNg73xSLq9TJDQjQKozxCh7MgVqKgGGXWXYzQn"
    "&a=/ip4/192.168.1.7/tcp/17472"
)

KEYS = st.binary(min_size=32, max_size=32)
PORTS = st.integers(0, 65_535)
ADDRESSES = st.one_of(
    st.builds("/ip4/{}/tcp/{}".format, st.ip_addresses(v=4), PORTS),
    st.builds("/ip6/{}/tcp/{}".format, st.ip_addresses(v=6), PORTS),
).map(lambda text: bytes(Multiaddr(text).to_bytes()))


@given(
    st.builds(
        Invitation,
        room=KEYS.map(RoomId),
        dev=KEYS.map(DeviceKey),
        addrs=st.lists(ADDRESSES, min_size=1, max_size=4).map(tuple),
        invite=st.just(b"") | st.binary(min_size=200, max_size=260),  # a true one has some 250
    )
)
def test_a_link_brings_back_what_was_put_into_it(sent):
    link = invitation.write(sent)
    assert invitation.read(link) == sent
    assert len(link) <= LINK_CHARS_MAX
    assert set(link) <= set(ascii_letters + digits + ":?=&/.%-_")


def test_a_link_reads_as_the_protocol_says():
    sent = Invitation(ROOM, DEV, (bytes(Multiaddr(ADDRESS).to_bytes()),))
    assert invitation.write(sent) == LINK
    assert base64.b32decode(LINK[5:57].upper() + "====") == ROOM
    assert peer_id(DEV) in LINK


@pytest.mark.parametrize(
    "text",
    [
        f"  {LINK}\n",
        LINK.removeprefix("p2ph:"),
        LINK.replace(LINK[5:57], LINK[5:57].upper()),
        LINK.replace("/", "%2F"),
        LINK + "&later=something",
    ],
)
def test_what_a_messenger_does_to_a_link_does_no_harm(text):
    assert invitation.read(text) == invitation.read(LINK)


DAMAGED = {
    "nothing": "",
    "the scheme alone": "p2ph:",
    "another scheme": LINK.replace("p2ph:", "https:"),
    "a room cut short": LINK.replace("dypq?", "dyp?"),
    "a room too long": LINK.replace("dypq?", "dypqaa?"),
    "no room": LINK.replace(LINK[5:57], ""),
    "a digit that base32 lacks": LINK.replace("p2ph:a", "p2ph:1"),
    "an accent in the room": LINK.replace("p2ph:a", "p2ph:á"),
    "no query": LINK[:57],
    "no PeerId": LINK.replace("d=12D3", "e=12D3"),
    "two PeerIds": LINK + "&d=12D3KooWBynX2HaNg73xSLq9TJDQjQKozxCh7MgVqKgGGXWXYzQn",
    "a PeerId cut short": LINK.replace("YzQn&", "YzQ&"),
    "a PeerId with a zero": LINK.replace("12D3", "10D3"),
    "an accent in the PeerId": LINK.replace("12D3", "12é3"),
    "five addresses": LINK + f"&a={ADDRESS}" * 4,
    "an address that is none": LINK.replace(ADDRESS, "192.168.1.7:17472"),
    "an address past its range": LINK.replace("192.168.1.7", "192.168.1.777"),
    "a port past its range": LINK.replace("17472", "70000"),
    "an address with half a byte": LINK.replace(ADDRESS, "/ip4/192.168.1.7/tcp/%"),
    "an address of 65 bytes": LINK.replace(ADDRESS, "/dns4/" + "x" * 60 + "/tcp/1"),
    "a thousand characters too many": LINK + "&x=" + "y" * 1_000,
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_link_is_told_in_one_sentence(what):
    with pytest.raises(LinkUnreadable, match="Copy it again, from p2ph: to its end"):
        invitation.read(DAMAGED[what])


def test_a_link_without_an_address_names_whom_to_look_for():
    bare = LINK[: LINK.index("&")]
    for text in (bare, bare + "&a="):
        assert invitation.read(text) == replace(invitation.read(LINK), addrs=())


def test_a_link_is_cut_at_1024_characters():
    padding = LINK_CHARS_MAX - len(LINK) - 3
    assert invitation.read(LINK + "&x=" + "y" * padding) == invitation.read(LINK)
    with pytest.raises(LinkUnreadable, match="longer than 1024"):
        invitation.read(LINK + "&x=" + "y" * (padding + 1))


def test_an_address_may_have_64_bytes():
    long = LINK.replace(ADDRESS, "/dns4/" + "x" * 59 + "/tcp/1")
    (addr,) = invitation.read(long).addrs
    assert len(addr) == 64


def test_a_link_that_would_be_too_long_names_fewer_addresses_and_keeps_its_invite():
    text = "/ip4/10.0.0.1/tcp/17472/p2p/" + peer_id(DEV)
    addrs = tuple(bytes(Multiaddr(text).to_bytes()) for _ in range(4))
    sent = Invitation(ROOM, DEV, addrs, bytes(512))
    link = invitation.write(sent)
    read = invitation.read(link)
    assert len(link) <= LINK_CHARS_MAX
    assert read.invite == sent.invite
    assert 1 <= len(read.addrs) < 4


@pytest.mark.parametrize("damage", ["&i=*", "&i=AAA*", "&i=A", "&i=AAAA&i=AAAA", "&i=" + "A" * 700])
def test_a_damaged_invite_in_a_link_is_told(damage):
    with pytest.raises(LinkUnreadable, match="invite"):
        invitation.read(LINK + damage)


def test_a_room_s_id_alone_is_text_that_fits_into_the_path_of_a_page():
    text = invitation.room_text(ROOM)
    assert re.fullmatch("[a-z2-7]{52}", text)
    assert invitation.room_of(text) == ROOM
    for damaged in ("", text[:-1], f"{text}a", f"{text[:-1]}!", "é" * 52):
        with pytest.raises(LinkUnreadable):
            invitation.room_of(damaged)
