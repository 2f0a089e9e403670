"""What an operator's own tools ask of a running relay, on loopback: health, metrics, status, drain.

Counts alone: no address, no name of a guest or room is in any of it. Whoever is on this machine may
read it; to drain takes the token that stands in a file of the relay's home.
"""

import hmac
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from p2phouse.errors import UserError
from p2phouse.guest.exchange import Reply, Request
from p2phouse.guest.shards import ShardFacts
from p2phouse.identity.keyfile import write_atomically
from p2phouse.vocabulary import Entropy

RUNNING_NAME: Final = "running.json"
TEXT: Final = (("content-type", "text/plain; charset=utf-8"),)
JSON: Final = (("content-type", "application/json"), ("cache-control", "no-store"))
METRICS: Final = (("content-type", "text/plain; version=0.0.4; charset=utf-8"),)


class NotRunning(UserError):
    """No relay runs with the home {home}. Start it with p2phouse-relay up."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How a relay is at a moment."""

    is_ready: bool
    is_draining: bool
    rooms: int
    speakers: int
    listeners: int
    waiting: int
    speakers_joined: int
    listeners_joined: int
    refused: int
    sent_on: int
    processes: Sequence[ShardFacts]  # those that carry sound
    not_sent_on: int
    media_restarts: int
    connections: int
    up_s: float
    month: str = ""  # of which the bytes are, as 2026-05
    month_bytes: int = 0
    month_bytes_max: int = 0  # 0: as much as there is
    certificate_days: float | None = None  # it is good for; None behind a proxy
    unkept: str = ""  # why what was sent this month could not be stored the last time
    node_rooms: int = 0
    node_people: int = 0
    node_kbps: int = 0
    node_refused: int = 0
    tunnels: int = 0

    @property
    def guests(self) -> int:
        return self.speakers + self.listeners


class Admin(Collector):
    """Answers by what `counts` gives at that moment."""

    def __init__(self, counts: Callable[[], Counts], drain: Callable[[], None], token: str) -> None:
        self._counts = counts
        self._drain = drain
        self._token = token
        self._registry = CollectorRegistry()
        self._registry.register(self)

    async def answer(self, request: Request) -> Reply:
        # Security: a page whose name now leads to 127.0.0.1 gives itself away by it.
        host = request.headers.get("host", "").rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost"):
            return Reply(421, TEXT, b"ask 127.0.0.1\n")
        match request.method, request.path:
            case "GET", "/health":
                counts = self._counts()
                well = counts.is_ready and not counts.is_draining
                return Reply(200 if well else 503, TEXT, b"ok\n" if well else b"no\n")
            case "GET", "/metrics":
                return Reply(200, METRICS, generate_latest(self._registry))
            case "GET", "/status":
                return Reply(200, JSON, json.dumps(facts(self._counts())).encode())
            case "POST", "/drain":
                kind, _, given = request.headers.get("authorization", "").partition(" ")
                good = hmac.compare_digest(given.encode(), self._token.encode())
                # Security: another user of this machine may see how it is, not end it.
                if kind.lower() != "bearer" or not good:
                    return Reply(401, (*TEXT, ("www-authenticate", "Bearer")))
                self._drain()
                return Reply(200, JSON, json.dumps(facts(self._counts())).encode())
        return Reply(404, TEXT, b"nothing is here\n")

    def collect(self) -> Iterator[Metric]:
        """prometheus_client asks this for each scrape."""
        counts = self._counts()
        guests = GaugeMetricFamily(
            "p2phouse_relay_guests", "Guests who are here or expected.", labels=["role"]
        )
        guests.add_metric(["speaker"], counts.speakers)
        guests.add_metric(["listener"], counts.listeners)
        yield guests
        joined = CounterMetricFamily(
            "p2phouse_relay_joined", "Offers answered since the start.", labels=["role"]
        )
        joined.add_metric(["speaker"], counts.speakers_joined)
        joined.add_metric(["listener"], counts.listeners_joined)
        yield joined
        yield CounterMetricFamily(
            "p2phouse_relay_refused", "Answers with 503 since the start.", value=counts.refused
        )
        yield CounterMetricFamily(
            "p2phouse_relay_sent_on",
            "Guests who were told of another relay, since the start.",
            value=counts.sent_on,
        )
        yield CounterMetricFamily(
            "p2phouse_relay_media_restarts",
            "How often the process with the sound has died.",
            value=counts.media_restarts,
        )
        yield CounterMetricFamily(
            "p2phouse_relay_node_rooms_refused",
            "Rooms of nodes that were not taken, since the start.",
            value=counts.node_refused,
        )
        yield CounterMetricFamily(
            "p2phouse_relay_not_sent_on",
            "Packets that did not get from one process with the sound to another.",
            value=counts.not_sent_on,
        )
        load = GaugeMetricFamily(
            "p2phouse_relay_media_load", "Share of its core that sound uses.", labels=["process"]
        )
        at_each = GaugeMetricFamily(
            "p2phouse_relay_media_guests", "Guests at this process.", labels=["process"]
        )
        for each in counts.processes:
            load.add_metric([str(each.shard)], each.load_permille / 1_000)
            at_each.add_metric([str(each.shard)], each.guests)
        yield from (load, at_each)
        if counts.certificate_days is not None:
            yield GaugeMetricFamily(
                "p2phouse_relay_certificate_days",
                "For how many days the certificate is good.",
                value=round(counts.certificate_days, 2),
            )
        for name, said, value in (
            ("node_rooms", "Rooms of nodes that are carried.", counts.node_rooms),
            ("node_people", "People in them.", counts.node_people),
            ("node_kbps", "Sent in them, in kb/s.", counts.node_kbps),
            ("tunnels", "Nodes whose sound goes through HTTPS.", counts.tunnels),
            ("rooms", "Rooms that somebody is in, or was a minute ago.", counts.rooms),
            ("month_bytes", "Sent this month, of UDP and IP.", counts.month_bytes),
            ("month_bytes_max", "That may be sent; 0: any.", counts.month_bytes_max),
            ("store_failed", "1 if the home cannot be written.", int(bool(counts.unkept))),
            ("waiting", "Guests whose sound has not come yet.", counts.waiting),
            ("http_connections", "Open connections.", counts.connections),
            ("ready", "1 if guests can come.", int(counts.is_ready)),
            ("draining", "1 if nobody more is taken in.", int(counts.is_draining)),
        ):
            yield GaugeMetricFamily(f"p2phouse_relay_{name}", said, value=value)


