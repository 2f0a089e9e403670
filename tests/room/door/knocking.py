"""People who come to the door of a closed room, and those inside of it."""

from p2phouse.identity.keys import key_tag
from p2phouse.record.cbor import Value
from p2phouse.record.types import Access, Act
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.lobby import LobbyState
from p2phouse.room.messages import (
    Output,
    SendRoomFrame,
)
from tests.room.table import ADDR, Person, Table, of

GREETING, BYE, LOBBY = FrameKind.GREETING, FrameKind.BYE, FrameKind.LOBBY
ENTRY = FrameKind.ENTRY


def closed_room() -> Table:
    table = Table()
    table.open(access=Access.CLOSED)
    return table


def knock(table: Table, person: Person) -> list[Output]:
    """The person opens a room link and greets, not knowing what kind of room it is."""
    table.up(person)
    return table.frame(person, person.greeting(table.here.room, None))


def to(person: Person, outputs: list[Output]) -> list[list[Value]]:
    return [sent.frame for sent in of(SendRoomFrame, outputs) if sent.dev == person.dev]


def states(person: Person, outputs: list[Output]) -> list[Value]:
    return [frame[1] for frame in to(person, outputs) if frame[0] == LOBBY and len(frame) == 2]


def let_in(table: Table, person: Person) -> None:
    """By hand, as the one who runs the room."""
    knock(table, person)
    answer = table.answer(table.ask(messages.Admit(key_tag(person.me.uid))))
    assert answer.error is None
    assert person.dev in table.here.members


def seat(table: Table, person: Person, value: str = "moderator") -> None:
    table.ask(messages.Decide(Act.GRANT, key_tag(person.me.uid), value))


def relayed(person: Person, table: Table, state: LobbyState = LobbyState.WAITING) -> list[Value]:
    """That this person waits, as another member says."""
    join = person.join(table.here.room).data
    return [LOBBY, join, person.me.record.data, None, int(state)]


def join(table: Table, host: Person, at: Table) -> None:
    """The node on the table comes into the other table's room, where the log lets it in."""
    host.addrs = (ADDR,)
    link = at.rooms.facts()["link"]
    table.ask(messages.Join(str(link)))
    table.up(host, outbound=True)
    table.frame(host, host.greeting(at.here.room, at.here.genesis))
    assert table.here.joined


def give_log(table: Table, host: Table) -> None:
    entries = [each.data for each in host.here.log]
    proofs = [each.data for each in host.here.log.identities_of(host.here.log)]
    table.frame(Person(host.me), [ENTRY, list(entries), list(proofs)])


def with_a_listener() -> tuple[Table, Table]:
    """A listener's node in a closed room, and that of its creator."""
    host = Table(seed=5)
    host.open(access=Access.CLOSED)
    table = Table()
    let_in(host, Person(table.me))
    join(table, Person(host.me), host)
    give_log(table, host)
    return table, host
