"""How long listeners wait for the next packet when who carries them dies, and whether a hand-over
loses any: the shipped cores of media and the shipped plan, in virtual time, so that no machine's
load is in it. Networks are modelled: one-way delays of each link drawn once, exponential jitter,
loss on every link. `hub` has the same of real nodes.
"""

from typing import Final

import numpy as np

from bench.figures import Figure
from tests.carry.wires import Conditions, HubRoom

NAME = "failover"
ROOMS: Final = 100
NETWORKS: Final = {
    "one LAN": Conditions(delay_s=(0.0005, 0.002), jitter_s=0.001),
    "homes, 1 % loss": Conditions(loss=0.01),
    "bad Wi-Fi, 5 % loss": Conditions(delay_s=(0.005, 0.080), jitter_s=0.015, loss=0.05),
}
ANA: Final = HubRoom.VOICES["m1"]


def killed(conditions: Conditions) -> list[float]:
    gaps = []
    for seed in range(ROOMS):
        room = HubRoom(seed, conditions)
        room["m1"].talk(ANA)
        room.run(1.5 + seed % 97 / 1_000)
        room["hub"].kill()
        at = room.now
        room.run(1.0)
        gaps += [node.gap_ms(ANA, at) for node in room.listeners]
    return gaps


def handed_over(conditions: Conditions) -> tuple[int, list[float]]:
    """Frames that nobody brought though the wire loses none, and the spacings of what came."""
    missing, spacings = 0, []
    for seed in range(ROOMS):
        room = HubRoom(seed, conditions)
        room["m1"].talk(ANA)
        room.run(1.5)
        first = len(room["m2"].heard[ANA]) - 10
        names = list(room.net.nodes)
        room.net.rng.shuffle(names)
        at = room.now
        for name in names:
            room.adopt(name, "standby", "hub", "hub")
            room.run(room.net.rng.uniform(0, 0.1))
        room.run(1.0)
        for node in room.listeners:
            times = sorted(heard.at for heard in node.heard[ANA] if heard.at >= at)
            spacings += [1_000 * float(each) for each in np.diff(times)]
            newest = max(heard.seq for heard in node.heard[ANA])
            missing += len(node.missing(ANA, first, newest - 10))
    return missing, spacings


def run() -> list[Figure]:
    figures = []
    for name, conditions in NETWORKS.items():
        p50, p99 = np.percentile(killed(conditions), [50, 99])
        note = f"{ROOMS} rooms, 3 listeners each, modelled"
        # Over bad Wi-Fi the way alone takes most of that, and haste would double all traffic.
        aim = ("≤ 150", "≤ 300") if conditions.jitter_s < 0.010 else ("", "")
        figures += [
            Figure(f"hub dies, {name}: packet gap, p50", round(p50), "ms", aim[0], note=note),
            Figure(f"hub dies, {name}: packet gap, p99", round(p99), "ms", aim[1]),
        ]
    missing, spacings = handed_over(Conditions())
    figures += [
        Figure("hand-over, homes: frames lost", missing, "", "≤ 0", note="heard of in any order"),
        Figure(
            "hand-over, homes: spacing of packets, p99",
            round(float(np.percentile(spacings, 99)), 1), "ms", "≤ 65",
        ),
    ]  # fmt: skip
    return figures
