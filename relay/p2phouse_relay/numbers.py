"""One media process for all rooms: whose link is whose, and which table belongs to which room.

Each core counts its own links from 1, as a node's does. Media knows them by numbers of the whole
relay, guests' among them, and each room's table by a number of its own. Pure: it translates.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from p2phouse import channel
from p2phouse.vocabulary import HERE, LinkNumber


@dataclass(slots=True)
class RoomNumbers:
    """Of one room. links: those of its core, by the relay's numbers, and the other way round.

    is_public: whether everybody has the keys of its voices now. speaks: it is that of a guest who
    speaks among nodes: of its core the voice alone gets by, and it hears nothing.
    """

    room: int
    next_link: Iterator[int]
    is_public: Callable[[], bool]
    speaks: bool = False
    to_relay: dict[LinkNumber, LinkNumber] = field(default_factory=dict)
    to_core: dict[LinkNumber, LinkNumber] = field(default_factory=dict)

    # ── down ─────────────────────────────────────────────────────────────────────────────────

    def down(self, message: channel.Down) -> channel.Down | None:
        """What the core says, as media is to hear it; None if it is nothing for media.

        Security: no voice of a core's gets by here, whatever it should say; keys and an ear alone
        if the keys are everybody's.
        Test: test_numbers.py::test_of_a_sealed_room_nothing_but_links_and_tables_gets_through
        """
        match message:
            case channel.OpenLink(link):
                number = LinkNumber(next(self.next_link))
                self.to_relay[link], self.to_core[number] = number, link
                return replace(message, link=number, room=self.room)
            case channel.ConnectLink(link) if link in self.to_relay:
                return replace(message, link=self.to_relay[link])
            case channel.CloseLink(link) if link in self.to_relay:
                number = self.to_relay.pop(link)
                del self.to_core[number]
                return channel.CloseLink(number)
            case channel.SetTable():
                return self._table(message)
            case channel.NewVoice() | channel.SetVoice() | channel.EndVoice() if self.speaks:
                return replace(message, room=self.room)
            case channel.SetKeys() if self.speaks:
                return None
            case channel.SetKeys(keys):
                return channel.SetKeys(keys if self.is_public() else (), self.room)
        return None

    def _table(self, table: channel.SetTable) -> channel.SetTable:
        rows = [self._row(row) for row in table.rows]
        return replace(
            table,
            rows=tuple(row for row in rows if row is not None),
            guarded=self._link(table.guarded),
            hurried=self._links(table.hurried),
            leaning=self._link(table.leaning),
            room=self.room,
        )

    def _row(self, row: channel.TableRow) -> channel.TableRow | None:
        if (row.ingress == HERE) is not self.speaks:
            return None
        ingress = HERE if self.speaks else self._link(row.ingress)
        if ingress is None:  # closed in this breath, or a voice of our own, which we have not
            return None
        return replace(
            row,
            ingress=ingress,
            standbys=self._links(row.standbys),
            sinks=(*self._ear(row), *self._links(row.sinks)),
            warm=self._links(row.warm),
        )

    def _link(self, link: LinkNumber | None) -> LinkNumber | None:
        return None if link is None else self.to_relay.get(link)  # HERE is none of them

    def _links(self, links: tuple[LinkNumber, ...]) -> tuple[LinkNumber, ...]:
        return tuple(self.to_relay[link] for link in links if link in self.to_relay)

    def _ear(self, row: channel.TableRow) -> tuple[LinkNumber, ...]:
        return (HERE,) if HERE in row.sinks and self.is_public() else ()

    def close_all(self) -> list[channel.Down]:
        """Media need know nothing of this room any more."""
        closing: list[channel.Down] = [channel.CloseLink(number) for number in self.to_core]
        self.to_relay.clear()
        self.to_core.clear()
        return closing

    # ── up ───────────────────────────────────────────────────────────────────────────────────

    def up(self, message: channel.Up) -> channel.Up | None:
        """What media says, as the core is to hear it; None if it is about no link of this room."""
        match message:
            case channel.Pulls(count, of, room):
                return channel.Pulls(count, of) if room == self.room else None
            case channel.VoiceKey() if self.speaks:
                return message  # of another voice than the core's it means nothing there
            case channel.AuditFailed(ssrc, room):
                return channel.AuditFailed(ssrc) if room == self.room else None
            case channel.Stats():
                links = tuple(
                    replace(each, link=self.to_core[each.link])
                    for each in message.links
                    if each.link in self.to_core
                )
                return replace(message, links=links) if links else None
            case (
                channel.LocalDescription(link)
                | channel.LinkState(link)
                | channel.Silent(link)
                | channel.Heard(link)
                | channel.FirstPacket(link)
                | channel.Released(link)
            ) if link in self.to_core:
                return replace(message, link=self.to_core[link])
        return None
