"""What is known of one link at a port, from when it is expected until it is forgotten."""

from collections.abc import Iterable
from math import inf
from typing import Final

from p2phouse.link.handshake import Handshake
from p2phouse.link.lite import Way
from p2phouse.link.port import Sink
from p2phouse.link.srtp import Receiving
from p2phouse.vocabulary import LinkNumber

CONTROL_SSRCS_MAX: Final = 16  # under which it reports; a browser has one for each line


class Peer:
    """One link at a port. `sink` is there once it is connected."""

    __slots__ = (
        "begun_s",
        "control_ssrcs",
        "credit",
        "fingerprint",
        "first",
        "forged",
        "handshake",
        "held",
        "is_node",
        "is_server",
        "last_flight",
        "last_flights",
        "moved_s",
        "network",
        "number",
        "payload_type",
        "receiving",
        "sink",
        "ssrcs",
        "ssrcs_max",
        "tls",
        "waiting",
        "way",
        "ways",
    )

    def __init__(
        self,
        number: LinkNumber,
        *,
        ssrcs_max: int,
        payload_type: int | None,
        is_node: bool,
    ) -> None:
        self.number = number
        self.ssrcs_max = ssrcs_max
        self.payload_type = payload_type
        self.is_node = is_node
        self.is_server = True
        self.fingerprint = b""  # empty: nobody knows yet
        self.way: Way | None = None
        self.ways: set[Way] = set()
        self.network = 0
        self.waiting = 0  # of its datagrams
        self.credit = 0.0  # bytes that may be sent to its way
        self.held: list[bytes] = []  # until there is credit for them
        self.handshake: Handshake | None = None
        self.first = b""  # a first flight that waits for its turn
        self.begun_s = inf
        self.moved_s = inf  # when its handshake last got further
        self.last_flight: list[bytes] = []
        self.last_flights = 0
        self.sink: Sink | None = None
        self.receiving: Receiving | None = None
        self.tls: Handshake | None = None  # a node's, kept to say and to read a goodbye
        self.ssrcs: set[bytes] = set()
        self.control_ssrcs: set[bytes] = set()
        self.forged = 0

    def due(self, datagrams: Iterable[bytes]) -> list[bytes]:
        """What of these, and before them of what is held, may be sent to its way now.

        Security: an address written on a check and a first flight may be anybody's, and our flight
        is longer. Test: test_peers.py::test_a_flight_is_not_turned_on_somebody_else
        """
        self.held += datagrams
        due = []
        while self.held and len(self.held[0]) <= self.credit:
            due.append(self.held.pop(0))
            self.credit -= len(due[-1])
        return due

    # Security: for each new SSRC, of sound or reports, libsrtp keeps what it never gives back.
    # Test: test_peers.py::test_reports_under_ever_new_names_are_bounded

    def open(self, data: bytes) -> bytes | None:
        """Plain RTP; None if it is forged, came before, or is of a voice too many."""
        ssrc = data[8:12]
        if self.receiving is not None and (ssrc in self.ssrcs or len(self.ssrcs) < self.ssrcs_max):
            plain = self.receiving.open(data)
            if plain is not None:
                self.ssrcs.add(ssrc)
                return plain
        self.forged += 1
        return None

    def open_control(self, data: bytes) -> bytes | None:
        """The same of RTCP."""
        ssrc, known = data[4:8], self.control_ssrcs
        if self.receiving is not None and (ssrc in known or len(known) < CONTROL_SSRCS_MAX):
            plain = self.receiving.open_control(data)
            if plain is not None:
                known.add(ssrc)
                return plain
        self.forged += 1
        return None
