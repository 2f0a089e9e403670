"""Packets to the next hop: one table, whoever wrote its rows.

A packet leaves with the very bytes it came with; SSRC, seq and timestamp mean the same in every
shape. This is the plain forwarder: one call of a link per sink, in the tick the packet came in;
batch.py has one call for all of them.
Where a voice goes is looked up when that changes, never per packet: by a table, by links that come
and go, by links that pull or release (feeding.py), by the choice of the loudest (loudest.py).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf
from typing import ClassVar, Final

from p2phouse.carry.pace import PACKETS_PER_S_MAX
from p2phouse.carry.table import Table, Way
from p2phouse.carry.window import SeqWindow
from p2phouse.vocabulary import HERE, LinkNumber, Ssrc
from p2phouse.voice.packet import PT_OPUS, NotAPacket, parse

# Kept windows of about 250 B: 4 MB. A room of 8 whose members all begin a new voice each minute
# reaches it after 34 hours on one link.
VOICES_MAX: Final = 16_384

# Of a voice one packet in 64 goes to a link that is warm and not fed, or has released us. It shows
# what the hub should have brought, and it keeps both ends of SRTP at one count of the wraps of seq:
# that count is guessed (RFC 3711 §3.3.1) and is wrong after 32,768 packets without one, 11 minutes
# of talk. For a voice that is withheld the second reason alone counts, and each is a blip of sound.
SAMPLE_PACKETS: Final = 64
KEEP_COUNT_PACKETS: Final = 8_192
SAMPLES_MAX: Final = 64  # kept until they are taken, 20 ms later; then 2,048 packets came at once

# A voice may come from another link while its speaker's own is silent (shape/plan.py). In seqs:
LENT_AT_ONCE: Final = 150.0  # 3 s: so much is missed before it is lent to us
LENT_PER_S: Final = float(PACKETS_PER_S_MAX)
LENT_MAX: Final = 6_000.0  # two minutes: who brings nothing for longer stands by no more

_SAMPLE_MASK: Final = SAMPLE_PACKETS - 1


@dataclass(frozen=True, slots=True)
class LinkCounts:
    """In packets of voices, since the link was added."""

    sent: int
    received: int  # all that came; the three below are part of it
    refused: int  # of a voice that this link may not bring
    malformed: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class Sample:
    """A packet whose seq is a multiple of SAMPLE_PACKETS, duplicate or not."""

    link: LinkNumber
    ssrc: Ssrc
    seq: int
    packet: bytes


Send = Callable[[bytes], None]
"""Puts one packet on a link, or drops it; must not raise."""


class End:
    """What is known of one link."""

    __slots__ = ("duplicates", "first_epoch", "malformed", "received", "refused", "send", "sent")

    def __init__(self, send: Send | None) -> None:
        self.send = send  # None: HERE
        self.sent = self.received = self.refused = self.malformed = self.duplicates = 0
        self.first_epoch: int | None = None  # of the table under which a packet last was a first


class Sinks:
    """The links that a packet goes to, bound once; given the packet it sends it to each."""

    __slots__ = ("_each",)

    def __init__(self, ends: Sequence[End]) -> None:
        self._each = tuple((end, end.send) for end in ends if end.send is not None)

    def __bool__(self) -> bool:
        return bool(self._each)

    def __call__(self, packet: bytes) -> None:
        for end, send in self._each:
            send(packet)
            end.sent += 1


_NONE: Final = Sinks(())


class _Voice:
    """One voice: what was seen of it, and the sinks of its present row."""

    __slots__ = (
        "hears",
        "hops",
        "idle",
        "idle_mask",
        "lenders",
        "lent_left",
        "lent_s",
        "level",
        "link_max",
        "sinks",
        "way",
        "window",
        "withheld",
    )

    def __init__(self) -> None:
        self.window = SeqWindow()
        self.way = Way(())
        self.sinks = _NONE
        self.idle = _NONE  # given samples alone
        self.idle_mask = _SAMPLE_MASK
        self.hears = False
        self.hops: tuple[LinkNumber, ...] = ()
        self.link_max = HERE  # the highest number of a link that it went to
        self.level = -1  # of its last packet, in -dBov; -1 once read
        self.withheld = False  # it is not among the loudest
        self.lenders: frozenset[LinkNumber] = frozenset()  # links that are not its speaker's
        self.lent_left, self.lent_s = 0.0, -inf  # seqs that these may move it on, and as of when

    def lend(self, now_s: float, lenders: frozenset[LinkNumber]) -> None:
        if lenders and not self.lenders:
            self.lent_left, self.lent_s = LENT_AT_ONCE, now_s
        self.lenders = lenders

    def is_lendable(self, now_s: float, seq: int) -> bool:
        """Whether a lender moves the voice on by no more than time has. It counts then."""
        ahead = self.window.ahead(seq)
        earned = max(0.0, now_s - self.lent_s) * LENT_PER_S
        self.lent_left, self.lent_s = min(LENT_MAX, self.lent_left + earned), now_s
        if ahead > self.lent_left:
            return False
        self.lent_left -= ahead
        return True


class Forwarder:
    """Give it the table and the links; it gives each packet to the sinks of its row."""

    end_kind: ClassVar[type[End]] = End

    def __init__(self, deliver: Callable[[Ssrc, bytes], None]) -> None:
        """deliver: our own ear. It is given duplicates too: it opens a packet before it believes
        the seq, so a forged one cannot keep out the true one there. Must not raise."""
        self._deliver = deliver
        self._table = Table.empty()
        self._ends = {HERE: self.end_kind(None)}
        self._voices: dict[Ssrc, _Voice] = {}
        self._routes: dict[tuple[LinkNumber, Ssrc], _Voice] = {}
        self._first: list[tuple[LinkNumber, int]] = []
        self._samples: list[Sample] = []
        self._carried: set[LinkNumber] | None = None  # None: to be looked up
        self._fed: frozenset[LinkNumber] = frozenset()
        self._released: frozenset[LinkNumber] = frozenset()
        self._withheld: frozenset[Ssrc] = frozenset()
        self.now_s = -inf  # set at each tick, or more often

    def add(self, link: LinkNumber, send: Send) -> None:
        """A link is up."""
        assert link not in self._ends, "links are never reused"
        self._ends[link] = self.end_kind(send)
        self._rebind(frozenset([link]))

    def remove(self, link: LinkNumber) -> None:
        """A link is gone, if it ever was here."""
        if link != HERE and self._ends.pop(link, None) is not None:
            self._rebind(frozenset([link]))

    def moved(self, link: LinkNumber) -> None:
        """Whatever is known of where a link leads has changed."""
        self._rebind(frozenset([link]))

    def set_table(self, table: Table) -> bool:
        """Replace all rows at once; False if the table is not newer than the one in use."""
        if table.epoch <= self._table.epoch:
            return False
        self._table = table
        self._routes = {}
        self._carried = None
        self._first.clear()
        self._forget()
        lenders = _lenders(table)
        heard: dict[Ssrc, _Voice] = {}
        for (ingress, ssrc), way in table.ways.items():
            # What goes to our ear alone, which opens it, moves no window that guards a link.
            voice = heard.setdefault(ssrc, _Voice()) if way.is_for_our_ear else None
            voice = voice or self._voices.get(ssrc)
            if voice is None:
                if len(self._voices) >= VOICES_MAX:
                    continue  # its packets are refused and counted
                voice = self._voices[ssrc] = _Voice()
            voice.way = way
            voice.lend(self.now_s, lenders[ssrc])
            voice.withheld = ssrc in self._withheld
            self._routes[ingress, ssrc] = voice
            self._bind(voice)
        return True

    def steer(self, fed: frozenset[LinkNumber], released: frozenset[LinkNumber]) -> None:
        """fed: the warm links that are sent voices now. released: those sent none, sinks or not.
        Cheap if nothing changed."""
        changed = (fed ^ self._fed) | (released ^ self._released)
        if changed:
            self._fed, self._released = fed, released
            self._rebind(changed)

    def withhold(self, ssrcs: frozenset[Ssrc]) -> None:
        """These voices go nowhere for now, nor to our ear: others are louder. Cheap if nothing
        changed."""
        if ssrcs == self._withheld:
            return
        self._withheld = ssrcs
        for (_, ssrc), voice in self._routes.items():
            if voice.withheld is not (ssrc in ssrcs):
                voice.withheld = ssrc in ssrcs
                self._bind(voice)

    def take_levels(self) -> dict[Ssrc, int]:
        """The level in -dBov of each voice that came since the last call, if it may go on."""
        levels = {}
        for (_, ssrc), voice in self._routes.items():
            if voice.level >= 0 and voice is self._voices.get(ssrc):
                levels[ssrc] = voice.level
                voice.level = -1
        return levels

    @property
    def carried(self) -> set[LinkNumber]:
        """The links that are sent some voice by the present table, as it is steered."""
        if self._carried is None:
            self._carried = self.served(frozenset(link for link, _ in self._routes))
        return self._carried

    def served(self, ingresses: frozenset[LinkNumber]) -> set[LinkNumber]:
        """The links that are sent some voice of these ingresses."""
        links: set[LinkNumber] = set()
        for (ingress, _), voice in self._routes.items():
            if ingress in ingresses:
                links.update(voice.hops)
        return links

    def next_hops(self, ingress: LinkNumber, ssrc: Ssrc) -> tuple[LinkNumber, ...]:
        """The sinks that a new packet would go to now."""
        voice = self._routes.get((ingress, ssrc)) if ingress in self._ends else None
        return () if voice is None else voice.hops

    def receive(self, ingress: LinkNumber, packet: bytes) -> bool:
        """Carry one packet on. True if this link may bring it, a duplicate as well. Raises nothing.

        The hot path: per sink one step along a tuple, one call, one count; batch.py has none.
        """
        end = self._ends.get(ingress)
        if end is None:
            return False
        end.received += 1
        try:
            parsed = parse(packet)
        except NotAPacket:
            end.malformed += 1
            return False
        # Security: nobody speaks in another's name. A link may bring only the voices whose row
        # names it. Test: test_forwarder.py::test_a_link_cannot_bring_the_voice_of_another
        voice = self._routes.get((ingress, parsed.ssrc))
        if voice is None:
            end.refused += 1
            return False
        # Security: with a seq far ahead a lender would have us refuse what its speaker says when he
        # is heard again, for minutes.
        # Test: test_forwarder.py::test_who_lends_a_voice_keeps_nothing_of_it_out_for_long
        if ingress in voice.lenders and not voice.is_lendable(self.now_s, parsed.seq):
            end.refused += 1
            return False
        if not parsed.seq & _SAMPLE_MASK:
            if ingress != HERE and len(self._samples) < SAMPLES_MAX:
                self._samples.append(Sample(ingress, parsed.ssrc, parsed.seq, packet))
        elif end.first_epoch != self._table.epoch:
            end.first_epoch = self._table.epoch
            if ingress != HERE:
                self._first.append((ingress, self._table.epoch))
        if parsed.payload_type == PT_OPUS:  # the level in an audit is that of no frame
            voice.level = parsed.level
        # Security: dedupe before any link protects it. Two packets of one seq under one SRTP key
        # repeat a nonce of AES-GCM, which gives away the key that authenticates the link.
        # Test: test_forwarder.py::test_no_sink_is_sent_one_seq_twice
        if voice.window.admit(parsed.seq):
            voice.sinks(packet)
            if voice.idle and not parsed.seq & voice.idle_mask:
                voice.idle(packet)
        else:
            end.duplicates += 1
        if voice.hears:
            self._ends[HERE].sent += 1
            self._deliver(parsed.ssrc, packet)
        return True

    def counts(self, link: LinkNumber) -> LinkCounts:
        """All zero for a link that is not here. HERE received our own voice and sent to our ear."""
        end = self._ends.get(link) or End(None)
        return LinkCounts(end.sent, end.received, end.refused, end.malformed, end.duplicates)

    def first_packets(self) -> list[tuple[LinkNumber, int]]:
        """The links that brought a voice for the first time under the present table, with its
        epoch; each is told once. A duplicate counts: the old way may still be feeding too. A sample
        does not: who sends only these carries nothing to us."""
        first, self._first = self._first, []
        return first

    def take_samples(self) -> list[Sample]:
        """Those that links have brought since the last call."""
        samples, self._samples = self._samples, []
        return samples

    def _rebind(self, links: frozenset[LinkNumber]) -> None:
        """These came or went, or want more or less: the voices that go there are bound anew."""
        # Once each: a standby that steps in for its hub does this for all of a crowd in one tick.
        # A row with a standby is two routes of one voice.
        for voice in dict.fromkeys(self._routes.values()):
            way = voice.way
            if not (links.isdisjoint(way.sinks) and links.isdisjoint(way.warm)):
                self._bind(voice)

    def _bind(self, voice: _Voice) -> None:
        """Look the sinks up once, not per packet. A sink that is not here is passed over."""
        self._carried = None
        way, mask = voice.way, _SAMPLE_MASK
        fed = [k for k in way.sinks if k not in self._released]
        fed += [k for k in way.warm if k in self._fed]
        idle = [k for k in way.sinks if k in self._released]
        idle += [k for k in way.warm if k not in self._fed]
        if voice.withheld:
            fed, idle, mask = [], [*fed, *idle], KEEP_COUNT_PACKETS - 1
        voice.hops = tuple(link for link in fed if link in self._ends)
        voice.sinks, voice.idle = self._sends(fed), self._sends(idle)
        voice.idle_mask = mask
        voice.hears = HERE in voice.hops
        # Idle ones as well, for samples are of this seq under their key too.
        voice.link_max = max(voice.link_max, *(k for k in (*fed, *idle) if k in self._ends), HERE)

    def _sends(self, links: list[LinkNumber]) -> Sinks:
        return self.bind([self._ends[link] for link in links if link in self._ends])

    def bind(self, ends: Sequence[End]) -> Sinks:
        """How a packet gets to these links; HERE may be among them and is not meant."""
        return Sinks(ends)

    def _forget(self) -> None:
        """Let go of the voices that went to no link which is still here; numbers only rise.

        Security: of no other, row or not: should its row return, its old packets must still be
        known, or their nonces would repeat.
        Test: test_forwarder.py::test_a_voice_is_remembered_while_its_row_is_away
        """
        links = [link for link in self._ends if link != HERE]
        if links:
            oldest = min(links)
            voices = self._voices.items()
            self._voices = {ssrc: voice for ssrc, voice in voices if voice.link_max >= oldest}
        else:
            self._voices = {}


def _lenders(table: Table) -> dict[Ssrc, frozenset[LinkNumber]]:
    """By voice the links beside its speaker's from which it goes on to others. What somebody else
    brings as its ingress we lean on him for; his own voice is then held to the same pace."""
    lenders = {}
    for row in table.rows:
        lent = [row.ingress] if row.ingress == table.leaning else []
        lenders[row.ssrc] = frozenset(
            link for link in (*row.standbys, *lent) if not table.ways[link, row.ssrc].is_for_our_ear
        )
    return lenders
