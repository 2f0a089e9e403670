"""libp2p's kad-dht in a cell: its messages, its routing table and its answers, and no network.

py-libp2p 0.8.1 as shipped speaks the protocol id of the public network, takes values without a
validator, keeps 50,000 of them, believes whatever peers say of peers and holds providers for
anybody. Here it answers one question at a time out of what we hand it; `dht.py` asks ours.
Importing this module imports libp2p.
"""

import importlib
import logging
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import DecodeError
from libp2p.crypto.keys import PrivateKey
from libp2p.custom_types import TProtocol
from libp2p.kad_dht import kad_dht, routing_table
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.kad_dht.pb.kademlia_pb2 import Message, Record
from libp2p.kad_dht.routing_table import KBucket, RoutingTable
from libp2p.kad_dht.value_store import ValueStore
from libp2p.peer.envelope import Envelope, consume_envelope
from libp2p.peer.id import ID
from libp2p.peer.peerinfo import PeerInfo
from libp2p.peer.peerstore import create_signed_peer_record
from libp2p.records.validator import NamespacedValidator, Validator
from multiaddr import Multiaddr

from p2phouse.errors import PeerError
from p2phouse.hall.shelf import NAMESPACE, Shelf, best, read_value
from p2phouse.net.addresses import Address, IPNetwork, pack, unpack_all
from p2phouse.net.contacts import Contacts, reachable
from p2phouse.net.faults import Faults
from p2phouse.net.host import ForeignKey, Host, device_of, peer_id_of
from p2phouse.net.lookup import TOLD_MAX, Reply
from p2phouse.net.quiet import quieten
from p2phouse.net.wire import Framing, Wire, varint
from p2phouse.record.envelope import Expired
from p2phouse.record.limits import ADDRS_MAX, DHT_KEY_BYTES_MAX, DHT_MESSAGE_BYTES_MAX
from p2phouse.record.types import Card
from p2phouse.vocabulary import DeviceKey, Now

log = logging.getLogger(__name__)

PROTOCOL: Final = "/p2phouse/kad/1.0.0"
PUBLIC_PROTOCOL: Final = "/ipfs/kad/1.0.0"  # of the IPFS network, which is none of ours
PATCHED: Final = ("common", "kad_dht", "peer_routing", "value_store", "provider_store")
BUCKETS_MAX: Final = 16  # of 20 peers
ASKED_A_SECOND: Final = 4.0  # of one peer; a question costs 6 ms
ASKED_BURST: Final = 32.0
ANSWER_S: Final = 2.0

_KINDS: Final = (
    Message.MessageType.FIND_NODE,
    Message.MessageType.GET_VALUE,
    Message.MessageType.PUT_VALUE,
)


class BadKad(PeerError):
    """A peer spoke the table's protocol wrongly: {reason}."""


@dataclass(slots=True)
class _Question:
    """The one that this task answers. fault: proves its asker wrong."""

    near: bool
    fault: PeerError | None = None


_question: ContextVar[_Question] = ContextVar("question")


