"""A crowd of our own at a relay of our own: real sockets, ICE, DTLS and SRTP on loopback."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from p2phouse.link.handshake import Identity
from p2phouse.link.lite import Credentials
from p2phouse_relay.crowd.crowd import LISTENERS_MAX
from p2phouse_relay.crowd.guest import Guest, Stage
from p2phouse_relay.crowd.offer import NoAnswer, read_answer, write_offer
from p2phouse_relay.crowd.place import NoPlainHttp, NotOurs, Place, relay_at, source
from p2phouse_relay.crowd.processes import CannotRehearse, cpu_s, crowd_at, trial_relay
from p2phouse_relay.crowd.said import BYTES_MAX, BYTES_MIN, PAYLOAD_BYTES, payload_of, said_ns


def test_it_goes_to_this_machine_and_to_no_other():
    assert relay_at("http://127.0.0.1:8478") == Place("127.0.0.1", 8478)
    assert relay_at("http://localhost:80/").address == ("127.0.0.1", 80)
    assert relay_at("http://[::1]:80").host == "::1"
    for elsewhere in ("http://192.0.2.1:80", "http://[2001:db8::1]:80", "http://1.1.1.1:80"):
        with pytest.raises(NotOurs, match="not on this machine"):
            relay_at(elsewhere)


@pytest.mark.parametrize(
    "given",
    ["https://127.0.0.1:1", "127.0.0.1:80", "http://example.org:80", "http://127.0.0.1", "x:1",
     "http://127.0.0.1:80/whep/tea", "http://127.0.0.1:99999", "ftp://127.0.0.1:80"],
)  # fmt: skip
def test_what_is_no_address_of_a_relay_is_said_in_a_sentence(given):
    with pytest.raises(NoPlainHttp, match=r"http://127\.0\.0\.1:PORT"):
        relay_at(given)


def test_on_loopback_everybody_comes_from_a_network_of_their_own():
    place = Place("127.0.0.1", 1)
    sources = [source(place, number) for number in range(LISTENERS_MAX)]
    networks = {each.rpartition(".")[0] for each in sources if each is not None}
    assert len(networks) == LISTENERS_MAX
    assert source(Place("192.0.2.1", 1), 1) is None


@pytest.mark.parametrize("size", [BYTES_MIN, BYTES_MIN + 1, PAYLOAD_BYTES, BYTES_MAX])
def test_what_a_speaker_says_can_be_checked_to_the_last_byte(size):
    said = payload_of(2, 77, 123_456_789, size)
    assert len(said) == size
    assert said_ns(said) == 123_456_789
    for place in range(len(said)):
        changed = said[:place] + bytes([said[place] ^ 1]) + said[place + 1 :]
        assert said_ns(changed) is None
    assert said_ns(said[:-1]) is None
    assert said_ns(said + b"\0") is None


def test_an_answer_without_what_is_needed_is_none():
    ours = Credentials("abcd", "x" * 22)
    answer = write_offer(ours, bytes(32), lines=1, ssrc=None) + (
        b"a=candidate:1 1 udp 1 127.0.0.1 5 typ host\r\na=ssrc:9 cname:x\r\n"
    )
    assert read_answer(answer).candidates == (("127.0.0.1", 5),)
    assert read_answer(answer).ssrcs == (9,)
    for missing, what in ((b"a=ice-pwd", "cred"), (b"a=fing", "finger"), (b"a=cand", "cand")):
        with pytest.raises(NoAnswer, match=what):
            read_answer(answer.replace(missing, b"a=other"))


def test_an_answer_leads_a_crowd_to_nobody_else():
    answer = write_offer(Credentials("abcd", "x" * 22), bytes(32), lines=1, ssrc=None) + (
        b"a=candidate:1 1 udp 1 192.0.2.1 5 typ host\r\n"
    )
    with _http(
        b"HTTP/1.1 201 Created\r\ncontent-length: %d\r\n\r\n%b" % (len(answer), answer)
    ) as at:
        guest = joined(at)
    assert guest.stage is Stage.FAILED
    assert guest.reason == "the answer leads to another machine"


def test_whoever_is_refused_says_why():
    with _http(b"HTTP/1.1 503 x\r\ncontent-length: 5\r\n\r\nfull\n") as at:
        guest = joined(at)
    assert (guest.stage, guest.status, guest.reason) == (Stage.FAILED, 503, "HTTP 503: full")


def joined(at: Place) -> Guest:
    """A guest that has been answered by HTTP, for good or ill."""
    guest = Guest(0, at, Identity(), "/whep/tea", lines=1)
    guest.begin(0.0)
    while guest.stage is Stage.ASKING:
        sock, _ = guest.waits_on
        sock.setblocking(True)
        sock.settimeout(5.0)
        guest.act(0.0)
    return guest


@contextmanager
def _http(answer: bytes) -> Iterator[Place]:
    """A server that says this to the first who asks."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            line, _ = server.accept()
            with line:
                line.recv(65_536)
                line.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        yield Place("127.0.0.1", server.getsockname()[1])
        thread.join()


