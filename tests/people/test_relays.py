"""The file of the relays that somebody knows."""

from pathlib import Path

import pytest
from nacl.signing import SigningKey

from p2phouse.errors import UserError
from p2phouse.people.relays import RELAYS_MAX, KnownRelay, NoSuchRelay, RelayBook, TooManyRelays
from p2phouse.record import envelope
from p2phouse.record.types import Policy
from p2phouse.relays import BadRelayAddress, address_of
from tests.record import samples


def relay(number: int, host: str = "", name: str = "") -> KnownRelay:
    key = SigningKey(bytes([number]) * 32)
    told = {field: getattr(samples.POLICY, field) for field in Policy.__slots__}
    told |= {"dev": bytes(key.verify_key), "name": name or f"relay {number}"}
    signed = envelope.sign(Policy(**told), key)
    return KnownRelay(host or f"{number}.example", 17_472, signed)


def test_relays_are_kept_in_their_order_and_one_that_comes_again_takes_its_own_place(tmp_path):
    book = RelayBook(tmp_path)
    assert book.read() == []
    for number in (1, 2):
        book.put(relay(number))
    book.put(relay(1, host="new.example"))
    assert [each.at for each in RelayBook(tmp_path).read()] == [
        "2.example:17472",
        "new.example:17472",
    ]


def test_one_is_taken_off_by_its_address_its_host_or_its_name(tmp_path):
    book = RelayBook(tmp_path)
    for text in ("1.example:17472", "1.EXAMPLE", "Relay 1"):
        book.put(relay(1))
        assert book.take_off(text).at == "1.example:17472"
    with pytest.raises(NoSuchRelay):
        book.take_off("1.example")


def test_of_two_with_one_name_neither_is_meant(tmp_path):
    book = RelayBook(tmp_path)
    book.put(relay(1, name="choir"))
    book.put(relay(2, name="choir"))
    with pytest.raises(NoSuchRelay):
        book.take_off("choir")


def test_sixteen_are_kept_and_no_more(tmp_path):
    book = RelayBook(tmp_path)
    for number in range(RELAYS_MAX):
        book.put(relay(number))
    with pytest.raises(TooManyRelays):
        book.put(relay(RELAYS_MAX))
    book.put(relay(3))
    assert len(book.read()) == RELAYS_MAX == 16


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x82\x01\x81\x83\x61a\x01\x40", b"\xff" * 70_000])
def test_a_damaged_file_is_told_of_and_left_as_it_is(tmp_path: Path, data: bytes):
    path = tmp_path / "relays"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(UserError):
        RelayBook(tmp_path).read()
    with pytest.raises(UserError):
        RelayBook(tmp_path).put(relay(1))
    assert path.read_bytes() == data


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("relay.example", ("relay.example", 17_472)),
        ("relay.example:80", ("relay.example", 80)),
        ("192.0.2.7", ("192.0.2.7", 17_472)),
        ("[2001:db8::7]:90", ("2001:db8::7", 90)),
        ("[2001:db8::7]", ("2001:db8::7", 17_472)),
    ],
)
def test_an_address_may_leave_out_its_port(text, meant):
    assert address_of(text) == meant


@pytest.mark.parametrize("text", ["", ":80", "relay.example:", "relay.example:x", "a:0", "a:65536"])
def test_what_is_no_address_is_said_to_be_none(text):
    with pytest.raises(BadRelayAddress):
        address_of(text)
