"""What a node cannot know without asking or comparing, for `doctor.py` to judge.

Sends nothing but a question or two to relays that know us already (stun.py).
"""

import contextlib
import statistics
from collections.abc import Callable, Sequence
from ipaddress import ip_address
from typing import Final

import trio

from p2phouse.errors import PeerError
from p2phouse.net import stun
from p2phouse.net.acquaintances import Acquaintances
from p2phouse.net.addresses import Address, Interface
from p2phouse.net.cards import Cards
from p2phouse.net.dht import Dht
from p2phouse.net.doctor import STALE_S, Observed
from p2phouse.net.ground import Ground
from p2phouse.net.lives import Lives
from p2phouse.net.named_relays import NamedRelays
from p2phouse.net.nat import Nat
from p2phouse.net.nearby import Nearby
from p2phouse.record import cbor
from p2phouse.vocabulary import DeviceKey, Entropy

ASK_S: Final = 1.0
ASK_TRIES: Final = 3


class Examination:
    """Looks at the parts of a network."""

    def __init__(
        self,
        own: DeviceKey,
        *,
        ground: Ground,
        nearby: Nearby,
        lives: Lives,
        nat: Nat,
        named: NamedRelays,
        acquaintances: Acquaintances,
        dht: Dht,
        cards: Cards,
        any_port: bool,
        carries: Callable[[], bool],
        entropy: Entropy,
    ) -> None:
        """any_port: whether the person asked for none. carries: whether they let this node be a
        circuit relay for others."""
        self.was_reached = False  # somebody far away has come to us
        self._own = own
        self._ground = ground
        self._nearby = nearby
        self._lives = lives
        self._nat = nat
        self._named = named
        self._acquaintances = acquaintances
        self._dht = dht
        self._cards = cards
        self._any_port = any_port
        self._carries = carries
        self._entropy = entropy

    async def look(
        self,
        reflectors: Sequence[Address],
        apart: Callable[[Sequence[Address | None]], list[str]],
    ) -> Observed:
        """apart: names of people in our network that we cannot reach, given how we look from
        outside, to the reflectors."""
        asked_port, reflections = await reflect(reflectors, self._entropy)
        ground, life = self._ground, self._lives.now
        here, near, far = self._lives.peers_by_place([each.ip for each in ground.interfaces])
        heard, unanswered = self._nearby.heard
        return Observed(
            lan=self._nearby.lan,
            interfaces=[each for each in ground.interfaces if not each.ip.is_loopback],
            has_way_out=ground.has_way_out,
            port=ground.port,
            any_port=self._any_port,
            heard=heard,
            unanswered=unanswered,
            lan_trouble=self._nearby.trouble,
            apart=apart(reflections),
            here_peers=here,
            near_peers=near,
            far_peers=far,
            known_peers=self._acquaintances.count,
            in_table=self._dht.count,
            is_public=ground.is_public,
            was_reached=self.was_reached,
            relays=len(self._nat.circuits),
            relays_named=self._named.count,
            relays_found=sum(map(self._lives.connected, self._named.devs)),
            relay_only=self._named.alone,
            carries=self._carries(),
            places=life.relay.reservations if life is not None else 0,
            circuits=life.relay.circuits if life is not None else 0,
            asked_port=asked_port,
            reflections=reflections,
            clock_s=clock_difference(
                list(self._nat.clocks.values()), list(self._cards.heard), self._own
            ),
        )


async def reflect(
    reflectors: Sequence[Address], entropy: Entropy, *, wait_s: float = ASK_S
) -> tuple[int, list[Address | None]]:
    """Asks each from one socket, those of IPv4 if there are any; the socket's port, and what they
    say, None for silence.

    Routers translate IPv4; of IPv6 there is to learn whether an answer comes.
    """
    version = min((each.ip.version for each in reflectors), default=0)
    asked = [each for each in reflectors if each.ip.version == version]
    if not asked:
        return 0, []
    found: list[Address | None] = [None] * len(asked)
    family = trio.socket.AF_INET if version == 4 else trio.socket.AF_INET6
    with trio.socket.socket(family, trio.socket.SOCK_DGRAM) as socket:
        await socket.bind(("0.0.0.0" if version == 4 else "::", 0))
        questions = [stun.request(entropy) for _ in asked]
        for _ in range(ASK_TRIES):
            for reflector, answer, (_, datagram) in zip(asked, found, questions, strict=True):
                if answer is None:
                    with contextlib.suppress(OSError):
                        await socket.sendto(datagram, (str(reflector.ip), reflector.port))
            with trio.move_on_after(wait_s):
                while None in found:
                    await _hear(socket, questions, found)
            if None not in found:
                break
        return int(socket.getsockname()[1]), found


async def _hear(
    socket: trio.socket.SocketType,
    questions: Sequence[tuple[bytes, bytes]],
    found: list[Address | None],
) -> None:
    try:
        data = await socket.recv(stun.REQUEST_BYTES_MAX)
    except OSError:  # nobody listens there, says its machine
        await trio.sleep(0.05)
        return
    for number, (transaction, _) in enumerate(questions):
        with contextlib.suppress(PeerError):
            found[number] = stun.read(data, transaction)


def clock_difference(
    relays: Sequence[float], cards: Sequence[tuple[bytes, float]], own: DeviceKey
) -> float | None:
    """How far others' clocks are ahead of ours in seconds, None if nobody tells.

    relays: what each of ours said; cards: with our time when we heard them; those that `own` signed
    before a restart come back, and tell nothing. A card is made before
    it is heard, and told again each few minutes: one from the future, or none but old ones, says
    that it is we who are wrong.
    """
    if relays:
        return statistics.median(relays)
    ahead = [created - at for data, at in cards if (created := _created(data, own)) is not None]
    if not ahead:
        return None
    newest = max(ahead)
    if newest > 0 or newest < -STALE_S:
        return newest
    return 0.0


def _created(card: bytes, own: DeviceKey) -> int | None:
    """When a card that is not `own`'s says it was made.

    Unverified: it decides nothing but a hint to its reader.
    """
    with contextlib.suppress(PeerError):
        match cbor.decode(card, size_max=2_048):
            case [1, int(), bytes(body), bytes()]:
                match cbor.decode(body, size_max=2_048):
                    case [1, bytes(), bytes(), bytes(dev), int(), int(created), *_] if dev != own:
                        return created
    return None


def shares_network(
    theirs: Sequence[str], outside: Sequence[Address | None], networks: Sequence[Interface]
) -> bool:
    """Whether a peer with these candidates stands behind our own router and on our network."""
    parts = [text.split() for text in theirs]
    told = [(part[7], part[4]) for part in parts if len(part) > 7]
    ours = {str(each.ip) for each in outside if each is not None}
    behind = any(kind == "srflx" and ip in ours for kind, ip in told)
    with contextlib.suppress(ValueError):
        return behind and any(
            kind == "host" and ip_address(ip) in network.network
            for kind, ip in told
            for network in networks
            if ip_address(ip).version == 4
        )
    return False