def test_a_crowd_hears_all_that_is_said_by_all_voices():
    with (
        trial_relay() as relay,
        crowd_at(relay.http, listeners=20, voices=3) as crowd,
    ):
        crowd.speak()
        first = crowd.join(12, at_once=4)
        assert (first.asked, first.joined, first.failed, first.reason) == (12, 12, 0, "")
        crowd.mark()
        later = crowd.join(100, at_once=8)
        assert later.joined == 8  # as many as were agreed at the start
        crowd.rest(1.0)
        told = crowd.tell()
        crowd.leave()
    assert told.listeners == 12
    assert told.lost == told.duplicated == told.silent == told.foreign == 0
    assert told.expected > 12 * 3 * 30
    assert told.opened > 0
    assert told.unopened == told.wrong == told.padding == 0
    assert 0 < told.delay_ms_p50 <= told.delay_ms_p99


def test_packets_of_unequal_length_that_go_together_are_heard_as_they_were_said():
    with (
        trial_relay(together_above=0) as relay,
        crowd_at(relay.http, listeners=7, voices=2) as crowd,
    ):
        crowd.speak([[60, 61], [100]])
        crowd.join(7, at_once=7)
        crowd.mark()
        crowd.rest(0.5)
        told = crowd.tell()
        crowd.leave()
    assert told.opened > 0
    assert told.unopened == told.wrong == told.lost == 0
    assert 0 < told.padding < told.octets / 4


def test_it_says_what_it_could_not_do():
    with socket.create_server(("127.0.0.1", 0)) as server:
        nobody = server.getsockname()[1]
    for where, what in (
        (f"127.0.0.1:{nobody}", "refused"),
        ("192.0.2.1:80", "not on this machine"),
    ):
        with (
            crowd_at(f"http://{where}", listeners=1, voices=1) as crowd,
            pytest.raises(CannotRehearse, match=what),
        ):
            crowd.speak()


def test_what_another_process_costs_is_known_to_the_end_of_its_threads():
    code = (
        "import threading\n"
        "work = threading.Thread(target=sum, args=(range(20_000_000),))\n"
        "work.start(); work.join(); print(flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        ticks = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        in_proc = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
        assert in_proc > 0.1
        assert abs(cpu_s(process.pid) - in_proc) < 0.03
        process.communicate(b"\n")


def test_it_ends_when_nobody_wants_it_any_more():
    with trial_relay() as relay:
        command = (sys.executable, "-m", "p2phouse_relay.crowd", relay.http, "--listeners", "1")
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as crowd:
            assert crowd.stdin is not None
            assert crowd.stdout is not None
            crowd.stdin.write(b'{"do": "speak"}\n')
            crowd.stdin.flush()
            assert crowd.stdout.readline() == b"{}\n"
            crowd.stdin.write(b'{"do": "rest", "seconds": 600}\n')
            crowd.stdin.close()
            assert crowd.wait(10.0) == 0
