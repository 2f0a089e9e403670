import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from p2phouse.record.cbor import DEPTH_MAX, ITEMS_MAX, Malformed, Value, decode, encode
from tests.record.cbor_cases import ACCEPTED, REFUSED, nested
from tests.record.strategies import VALUES

SIZE_MAX = 1 << 20


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


@pytest.mark.parametrize("text", ACCEPTED)
def test_every_kind_of_value_has_this_one_encoding(text):
    value = decode(bytes.fromhex(text), size_max=64)
    assert value == ACCEPTED[text]
    assert type(value) is type(ACCEPTED[text])
    assert encode(ACCEPTED[text]).hex() == text


@pytest.mark.parametrize("what", REFUSED)
def test_every_rule_of_the_profile_refuses(what):
    with pytest.raises(Malformed):
        decode(bytes.fromhex(REFUSED[what]), size_max=256)


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
