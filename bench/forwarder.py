"""CPU for each packet that leaves the plain forwarder, beside aiortc's hook and its MediaRelay.

Real ICE, DTLS and SRTP to each sink; the sinks live in another process. Only this process's CPU
is counted, less what it spends on the same links when nothing is forwarded.
"""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

import numpy as np
from aiortc import (
    RTCCertificate,
    RTCConfiguration,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceTransport,
    RTCPeerConnection,
)
from aiortc.contrib.media import MediaRelay
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters

from bench.figures import Figure
from bench.mouth_to_ear import ClickTrack
from bench.sinks import from_text, to_text
from p2phouse.carry.forwarder import Forwarder
from p2phouse.carry.table import compile_table
from p2phouse.channel import LinkRole, LinkStatus, TableRow
from p2phouse.link.link import Description, Link
from p2phouse.vocabulary import FRAME_S, HERE, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS, Packet, build, timestamp_of

NAME = "forwarder"
SINKS = 100
SECONDS = 4.0
RELAYED = 6  # MediaRelay encodes for each: more do not fit on a core
PAYLOAD_BYTES = 100  # 32 kb/s and the seal
SSRC = Ssrc(7)


class Sinks:
    """The other process."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.sinks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, line: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()

    def close(self) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(20)
        self.process.stdout.close()


def packet(number: int) -> bytes:
    payload = os.urandom(PAYLOAD_BYTES)
    return build(
        Packet(PT_OPUS, False, number % 65_536, timestamp_of(number), SSRC, 30, True, payload)
    )


async def paced(send: Callable[[bytes], Awaitable[None] | None] | None) -> tuple[int, float]:
    """50 packets a second through `send`; how many, and the CPU seconds that all of it took."""
    packets = [packet(number) for number in range(int(SECONDS / FRAME_S))]
    began, cpu = time.monotonic(), time.process_time()
    for number, data in enumerate(packets):
        await asyncio.sleep(max(0.0, began + number * FRAME_S - time.monotonic()))
        if send is not None:
            waiting = send(data)
            if waiting is not None:
                await waiting
    return len(packets), time.process_time() - cpu


def cost_us(busy: tuple[int, float], idle: tuple[int, float], sinks: int) -> float:
    return 1e6 * (busy[1] - idle[1]) / (busy[0] * sinks)


async def plain_forwarder() -> float:
    """One voice from HERE to all sinks, by the shipped table, forwarder and links."""
    sinks = Sinks()
    forwarder = Forwarder(lambda ssrc, data: None)
    links = []
    up = asyncio.Semaphore(0)

    def state(number: LinkNumber, status: LinkStatus, reason: str) -> None:
        assert status is LinkStatus.CONNECTED, reason
        up.release()

    for number in range(1, SINKS + 1):
        link = Link(
            LinkNumber(number),
            LinkRole.OFFERER,
            local_only=False,
            loopback_only=True,
            on_packet=lambda number, data: None,
            on_control=lambda number, data: None,
            on_state=state,
        )
        links.append(link)
        answer = from_text(sinks.ask(to_text(await link.open())))
        await link.connect(answer)
        await up.acquire()
        forwarder.add(link.number, link.send)
    row = TableRow(HERE, SSRC, (), tuple(link.number for link in links))
    forwarder.set_table(compile_table(1, (row,)))
    idle = await paced(None)

    def send(data: bytes) -> None:
        forwarder.receive(HERE, data)

    busy = await paced(send)
    arrived = int(sinks.ask("count"))
    assert arrived > 0.99 * busy[0] * SINKS, f"{arrived} of {busy[0] * SINKS} arrived"
    for link in links:
        await link.close()
    sinks.close()
    return cost_us(busy, idle, SINKS)


async def aiortc_hook() -> float:
    """The same through aiortc's own transports: `await transport._send_rtp(packet)` per sink."""
    import aioice.ice

    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    sinks = Sinks()
    transports = []
    certificate = RTCCertificate.generateCertificate()
    for _ in range(SINKS):
        gatherer = RTCIceGatherer(iceServers=[])
        ice = RTCIceTransport(gatherer)
        ice._connection.ice_controlling = True
        dtls = RTCDtlsTransport(ice, [certificate])
        await gatherer.gather()
        (fingerprint,) = [
            each.value for each in certificate.getFingerprints() if each.algorithm == "sha-256"
        ]
        connection = ice._connection
        ours = Description(
            connection.local_username,
            connection.local_password,
            bytes.fromhex(fingerprint.replace(":", "")),
            tuple(candidate.to_sdp() for candidate in connection.local_candidates),
        )
        theirs = from_text(sinks.ask(to_text(ours)))
        for text in theirs.cands:
            await connection.add_remote_candidate(aioice.Candidate.from_sdp(text))
        await connection.add_remote_candidate(None)
        await ice.start(RTCIceParameters(theirs.ufrag, theirs.pwd))
        value = theirs.fp.hex(":").upper()
        await dtls.start(RTCDtlsParameters([RTCDtlsFingerprint("sha-256", value)]))
        assert dtls.state == "connected"
        transports.append((ice, dtls))

    async def send(data: bytes) -> None:
        for _, dtls in transports:
            await dtls._send_rtp(data)

    idle = await paced(None)
    busy = await paced(send)
    for ice, dtls in transports:
        await dtls.stop()
        await ice.stop()
    sinks.close()
    return cost_us(busy, idle, SINKS)


async def media_relay() -> float:
    """aiortc's MediaRelay: one track to a few peers, encoded again for each."""
    rng = np.random.default_rng(1)
    sound = (0.1 * rng.standard_normal(int((SECONDS + 3) * 48_000))).astype(np.float32)
    relay, track = MediaRelay(), ClickTrack(sound)
    settings = RTCConfiguration(iceServers=[])
    ends = []
    for _ in range(RELAYED):
        speaker, listener = RTCPeerConnection(settings), RTCPeerConnection(settings)
        speaker.addTrack(relay.subscribe(track))
        await speaker.setLocalDescription(await speaker.createOffer())
        await listener.setRemoteDescription(speaker.localDescription)
        await listener.setLocalDescription(await listener.createAnswer())
        # Listening costs too, and is not the relay's: nobody takes the frames, none are decoded.
        for receiver in listener.getReceivers():
            receiver._handle_rtp_packet = _pass_over
        await speaker.setRemoteDescription(listener.localDescription)
        ends += [speaker, listener]
    cpu = time.process_time()
    await asyncio.sleep(SECONDS)
    spent = time.process_time() - cpu
    for end in ends:
        await end.close()
    return 1e6 * spent / (RELAYED * SECONDS / FRAME_S)


async def _pass_over(packet: object, arrival_time_ms: int) -> None:
    pass


def run() -> list[Figure]:
    ours = asyncio.run(plain_forwarder())
    hook = asyncio.run(aiortc_hook())
    relay = asyncio.run(media_relay())
    what = f"CPU per packet, plain forwarder, {SINKS} sinks"
    return [
        Figure(what, ours, "µs", "≤ 20", "aiortc's hook, same sinks", hook, "whole process"),
        Figure(
            what,
            ours,
            "µs",
            "≤ 20",
            f"aiortc's MediaRelay, {RELAYED} sinks",
            relay,
            "encodes per sink",
        ),
    ]
