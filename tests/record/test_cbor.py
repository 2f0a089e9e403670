import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2phouse.record.cbor import DEPTH_MAX, ITEMS_MAX, Malformed, Value, decode, encode
from tests.record.strategies import VALUES

SIZE_MAX = 1 << 20


def nested(depth: int) -> bytes:
    """So many arrays inside one another."""
    return b"\x81" * (depth - 1) + b"\x80"


@given(VALUES)
@example([-(2**64), 2**64 - 1, {"": {}, 2**64 - 1: []}])
def test_what_is_encoded_decodes_to_the_same_value(value):
    assert decode(encode(value), size_max=SIZE_MAX) == value


@given(st.binary(max_size=64))
@example(bytes.fromhex("a20a0018640a"))
@example(nested(DEPTH_MAX))
def test_whatever_decodes_encodes_to_the_same_bytes(data):
    try:
        value = decode(data, size_max=64)
    except Malformed:
        return
    assert encode(value) == data


ACCEPTED: dict[str, Value] = {
    "00": 0,
    "17": 23,
    "1818": 24,
    "18ff": 255,
    "190100": 256,
    "19ffff": 65_535,
    "1a00010000": 65_536,
    "1affffffff": 2**32 - 1,
    "1b0000000100000000": 2**32,
    "1bffffffffffffffff": 2**64 - 1,
    "20": -1,
    "3903e7": -1_000,
    "3bffffffffffffffff": -(2**64),
    "40": b"",
    "4401020304": b"\x01\x02\x03\x04",
    "60": "",
    "62c3bc": "ü",
    "80": [],
    "83010203": [1, 2, 3],
    "a0": {},
    "a20a00186400": {10: 0, 100: 0},
    "a3000061610062616200": {0: 0, "a": 0, "ab": 0},
    "f4": False,
    "f5": True,
    "f6": None,
}


@pytest.mark.parametrize("text", ACCEPTED)
def test_every_kind_of_value_has_this_one_encoding(text):
    value = decode(bytes.fromhex(text), size_max=64)
    assert value == ACCEPTED[text]
    assert type(value) is type(ACCEPTED[text])
    assert encode(ACCEPTED[text]).hex() == text


REFUSED = {
    "nothing at all": "",
    "a byte after the value": "0000",
    "an array after the value": "8080",
    "23 in two bytes": "1817",
    "255 in three bytes": "1900ff",
    "65535 in five bytes": "1a0000ffff",
    "4294967295 in nine bytes": "1b00000000ffffffff",
    "-1 in two bytes": "3800",
    "a long head for a short byte string": "580100",
    "a long head for a short text": "780161",
    "a long head for a short array": "980100",
    "a long head for a short map": "b8010000",
    "an indefinite byte string": "5f4100ff",
    "an indefinite text": "7f6161ff",
    "an indefinite array": "9f00ff",
    "an indefinite map": "bf0000ff",
    "a break alone": "ff",
    "reserved head 28": "1c",
    "reserved head 29 on a text": "7d",
    "reserved head 30 on an array": "9e",
    "a tag: date": "c074323031332d30332d32315432303a30343a30305a",
    "a tag: big number": "c249010000000000000000",
    "a tag: decimal": "c48220196ab3",
    "a tag: shared value": "d81c80",
    "a tag: reference to it": "d81d00",
    "a tag: regular expression": "d8236161",
    "a tag: self-described CBOR": "d9d9f700",
    "a half float": "f90000",
    "a float": "fa47c35000",
    "a double": "fb3ff199999999999a",
    "undefined": "f7",
    "an unassigned simple value": "e0",
    "true spelled in two bytes": "f815",
    "a simple value of two bytes": "f8ff",
    "keys in falling order": "a2186400" + "0a00",
    "keys ordered by length first": "a30a00" + "186400" + "0b00",
    "a text key before a number key": "a2616100" + "0000",
    "one key twice": "a200000001",
    "one text key twice": "a2616100616101",
    "a negative key": "a12000",
    "true as a key": "a1f500",
    "null as a key": "a1f600",
    "bytes as a key": "a1416100",
    "an array as a key": "a18000",
    "nine arrays deep": nested(9).hex(),
    "nine maps deep": "a100" * 8 + "a0",
    "a map in eight arrays": "81" * 8 + "a0",
    "a byte string longer than its bytes": "4401",
    "a byte string of 2^63 bytes": "5b8000000000000000",
    "a text of 2^64-1 bytes": "7bffffffffffffffff",
    "an array of 2^32 items": "9b0000000100000000",
    "an array of two items with one": "8200",
    "a map of 2^64-1 pairs": "bbffffffffffffffff",
    "a map of two pairs with one": "a20000",
    "a map of one pair with half of it": "a100",
    "a head without its number": "19",
    "a head with half its number": "1901",
    "text with a lone continuation byte": "6180",
    "text with an overlong slash": "62c0af",
    "text with a surrogate": "63eda080",
    "text past U+10FFFF": "64f4908080",
    "text that ends inside a character": "61c3",
}


@pytest.mark.parametrize("what", REFUSED)
def test_every_rule_of_the_profile_refuses(what):
    with pytest.raises(Malformed):
        decode(bytes.fromhex(REFUSED[what]), size_max=64)


def test_eight_containers_deep_is_allowed_and_nine_are_not():
    assert encode(decode(nested(DEPTH_MAX), size_max=64)) == nested(DEPTH_MAX)
    with pytest.raises(Malformed, match="deeply"):
        decode(nested(DEPTH_MAX + 1), size_max=64)


def test_the_size_is_judged_before_the_content():
    assert decode(b"\x43abc", size_max=4) == b"abc"
    with pytest.raises(Malformed, match="5 bytes where at most 4"):
        decode(b"\xff" * 5, size_max=4)


def test_the_items_of_all_containers_are_counted_together():
    inner = (ITEMS_MAX - 1) // 3 - 1  # three arrays in one
    whole: list[Value] = [[0] * inner, [0] * inner, [0] * (ITEMS_MAX - 4 - 2 * inner)]
    assert decode(encode(whole), size_max=SIZE_MAX) == whole
    with pytest.raises(Malformed, match="too many items"):
        decode(encode([*whole, 0]), size_max=SIZE_MAX)
    assert decode(b"\x82\x00\x00", size_max=64, items_max=3) == [0, 0]
    with pytest.raises(Malformed, match="too many items"):
        decode(b"\xa1\x00\x00", size_max=64, items_max=2)


@pytest.mark.parametrize(
    "value",
    [
        1.0,
        2**64,
        -(2**64) - 1,
        "\ud800",
        bytearray(b"a"),
        (1, 2),
        {True: 0},
        {-1: 0},
        {b"a": 0},
        {2**64: 0},
        [[[[[[[[[]]]]]]]]],
        object(),
    ],
)
def test_what_would_not_decode_is_not_encoded(value):
    with pytest.raises(ValueError):
        encode(value)


def test_keys_are_ordered_by_their_encoded_bytes():
    assert (
        encode({"aa": 1, "b": 2, 100: 3, 10: 4}).hex()
        == "a40a04" + "186403" + "616202" + "62616101"
    )
