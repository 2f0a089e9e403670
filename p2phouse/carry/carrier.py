"""All that carrying decides, as one core: what comes on the links goes in, and the packets go out
by the forwarder, what other ends are asked and what control is told by the outputs.

It joins the other cores of this folder and decides nothing by itself; engine.py gives it the links.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from p2phouse.carry.compare import Compare
from p2phouse.carry.feeding import Feeding
from p2phouse.carry.forwarder import Forwarder, LinkCounts, Send
from p2phouse.carry.loudest import Loudest
from p2phouse.carry.repair import Pull, Push, Release, Repair, RepairOutput
from p2phouse.carry.rtcp import ControlKind, Keepalive, Request
from p2phouse.carry.table import Table
from p2phouse.channel import FirstPacket, Heard, Pulls, Released, Silent
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc


@dataclass(frozen=True, slots=True)
class Ask:
    """Send this request on this link."""

    link: LinkNumber
    kind: ControlKind
    altogether: bool = False


CarrierOutput = Ask | Silent | Heard | Pulls | FirstPacket | Released


class Carrier:
    """Call `tick` each 20 ms while there are links."""

    def __init__(
        self, deliver: Callable[[Ssrc, bytes], None], forwarder: Forwarder | None = None
    ) -> None:
        """deliver: our own ear, as in Forwarder. forwarder: one that has been given it already."""
        self._forwarder = Forwarder(deliver) if forwarder is None else forwarder
        self._repair = Repair()
        self._feeding = Feeding()
        self._compare = Compare()
        self._loudest: Loudest | None = None  # None: all
        self._table = Table.empty()
        # The hot path, without a step in between: one packet from a link or, from HERE, of ours.
        self.receive = self._forwarder.receive

    @property
    def epoch(self) -> int:
        """Of the table in use."""
        return max(0, self._table.epoch)

    def add(self, now_s: float, link: LinkNumber, send: Send) -> None:
        """A link is up. send: as in Forwarder."""
        self._repair.add(now_s, link)
        self._feeding.add(link)
        self._forwarder.add(link, send)

    def remove(self, link: LinkNumber) -> None:
        """A link is gone, if it ever was here."""
        self._forwarder.remove(link)
        self._feeding.remove(link)
        self._repair.remove(link)

    def moved(self, link: LinkNumber) -> None:
        """As in Forwarder."""
        self._forwarder.moved(link)

    def set_table(self, now_s: float, table: Table) -> bool:
        """False if the table is not newer than the one in use."""
        if not self._forwarder.set_table(table):
            return False
        self._table = table
        self._repair.set_table(table)
        self._feeding.set_table(table)
        self._compare.set_table(table)
        self._choose_among(table)
        self._steer(now_s)
        return True

    @property
    def deadline(self) -> float:
        """When a tick has something to do; whoever ticks each 20 ms need not ask."""
        return min(self._repair.deadline, self._feeding.deadline)

    def counts(self, link: LinkNumber) -> LinkCounts:
        return self._forwarder.counts(link)

    def set_jitter(self, link: LinkNumber, jitter_s: float) -> None:
        """How unevenly voices come on a link, as last measured."""
        self._repair.set_jitter(link, jitter_s)

    # ── what comes in beside packets ─────────────────────────────────────────────────────────

    def hear_voice(self, now_s: float, link: LinkNumber) -> Iterable[CarrierOutput]:
        """A packet came on a link, whatever becomes of it."""
        outputs = self._repair.heard(now_s, link, talking=True)
        return self._repaired(now_s, outputs) if outputs else ()

    def hear_control(
        self, now_s: float, link: LinkNumber, message: Keepalive | Request | None
    ) -> Iterator[CarrierOutput]:
        """Link control came on a link; None: a report, which says that the link lives."""
        talking = not message.quiet if isinstance(message, Keepalive) else None
        yield from self._repaired(now_s, self._repair.heard(now_s, link, talking))
        match message:
            case Keepalive(_, _, carries):
                outputs = self._repair.carried(now_s, link, feeds=carries)
                yield from self._repaired(now_s, outputs)
            case Request(ControlKind.PULL):
                self._feeding.pull(now_s, link)
                self._steer(now_s)
            case Request(ControlKind.PUSH):
                self._repair.pushed(now_s, link)
            case Request(ControlKind.RELEASE, _, altogether):
                self._feeding.release(now_s, link, altogether=altogether)
                self._steer(now_s)

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now_s: float) -> Iterator[CarrierOutput]:
        """What is due; each 20 ms."""
        self._forwarder.now_s = now_s
        for sample in self._forwarder.take_samples():
            self._compare.hear(now_s, sample.link, sample.ssrc, sample.seq, sample.packet)
        self._repair.set_failing(self._compare.tick(now_s))
        yield from self._repaired(now_s, self._repair.tick(now_s))
        for link, epoch in self._forwarder.first_packets():
            yield FirstPacket(link, epoch)
            yield from self._repaired(now_s, self._repair.brought(now_s, link))
        yield from self._feeding.tick(now_s)
        self._steer(now_s)
        if self._loudest is not None:
            levels = self._forwarder.take_levels()
            self._forwarder.withhold(self._loudest.tick(now_s, levels))

    def loud(self, *, own: bool) -> set[LinkNumber]:
        """The links that carry somebody who talks now; own: whether we do."""
        talking = self._repair.talking
        return self._forwarder.served(talking | {HERE} if own else talking)

    @property
    def carried(self) -> set[LinkNumber]:
        """The links to which voices go by the present table."""
        return self._forwarder.carried

    @property
    def hurried(self) -> frozenset[LinkNumber]:
        """The links whose other end stands by for us."""
        return self._table.hurried

    def _choose_among(self, table: Table) -> None:
        """The voices that go to more than one place; what our own ear alone gets costs nothing."""
        if self._loudest is None or self._loudest.seats != table.loudest:
            self._loudest = Loudest(table.loudest) if table.loudest else None
        if self._loudest is None:
            self._forwarder.withhold(frozenset())
        else:
            self._loudest.set_voices(
                {row.ssrc: row.pinned for row in table.rows if len(row.sinks) + len(row.warm) > 1}
            )

    def _steer(self, now_s: float) -> None:
        self._forwarder.steer(self._feeding.fed(now_s), self._feeding.released)

    def _repaired(self, now_s: float, outputs: Iterable[RepairOutput]) -> Iterator[CarrierOutput]:
        for output in outputs:
            match output:
                case Pull(link):
                    yield Ask(link, ControlKind.PULL)
                case Release(link, altogether):
                    yield Ask(link, ControlKind.RELEASE, altogether)
                case Push():
                    self._feeding.push(now_s)
                    self._steer(now_s)
                    for link in sorted(self._feeding.warm):
                        yield Ask(link, ControlKind.PUSH)
                case _:
                    yield output