def facts(counts: Counts) -> dict[str, object]:
    """As `status --json` prints them."""
    return {
        "ready": counts.is_ready,
        "draining": counts.is_draining,
        "rooms": counts.rooms,
        "node_rooms": counts.node_rooms,
        "node_people": counts.node_people,
        "node_kbps": counts.node_kbps,
        "node_refused": counts.node_refused,
        "tunnels": counts.tunnels,
        "speakers": counts.speakers,
        "listeners": counts.listeners,
        "waiting": counts.waiting,
        "joined": counts.speakers_joined + counts.listeners_joined,
        "refused": counts.refused,
        "sent_on": counts.sent_on,
        "processes": [
            {
                "process": each.shard,
                "guests": each.guests,
                "load_pct": round(each.load_permille / 10, 1),
            }
            for each in counts.processes
        ],
        "not_sent_on": counts.not_sent_on,
        "media_restarts": counts.media_restarts,
        "month": counts.month,
        "month_bytes": counts.month_bytes,
        "month_bytes_max": counts.month_bytes_max,
        "unkept": counts.unkept,
        "certificate_days": counts.certificate_days,
        "up_s": round(counts.up_s, 1),
    }


# ── where it is, for commands ────────────────────────────────────────────────────────────────


def new_token(entropy: Entropy) -> str:
    return entropy(16).hex()


def say_where(home: Path, port: int, token: str) -> Path:
    """The file by which `status` and `drain` find the relay that runs; readable by us alone."""
    path = home / RUNNING_NAME
    write_atomically(path, json.dumps({"port": port, "token": token}).encode())
    return path


def where(home: Path) -> tuple[int, str]:
    """Port and token. Raises NotRunning."""
    try:
        found = json.loads((home / RUNNING_NAME).read_bytes())
        return int(found["port"]), str(found["token"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NotRunning(home=home) from error
