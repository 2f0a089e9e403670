import os
from ipaddress import ip_address

import nacl.signing
import pytest
import trio
from aioice import stun as theirs
from hypothesis import given
from hypothesis import strategies as st

from p2phouse.net import hello, stun
from p2phouse.net.addresses import Address
from p2phouse.net.faults import Faults
from p2phouse.net.hello import HelloAnswerer
from p2phouse.net.stun import NoReflection
from tests.net.conftest import clock

ips = st.ip_addresses()
ports = st.integers(1, 65_535)


@given(ips, ports)
def test_who_asks_hears_where_they_are(ip, port):
    transaction, datagram = stun.request(os.urandom)
    assert stun.is_request(datagram)
    assert stun.read(stun.answer(datagram, ip, port), transaction) == Address(ip, port)


@given(ips, ports)
def test_no_answer_is_longer_than_its_question(ip, port):
    # Security: else a forged source would have us send more than it cost.
    _, datagram = stun.request(os.urandom)
    assert len(datagram) == stun.REQUEST_BYTES
    assert len(stun.answer(datagram, ip, port)) <= len(datagram)
    assert not stun.is_request(theirs_request(pad=0)), "an unpadded question gets no answer"


def theirs_request(pad):
    message = theirs.Message(
        message_method=theirs.Method.BINDING, message_class=theirs.Class.REQUEST
    )
    if pad:
        message.attributes["SOFTWARE"] = "p2phouse".ljust(pad)
    return bytes(message)


def test_another_implementation_s_question_is_answered_so_that_it_understands():
    datagram = theirs_request(pad=20)
    assert stun.is_request(datagram)
    read = theirs.parse_message(stun.answer(datagram, ip_address("5.8.1.2"), 40_000))
    assert read.attributes["XOR-MAPPED-ADDRESS"] == ("5.8.1.2", 40_000)


@given(st.binary(max_size=300))
def test_noise_is_no_question_and_no_answer(data):
    assert stun.is_request(data) is False or data[:2] == b"\x00\x01"
    with pytest.raises(NoReflection):
        stun.read(data, b"another one!")


def test_an_answer_to_another_question_is_refused():
    # Security: it would have us tell others a stranger's address as ours.
    _, datagram = stun.request(os.urandom)
    with pytest.raises(NoReflection):
        stun.read(stun.answer(datagram, ip_address("5.8.1.2"), 1), bytes(12))


@pytest.mark.parametrize(
    "attributes",
    ["", "0020000400010000", "00200008000300000000", "002000080001", "80220004aaaaaaaa"],
)
def test_an_answer_that_names_no_address_is_refused(attributes):
    body = bytes.fromhex(attributes)
    data = b"\x01\x01" + len(body).to_bytes(2, "big") + b"\x21\x12\xa4\x42" + bytes(12) + body
    with pytest.raises(NoReflection):
        stun.read(data, bytes(12))


def answerer(**more):
    key = nacl.signing.SigningKey(bytes(32))
    return HelloAnswerer(key, addrs=list, clock=clock, faults=Faults(), **more)


async def test_a_relay_answers_on_the_port_of_hello_and_others_keep_silent():
    for reflects in (True, False):
        served = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
        await served.bind(("127.0.0.1", 0))
        port = served.getsockname()[1]
        async with trio.open_nursery() as nursery:
            one = answerer(reflects=lambda reflects=reflects: reflects)
            nursery.start_soon(one.serve_udp, served)
            with trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM) as asker:
                await asker.bind(("127.0.0.1", 0))
                transaction, datagram = stun.request(os.urandom)
                await asker.sendto(datagram, ("127.0.0.1", port))
                # A hello after it: once that is answered, nothing else comes any more.
                _, greeting = hello.request(os.urandom)
                await asker.sendto(greeting, ("127.0.0.1", port))
                first, _ = await asker.recvfrom(600)
                own = Address(ip_address("127.0.0.1"), asker.getsockname()[1])
                if reflects:
                    assert stun.read(first, transaction) == own
                else:
                    assert len(first) > stun.REQUEST_BYTES_MAX // 2
                    with pytest.raises(NoReflection):
                        stun.read(first, transaction)
            nursery.cancel_scope.cancel()


def test_a_source_is_answered_so_often_and_no_more():
    each = answerer(reflects=lambda: True)
    _, datagram = stun.request(os.urandom)
    answers = [each.reflect(datagram, "5.8.1.2", 1) for _ in range(int(hello.ANSWERS_BURST) + 20)]
    assert answers.count(None) == 20
    assert each.reflect(datagram, "5.8.1.3", 1) is not None
