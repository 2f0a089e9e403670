"""What a hub costs the laptop that carries a room: its media process between three who speak and
sixty who listen, by the plain forwarder, with real ICE, DTLS and SRTP on each link.

Delay is from the speaker's send to the listener's SRTP, so both ends' own work is in it, and on
this machine they share the cores with the hub. CPU is the hub's alone, less what the idle links
cost it. Beside it stands aiortc's hook as in `forwarder`, one voice to a hundred sinks.
"""

import asyncio
import json
import time
from typing import Final

import numpy as np

from bench.figures import Figure
from bench.forwarder import Sinks, aiortc_hook
from bench.sinks import from_text, to_text
from p2phouse import channel
from p2phouse.channel import LinkRole, LinkStatus, TableRow
from p2phouse.link.link import Description, Link
from p2phouse.vocabulary import FRAME_S, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS, Packet, build, timestamp_of
from tests.engine.child import MediaChild

NAME = "hub_load"
VOICES: Final = 3
LISTENERS: Final = 60
SECONDS: Final = 10.0
PAYLOAD_BYTES: Final = 100  # 32 kb/s and the seal
TICKS_HZ: Final = 100  # of /proc/PID/stat


def cpu_s(child: MediaChild) -> float:
    with open(f"/proc/{child.process.pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_HZ


def offer(hub: MediaChild, number: LinkNumber) -> Description:
    hub.say(channel.OpenLink(number, LinkRole.OFFERER, False))
    end = hub.next(channel.LocalDescription, link=number)
    return Description(end.ufrag, end.pwd, end.fp, end.cands)


def answer(hub: MediaChild, number: LinkNumber, end: Description) -> None:
    hub.say(channel.ConnectLink(number, end.ufrag, end.pwd, end.fp, end.cands))


async def speaker(hub: MediaChild, number: LinkNumber) -> Link:
    up = asyncio.Event()

    def state(number: LinkNumber, status: LinkStatus, reason: str) -> None:
        assert status is LinkStatus.CONNECTED, reason
        up.set()

    link = Link(
        number,
        LinkRole.ANSWERER,
        local_only=False,
        loopback_only=True,
        on_packet=lambda number, data: None,
        on_control=lambda number, data: None,
        on_state=state,
    )
    described = offer(hub, number)
    answer(hub, number, await link.open())
    await link.connect(described)
    await up.wait()
    return link


async def talk(links: list[Link], seconds: float) -> int:
    """Each says a packet each 20 ms, one after the other; how many were said."""
    began, said = time.monotonic(), 0
    for tick in range(int(seconds / FRAME_S)):
        for n, link in enumerate(links):
            due = began + (tick + n / len(links)) * FRAME_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            payload = time.monotonic_ns().to_bytes(8) + bytes(PAYLOAD_BYTES - 8)
            level = 30 + (tick * 7 + n) % 20  # as speech varies
            link.send(
                build(
                    Packet(
                        PT_OPUS, False, tick, timestamp_of(tick), Ssrc(n + 1), level, True, payload
                    )
                )
            )
            said += 1
    return said


async def measure() -> tuple[float, float, float, float]:
    """CPU µs per packet, p50 and p99 delay in ms, and the share of a core."""
    hub, sinks = MediaChild("hub"), Sinks()
    try:
        speakers = [LinkNumber(n) for n in range(1, VOICES + 1)]
        listeners = [LinkNumber(n) for n in range(VOICES + 1, VOICES + 1 + LISTENERS)]
        links = [await speaker(hub, number) for number in speakers]
        for number in listeners:
            answer(hub, number, from_text(sinks.ask(to_text(offer(hub, number)))))
            assert hub.next(channel.LinkState, link=number).status is LinkStatus.CONNECTED
        rows = [
            TableRow(number, Ssrc(number), (), tuple(listeners), pinned=False)
            for number in speakers
        ]
        hub.set_table(*rows, loudest=VOICES)
        idle = cpu_s(hub)
        await asyncio.sleep(SECONDS)
        idle = cpu_s(hub) - idle
        sinks.ask("time")
        busy = cpu_s(hub)
        said = await talk(links, SECONDS)
        busy = cpu_s(hub) - busy
        await asyncio.sleep(0.5)
        delays_ms = np.array(json.loads(sinks.ask("delays"))) / 1_000
        wanted = said * LISTENERS
        assert len(delays_ms) > 0.999 * wanted, f"{len(delays_ms)} of {wanted} arrived"
        for link in links:
            await link.close()
    finally:
        sinks.close()
        hub.end()
    p50, p99 = np.percentile(delays_ms, [50, 99])
    return 1e6 * (busy - idle) / wanted, float(p50), float(p99), 100 * busy / SECONDS


def run() -> list[Figure]:
    cost_us, p50_ms, p99_ms, core = asyncio.run(measure())
    hook_us = asyncio.run(aiortc_hook())
    what = f"hub, {LISTENERS} listeners, {VOICES} voices"
    return [
        Figure(f"{what}: delay on the way, p50", round(p50_ms, 2), "ms"),
        Figure(f"{what}: delay on the way, p99", round(p99_ms, 2), "ms", "< 20"),
        Figure(
            f"{what}: CPU per packet sent on", round(cost_us, 2), "µs", "",
            "aiortc's hook, one voice, 100 sinks", round(hook_us, 2), "whole process, less idle",
        ),
        Figure(f"{what}: of one core", round(core, 1), "%"),
    ]  # fmt: skip