class Kad:
    """kad-dht during one life of the host."""

    def __init__(
        self,
        host: Host,
        *,
        clock: Callable[[], Now],
        faults: Faults,
        contacts: Contacts,
        shelf: Shelf,
        networks: Callable[[], Sequence[IPNetwork]],
        own: Callable[[], Sequence[Address]],
        met: Callable[[], None],
    ) -> None:
        """own: where we can be dialled; with none we ask and are not asked (client mode).

        met: called for each peer that proved itself.
        """
        _tame_kad()
        self._host = host
        self._faults = faults
        self._contacts = contacts
        self._networks = networks
        self._own = own
        self._met = met
        self._cell = _Cell(host, contacts, networks)
        self._table = _Table(self._cell.get_id(), self._cell)
        self._dht = KadDHT(
            self._cell,
            DHTMode.SERVER,
            validator=NamespacedValidator({NAMESPACE: _Cards(clock)}, strict_validation=True),
            validator_changed=True,  # else it adds those of the public network
            strict_validation=True,
        )
        self._dht.routing_table = self._dht.peer_routing.routing_table = self._table
        self._dht.value_store = _Store(self._cell, shelf, clock)
        host.serve(PROTOCOL, self._answer, a_second=ASKED_A_SECOND, burst=ASKED_BURST)

    # ── whom we know ─────────────────────────────────────────────────────────────────────────

    def nearest(self, target: bytes) -> list[DeviceKey]:
        return list(map(device_of, self._table.find_local_closest_peers(target, TOLD_MAX)))

    @property
    def count(self) -> int:
        size: int = self._table.size()
        return size

    async def meet(self, dev: DeviceKey) -> None:
        """It answered us, or asked us and can be dialled."""
        # LAN parties and schools share a subnet, of which kad-dht would take two peers.
        far = [] if self._host.near(dev) else self._contacts.proved(dev)
        await self._table.meet(PeerInfo(peer_id_of(dev), [Multiaddr(str(each)) for each in far]))
        self._met()

    def knows(self, dev: DeviceKey) -> bool:
        known: bool = self._table.peer_in_table(peer_id_of(dev))
        return known

    def forget(self, dev: DeviceKey) -> None:
        self._table.remove_peer(peer_id_of(dev))

    # ── asking ───────────────────────────────────────────────────────────────────────────────

    async def find_node(self, dev: DeviceKey, target: bytes) -> Reply:
        """Whom a connected peer knows near to `target`, a PeerId. Raises LinkError or PeerError."""
        return await self._ask(dev, Message(type=Message.MessageType.FIND_NODE, key=target))

    async def get_value(self, dev: DeviceKey, key: str) -> Reply:
        """The same near to a key, and what it keeps there. Raises LinkError or PeerError."""
        return await self._ask(dev, Message(type=Message.MessageType.GET_VALUE, key=key.encode()))

    async def put_value(self, dev: DeviceKey, key: str, value: bytes) -> None:
        """Has a connected peer keep a value. Raises LinkError if it does not want it."""
        record = Record(key=key.encode(), value=value)
        message = Message(type=Message.MessageType.PUT_VALUE, key=key.encode(), record=record)
        await self._ask(dev, message)

    async def _ask(self, dev: DeviceKey, message: Message) -> Reply:
        message.senderRecord = self._introduction(near=self._host.near(dev))
        wire = await self._host.open(dev, PROTOCOL)
        try:
            await wire.send_varint(message.SerializeToString())
            data = await wire.receive(
                size_max=DHT_MESSAGE_BYTES_MAX, wait_s=ANSWER_S, framing=Framing.VARINT
            )
        finally:
            await wire.reset()
        return self._read_answer(_parse(data), message.type)

    def _introduction(self, *, near: bool) -> bytes:
        told = reachable(self._own(), self._networks(), near=near)
        addresses = [Multiaddr(str(each)) for each in told]
        host = self._host.libp2p
        envelope = create_signed_peer_record(host.get_id(), addresses, host.get_private_key())
        data: bytes = envelope.marshal_envelope()
        return data

    def _read_answer(self, answer: Message, kind: int) -> Reply:
        if answer.type != kind:
            raise BadKad(reason="an answer to another question")
        closer: list[DeviceKey] = []
        for peer in answer.closerPeers[:TOLD_MAX]:
            try:
                dev = device_of(ID(peer.id))
            except ForeignKey:
                continue
            self._contacts.tell(dev, unpack_all(peer.addrs[:ADDRS_MAX]))
            closer.append(dev)
        value = answer.record.value if answer.HasField("record") else b""
        if len(value) > Card.SIZE_MAX:
            raise BadKad(reason="a value longer than a card")
        return Reply(tuple(closer), value or None)

    # ── being asked ──────────────────────────────────────────────────────────────────────────

    async def _answer(self, wire: Wire) -> None:
        """Serves one question. Raises PeerError."""
        own = reachable(self._own(), self._networks(), near=wire.near)
        if not own or wire.relayed:
            self._faults.count("kad_not_for_us", dev=wire.dev)
            await wire.reset()
            return
        data = await wire.receive(size_max=DHT_MESSAGE_BYTES_MAX, framing=Framing.VARINT)
        message = _parse(data)
        # Security: what we do not use of kad-dht stays shut; it would keep providers for anybody.
        if message.type not in _KINDS or len(message.key) > DHT_KEY_BYTES_MAX:
            raise BadKad(reason="a question that nobody of us asks")
        await self._note(wire.dev, message)
        stream = _OneQuestion(wire.dev, message)
        question = _Question(wire.near)
        _question.set(question)
        await self._dht.handle_stream(stream)
        if question.fault is not None:
            raise question.fault
        if not stream.answer:
            self._faults.count("kad_refused", dev=wire.dev)
            await wire.reset()
            return
        await wire.send_varint(stream.answer)

    async def _note(self, dev: DeviceKey, message: Message) -> None:
        """Whoever asks and can be dialled is one of us. Raises BadKad."""
        if not message.HasField("senderRecord"):
            return
        try:
            _, record = consume_envelope(message.senderRecord, "libp2p-peer-record")
            told = unpack_all(address.to_bytes() for address in record.addrs[:ADDRS_MAX])
        except Exception as error:
            # Broad: protobuf, multiaddr and the key classes have errors of their own.
            raise BadKad(reason="an unreadable introduction") from error
        if record.peer_id != peer_id_of(dev):
            raise BadKad(reason="an introduction of another")
        message.ClearField("senderRecord")
        # Security: it can be dialled where it came from, and not at any address it likes to name.
        ips = self._host.ips(dev)
        proved = [address for address in told if address.ip in ips]
        if proved:
            self._contacts.prove(dev, proved)
            await self.meet(dev)


