"""A room that somebody else runs, with our node on its stage or in its audience."""

from p2phouse.channel import LinkStatus, OpenLink, SetKeys, SetTable
from p2phouse.hall.card import make_card, make_genesis
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry
from p2phouse.room import messages
from p2phouse.room.frames import FrameKind
from p2phouse.room.log import EntryLog
from p2phouse.room.messages import Output
from p2phouse.vocabulary import RoomId, Ssrc, UserKey
from tests.room.table import ADDR, Person, Table, down, of
from tests.room.test_soft import facts


class Hosted:
    """A room that ann opened and runs, with our node in it."""

    def __init__(self, *, invited: bool = True, speakers_max: int = 16, seed: int = 0) -> None:
        self.table = table = Table(seed=seed)
        self.host = table.person("ann")
        genesis = make_genesis(
            self.host.me,
            title="Tea",
            access=Access.OPEN,
            now=table.now,
            entropy=bytes,
            speakers_max=speakers_max,
        )
        self.host.genesis = genesis
        card = make_card(
            self.host.me,
            genesis,
            seq=1,
            speakers=1,
            listeners=0,
            addrs=(ADDR,),
            ttl_s=600,
            now=table.now,
        )
        table.tell(self.host.dev, messages.CardHeard(card.data))
        self.log = EntryLog(genesis)
        table.ask(messages.Join("Tea"))
        table.up(self.host, outbound=True)
        speaks = [self.host.speak(RoomId(genesis.id), 0)]
        greeting = self.host.greeting(table.here.room, genesis, speaks=speaks)
        (opened,) = down(OpenLink, table.frame(self.host, greeting))
        (offer,) = of(messages.SendOffer, table.describe(opened.link))
        answer = self.host.offer(table.me.dev, table.here.room, answer=offer.offer)
        table.tell(self.host.dev, messages.OfferAnswered(answer))
        table.link(opened.link, LinkStatus.CONNECTED)
        table.key_voice()
        if invited:
            self.decide(Act.ROLE, None, "listener")
            table.key_voice()

    @property
    def uid(self) -> UserKey:
        return self.table.me.uid

    def decide(
        self, act: Act, who: UserKey | None, value: str | None, by: Person | None = None
    ) -> list[Output]:
        by = by or self.host
        return self.tell_log(self.log.write(by.me, act, who, value))

    def tell_log(self, written: tuple[Signed[Entry], ...] = ()) -> list[Output]:
        """These entries, or all, in one frame of the host's."""
        written = written or tuple(self.log)
        proofs = [identity.data for identity in self.log.identities_of(written)]
        frame = [FrameKind.ENTRY, [entry.data for entry in written], proofs]
        return self.table.frame(self.host, frame)  # type: ignore[arg-type]

    def invite(self) -> list[Output]:
        return self.decide(Act.ROLE, self.uid, "speaker")

    def do(self, action: messages.VerbAction) -> list[Output]:
        before = len(self.table.said)
        assert self.table.answer(self.table.ask(action)).error is None
        return self.table.said[before:]

    def refused(self, action: messages.VerbAction) -> Exception | None:
        return self.table.answer(self.table.ask(action)).error

    @property
    def me(self) -> dict[str, object]:
        return facts(self.table, None)

    @property
    def signed(self) -> bool:
        return self.table.here.voice.speak is not None


def add(hosted: Hosted, slot: int | None, name: str = "bob") -> Person:
    """Somebody who comes, with a voice in that slot."""
    person = hosted.table.person(name)
    room = hosted.table.here.room
    hosted.table.let_in(person, speaks=[] if slot is None else [person.speak(room, slot)])
    hosted.table.connect(person)
    return person


def rows(table: Table) -> set[Ssrc]:
    """SSRCs of the others whose voices media plays, by the last that it was told."""
    table_, keys = down(SetTable, table.said)[-1], down(SetKeys, table.said)[-1]
    heard = {row.ssrc for row in table_.rows if row.ingress}
    assert heard == {row.ssrc for row in keys.keys}
    return heard
