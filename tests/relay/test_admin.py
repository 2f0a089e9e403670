"""What the operator's tools are told of a relay that runs, and how it is drained."""

import json
import resource
import signal
import stat
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from p2phouse.drive import clock
from p2phouse_relay import home as relay_homes
from p2phouse_relay import traffic
from p2phouse_relay.admin import RUNNING_NAME, NotRunning, where
from p2phouse_relay.daemon import Among, Relay, running
from p2phouse_relay.policy import Charter
from p2phouse_relay.telling import lines
from p2phouse_relay.traffic import Traffic
from tests.guest.test_sdp import offer, section
from tests.relay.test_relay import LISTEN, PLAIN, asked


async def admin_port(its: Relay) -> int:
    path = its.config.home / RUNNING_NAME  # type: ignore[operator]  # given
    with trio.fail_after(10):
        while not path.exists():  # noqa: ASYNC110 - nobody is told
            await trio.sleep(0.01)
    return where(path.parent)[0]


async def test_metrics_and_status_count_and_name_nobody(tmp_path):
    async with running(replace(PLAIN, home=tmp_path)) as its:
        await asked(its, "POST", "/whep/secret-room", LISTEN)
        speak = offer(section(direction="sendonly"))
        await asked(its, "POST", "/whip/secret-room/zebedee", speak)
        facts = await trio.to_thread.run_sync(relay_homes.ask, tmp_path, "GET", "/status")
        assert (facts["listeners"], facts["speakers"], facts["rooms"]) == (1, 1, 1)
        assert facts["joined"] == 2
        assert facts["ready"] is True
        text = await metrics(where(tmp_path)[0])
        found = {
            (sample.name, *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
        assert found["p2phouse_relay_guests", "listener"] == 1
        assert found["p2phouse_relay_joined_total", "speaker"] == 1
        assert found["p2phouse_relay_ready",] == 1
        for secret in ("secret-room", "zebedee", "127.0.0.1"):
            assert secret not in text + json.dumps(facts)
    assert not (tmp_path / RUNNING_NAME).exists()
    with pytest.raises(NotRunning):
        relay_homes.ask(tmp_path, "GET", "/status")


async def metrics(port: int) -> str:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    async with stream:
        head = f"GET /metrics HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n"
        await stream.send_all(head.encode())
        told = b"".join([part async for part in stream]).decode()
    assert told.startswith("HTTP/1.1 200")
    return told.partition("\r\n\r\n")[2]


async def test_a_drained_relay_lets_nobody_in_and_ends_when_the_last_has_left(tmp_path):
    async with running(replace(PLAIN, home=tmp_path)) as its:
        place = (await asked(its, "POST", "/whep/tea", LISTEN))[1]["location"]
        port = await admin_port(its)
        assert (await asked(port, "POST", "/drain"))[0] == 421  # Host: x
        facts = await trio.to_thread.run_sync(relay_homes.ask, tmp_path, "POST", "/drain")
        assert facts["draining"] is True
        assert (await asked(its, "POST", "/whep/tea", LISTEN))[0] == 503
        assert not its.drained.is_set()
        await asked(its, "DELETE", place)
        with trio.fail_after(10):
            await its.drained.wait()


async def test_nobody_drains_a_relay_without_the_token_of_its_home(tmp_path):
    async with running(replace(PLAIN, home=tmp_path)) as its:
        await admin_port(its)
        path = tmp_path / RUNNING_NAME
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        said = json.loads(path.read_text())
        path.write_text(json.dumps(said | {"token": "0" * 32}))
        with pytest.raises(NotRunning):
            await trio.to_thread.run_sync(relay_homes.ask, tmp_path, "POST", "/drain")
        assert not its.guests.capacity.draining


async def test_a_month_that_is_spent_is_said_in_status_and_to_who_comes_and_survives_a_restart(
    tmp_path,
):
    month = datetime.fromtimestamp(clock().unix, UTC).strftime("%Y-%m")
    sent = Traffic(month=month, octets=11 * traffic.GB)
    traffic.write(tmp_path, sent.written())
    among = Among(Charter(gb_month=10), 0, "loopback", tmp_path)
    async with running(replace(PLAIN, home=tmp_path, among=among)) as its:
        await admin_port(its)
        while not its.guests.capacity.month_permille:  # noqa: ASYNC110 - looked at each second
            await trio.sleep(0.05)
        status, headers, text = await asked(its, "POST", "/whep/tea", LISTEN)
        assert (status, headers["retry-after"]) == (503, "3600")
        assert "this month" in text
        facts = await trio.to_thread.run_sync(relay_homes.status, str(tmp_path))
        assert facts["month_bytes"] >= 11 * traffic.GB
        (line,) = [each for each in lines(facts) if "GB sent" in each]
        assert line.startswith(f"11.0 GB sent in {month}, 110 % of 10: nobody more is let in")
    assert traffic.read(tmp_path).octets >= 11 * traffic.GB


async def test_a_home_that_cannot_be_written_is_said_and_ends_no_relay(tmp_path):
    async with running(replace(PLAIN, home=tmp_path)) as its:
        await admin_port(its)
        its.meter.traffic.add(clock(), 5)
        few, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
        try:
            await its.meter.keep()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (few, most))
            signal.signal(signal.SIGXFSZ, handler)
        facts = await trio.to_thread.run_sync(relay_homes.status, str(tmp_path))
        assert facts["unkept"] == "File too large"
        assert "a restart forgets what was sent" in lines(facts)[-1]
        assert (await asked(its, "POST", "/whep/tea", LISTEN))[0] == 201
        await its.meter.keep()
        assert traffic.read(tmp_path).octets == 5
        assert its.meter.unkept == ""