def _parse(data: bytes) -> Message:
    message = Message()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise BadKad(reason="no message of the table") from error
    return message


# ── the cell ─────────────────────────────────────────────────────────────────────────────────


class _Cell:
    """What kad-dht sees of the host and its peer store."""

    def __init__(
        self, host: Host, contacts: Contacts, networks: Callable[[], Sequence[IPNetwork]]
    ) -> None:
        self._host = host
        self._contacts = contacts
        self._networks = networks
        self._record: Envelope | None = None

    def get_id(self) -> ID:
        return self._host.libp2p.get_id()

    def get_private_key(self) -> PrivateKey:
        return self._host.libp2p.get_private_key()

    def get_addrs(self) -> list[Multiaddr]:
        return []  # who asks knows where it reached us

    def get_connected_peers(self) -> list[ID]:
        return list(map(peer_id_of, self._host.peers()))

    def answers(self, peer_id: ID) -> bool:
        return self._host.connected(device_of(peer_id))

    def set_stream_handler(self, protocol: str, handler: object) -> None:
        assert protocol == PROTOCOL, "kad-dht speaks another protocol again"

    def get_peerstore(self) -> "_Cell":
        return self

    def addrs(self, peer_id: ID) -> list["_Packed"]:
        """Where the peer can be dialled by whoever asks just now."""
        try:
            known = self._contacts.proved(device_of(peer_id))
        except ForeignKey:
            return []
        near = _question.get().near
        return [_Packed(pack(each)) for each in reachable(known, self._networks(), near=near)]

    def get_peer_record(self, peer_id: ID) -> None:
        return None

    def get_local_record(self) -> Envelope | None:
        return self._record

    def set_local_record(self, envelope: Envelope) -> None:
        self._record = envelope


class _Packed(bytes):
    """A multiaddr that is packed already."""

    def to_bytes(self) -> bytes:
        return bytes(self)


