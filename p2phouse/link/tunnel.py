"""What both ends of a tunnel agree on: sound through a relay's HTTPS where UDP is blocked. Pure.

A WebSocket carries the datagrams of an ordinary link, each as one binary message, so ICE, DTLS and
SRTP inside it are what they are over UDP. A relay names its tunnel as one more candidate, with a
token that is good once and for this link alone (docs/protocol.md §5.1).
"""

import re
from collections import deque
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

PATH: Final = "/ws/media"
DATAGRAM_BYTES_MAX: Final = 1_500
HOST_CHARS_MAX: Final = 90  # what the rest of a candidate leaves of its 160
LATE_S: Final = 0.1  # what waited so long for TCP is worth less than what comes next
WAITING_MAX: Final = 128  # twice what four voices bring within that

_LABEL: Final = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_CANDIDATE: Final = re.compile(
    rf"\S{{1,32}} 1 wss \d{{1,10}} (?P<host>(?:{_LABEL}\.)*{_LABEL}|[0-9a-f:.]+)"
    r" (?P<port>\d{1,5}) typ relay token (?P<token>[0-9a-f]{32})",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Entrance:
    """Of one tunnel. host: a name or an address, for which the certificate there has to be."""

    host: str
    port: int
    token: str = field(repr=False)  # Security: no log holds it


def write(entrance: Entrance) -> str:
    """As a candidate in the form of RFC 8839 §5.1; who does not know `wss` passes it over."""
    return f"tunnel 1 wss 1 {entrance.host} {entrance.port} typ relay token {entrance.token}"


def read(candidate: str) -> Entrance | None:
    """None if it is another kind of candidate."""
    found = _CANDIDATE.fullmatch(candidate)
    if found is None:
        return None
    host, port = found["host"], int(found["port"])
    if len(host) > HOST_CHARS_MAX or (":" in host and not _is_address(host)):
        return None
    # Security: a relay cannot have us knock at mail or shells of other machines.
    # Test: test_tunnel.py::test_what_is_no_entrance_of_a_tunnel_is_passed_over
    if port != 443 and not 1_024 <= port < 65_536:
        return None
    return Entrance(host, port, found["token"])


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


class Newest:
    """Datagrams that wait for TCP to take them: the late are dropped, the oldest first."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[float, bytes]] = deque()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, now_s: float, data: bytes) -> None:
        self._waiting.append((now_s, data))
        self._drop(now_s)

    def take(self, now_s: float) -> list[bytes]:
        """All that are still worth sending."""
        self._drop(now_s)
        taken = [data for _, data in self._waiting]
        self._waiting.clear()
        return taken

    def _drop(self, now_s: float) -> None:
        waiting = self._waiting
        while waiting and (len(waiting) > WAITING_MAX or waiting[0][0] < now_s - LATE_S):
            waiting.popleft()
            self.dropped += 1
