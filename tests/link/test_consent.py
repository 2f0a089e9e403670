"""The quick way through a check says what aioice says of it, byte for byte."""

import random

from aioice import stun
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.link import consent
from tests.link.browser import check, credentials

OURS, THEIRS = credentials("ours"), credentials("theirs")
NAME, KEY = b"ours:theirs", OURS.pwd.encode()


def aioice_reads(data: bytes) -> bool | None:
    """What the long way makes of it."""
    try:
        message = stun.parse_message(data)
    except Exception:  # whatever: it is no check
        return None
    if message.message_class is not stun.Class.REQUEST or "ICE-CONTROLLED" in message.attributes:
        return None
    if message.attributes.get("USERNAME") != NAME.decode():
        return None
    if not message.check_message_integrity(KEY):
        return None
    return "USE-CANDIDATE" in message.attributes


def test_it_reads_as_aioice_does():
    rng = random.Random(7)
    for nominate in (False, True):
        good = check(THEIRS, OURS, nominate=nominate)
        assert consent.read(good, NAME, KEY) is nominate
        for _ in range(3_000):
            data = bytearray(good)
            for _ in range(rng.randrange(1, 4)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            cut = bytes(data[: rng.randrange(len(data) + 1)] if rng.random() < 0.2 else data)
            mine, theirs = consent.read(cut, NAME, KEY), aioice_reads(cut)
            # aioice refuses a wrong fingerprint; behind a right MAC it says nothing more.
            assert mine is None or mine is theirs or cut[:-8] == good[:-8]


@given(st.binary(max_size=200))
def test_noise_is_left_to_aioice(data):
    assert consent.read(data, NAME, KEY) is None
    assert consent.read(check(THEIRS, OURS)[:20] + data, NAME, KEY) is None


def test_a_check_by_another_or_in_another_role_is_left_to_aioice():
    assert consent.read(check(THEIRS, OURS, pwd="wrong"), NAME, KEY) is None
    assert consent.read(check(credentials("else"), OURS), NAME, KEY) is None
    assert consent.read(check(THEIRS, OURS, controlling=False), NAME, KEY) is None


@given(st.binary(min_size=12, max_size=12), st.ip_addresses().map(str), st.integers(1, 65_535))
def test_it_answers_as_aioice_does(transaction, host, port):
    message = stun.Message(stun.Method.BINDING, stun.Class.RESPONSE, transaction)
    message.attributes["XOR-MAPPED-ADDRESS"] = (host, port)
    message.add_message_integrity(KEY)
    assert consent.answer(transaction, host, port, KEY) == bytes(message)