class _OneQuestion:
    """A stream on which one message came, and one may be answered."""

    metric_send_channel = None

    def __init__(self, dev: DeviceKey, message: Message) -> None:
        self.muxed_conn = _From(peer_id_of(dev))
        body = message.SerializeToString()
        self._unread = varint(len(body)) + body
        self._written = b""
        self._is_reset = False

    @property
    def answer(self) -> bytes:
        """Without its length; empty if there is none."""
        heads = (at for at, byte in enumerate(self._written) if byte < 0x80)
        return b"" if self._is_reset else self._written[next(heads, -1) + 1 :]

    async def read(self, n: int | None = None) -> bytes:
        data = self._unread[:n]
        self._unread = self._unread[len(data) :]
        return data

    async def write(self, data: bytes) -> None:
        self._written += data

    async def close(self) -> None:
        return

    async def reset(self) -> None:
        self._is_reset = True


@dataclass(frozen=True, slots=True)
class _From:
    peer_id: ID


class _Table(RoutingTable):  # type: ignore[misc]  # libp2p has no types
    """Only peers that have proved themselves: kad-dht would add all that others name."""

    async def add_peer(self, *unused: object, **unused_too: object) -> bool:
        return False

    async def meet(self, peer: PeerInfo) -> None:
        await super().add_peer(peer, skip_server_mode_check=True)


class _Store(ValueStore):  # type: ignore[misc]  # as above
    """The shelf, as kad-dht asks for it."""

    def __init__(self, cell: _Cell, kept: Shelf, clock: Callable[[], Now]) -> None:
        super().__init__(cell, cell.get_id())
        self._shelf = kept
        self._clock = clock

    def get(self, key: bytes) -> Record | None:
        value = self._shelf.get(key.decode(errors="replace"), self._clock())
        return Record(key=key, value=value) if value is not None else None

    def put_record(self, key: bytes, record: Record) -> None:
        self._shelf.keep(key.decode(), record.value, self._clock())

    def remove(self, key: bytes) -> bool:
        return False


class _Cards(Validator):  # type: ignore[misc]  # as above
    """Our only namespace; strict validation refuses every other key."""

    def __init__(self, clock: Callable[[], Now]) -> None:
        self._clock = clock

    def validate(self, key: str, value: bytes) -> None:
        """Raises PeerError."""
        try:
            read_value(key, value, self._clock())
        except Expired:
            raise  # nobody's fault
        except PeerError as error:
            _question.get().fault = error
            raise

    def select(self, key: str, values: list[bytes]) -> int:
        cards = [read_value(key, value, self._clock()) for value in values]
        counts = best(cards)
        return max(index for index, card in enumerate(cards) if card is counts)


async def _answers(bucket: KBucket, peer_id: ID) -> bool:
    """Whether the oldest of a full bucket keeps its place. kad-dht would ping by a protocol that
    none of us serves, so that whoever comes last would drive out everybody."""
    answers: bool = bucket.host.answers(peer_id)
    return answers


def _tame_kad() -> None:
    """What can only be mended for all of this process at once."""
    quieten("libp2p.kad_dht", logging.CRITICAL)  # strangers choose what it calls an error
    # Security: `protocol_prefix` is ignored; with the public id one address of a public bootstrap
    # would draw us into that network, and it into ours.
    for name in PATCHED:
        module: Any = importlib.import_module(f"libp2p.kad_dht.{name}")
        module.PROTOCOL_ID = TProtocol(PROTOCOL)
    kad_dht.MAX_DHT_MESSAGE_SIZE = DHT_MESSAGE_BYTES_MAX
    kad_dht.MAX_RECORD_SIZE = DHT_MESSAGE_BYTES_MAX
    routing_table.MAXIMUM_BUCKETS = BUCKETS_MAX
    KBucket._ping_peer = _answers
