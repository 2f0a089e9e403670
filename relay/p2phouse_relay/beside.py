"""`p2phouse-relay up --beside UID`: a relay that a node starts for guests of its own rooms.

Nobody runs it as a service. It stands on the node's machine, carries what that node's owner opens
and nothing else, has no rooms of guests, and speaks plain HTTP, since a machine in a home has no
name that a certificate could be for. See docs/adr/0027.
"""

import socket
from pathlib import Path
from typing import Final

from p2phouse.errors import UserError
from p2phouse.guest.terms import Terms
from p2phouse.record import limits
from p2phouse.record.types import Admits
from p2phouse.vocabulary import UserKey
from p2phouse_relay.daemon import Among, RelayConfig
from p2phouse_relay.policy import Charter

GUESTS_MAX: Final = 200  # a hall full; a laptop's Wi-Fi has no room for more
WAITING_MAX: Final = 64  # they are all of one network, and come when the link is shown
ROOMS_MAX: Final = 4
PORT: Final = 8478  # if it is free, so that the link stays the same


class BadUid(UserError):
    """--beside {given} is no uid. A node that starts a relay knows its owner's."""


def beside(
    uid: str, *, name: str, address: str, home: Path | None, near: bool, port: int | None
) -> RelayConfig:
    """near: for rooms of one network, which nothing may leave. port: for nodes. Raises BadUid."""
    owner = _owner(uid)
    own_name = name[: limits.NAME_CODE_POINTS_MAX] or "a node"
    charter = Charter(
        name=own_name,
        admits=Admits.LISTED,
        rooms=ROOMS_MAX,
        rooms_each=ROOMS_MAX,
        listeners=GUESTS_MAX,
        kbps=500_000,
        allow=frozenset({owner}),
        near=near,
    )
    return RelayConfig(
        name=own_name,
        addresses=(address,),
        bind=address,
        http_port=_free(address, socket.SOCK_STREAM),
        udp_port=_free(address, socket.SOCK_DGRAM),
        # Security: a stranger on the network makes no room of his own here.
        # Test: test_beside.py::test_it_has_no_rooms_but_those_of_its_node
        terms=Terms(rooms={}, rooms_max=0, guests_max=GUESTS_MAX, waiting_max=WAITING_MAX),
        among=Among(charter, port, "loopback" if address == "127.0.0.1" else "off", home),
        stay_near=near,
    )


def _owner(uid: str) -> UserKey:
    try:
        owner = bytes.fromhex(uid)
    except ValueError:
        owner = b""
    if len(owner) != 32:
        raise BadUid(given=uid)
    return UserKey(owner)


def _free(address: str, kind: socket.SocketKind) -> int:
    """The usual port, or 0 for any if somebody has it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, kind) as trial:
        if kind == socket.SOCK_STREAM:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind((address, PORT))
        except OSError:
            return 0
    return PORT
