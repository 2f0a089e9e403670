"""Guests as HTTP sees them: WHIP and WHEP resources (RFC 9725, draft-ietf-wish-whep), as one core.

A POST of an offer makes a resource, which is a link of the media process for as long as it lives:
DELETE ends it, and so does media when the guest never comes or is lost. What is asked comes in as
a Request and goes out as a Reply and commands for media; no socket is here, and no web server.
Several media processes are as one: which has a guest is what shards.py chooses.
"""

from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import unquote

from p2phouse.channel import (
    CloseLink,
    GuestRole,
    GuestSlots,
    LinkState,
    LinkStatus,
    Load,
    OpenGuest,
    PortReady,
    RestartGuest,
    Up,
)
from p2phouse.guest.capacity import Capacity, Crowding
from p2phouse.guest.carried import Carried, seed_in
from p2phouse.guest.exchange import (
    ASKS_TOKEN,
    CORS,
    FRAGMENT,
    PREFLIGHT,
    SDP,
    Reply,
    Request,
    kind_of,
    later,
    network_of,
    said,
)
from p2phouse.guest.facts import NodeRoom, RoomFacts, SealedRoom, Speaker, Voice
from p2phouse.guest.patch import read_patch
from p2phouse.guest.present import NAME_CHARS_MAX, Guest, Room, is_name
from p2phouse.guest.sdp import (
    SLOTS_MAX,
    BadOffer,
    Fragment,
    Offer,
    Place,
    UnsuitableOffer,
    read_offer,
    write_answer,
    write_fragment,
)
from p2phouse.guest.shards import MIXER, NODES, Shards, Spread, To
from p2phouse.guest.terms import Terms
from p2phouse.guest.waiting import Waiting
from p2phouse.vocabulary import Entropy, LinkNumber, Now, Ssrc

EMPTY_S_MAX: Final = 60.0  # a room that everybody has left keeps its number for who comes back
SPEAKERS_MAX: Final = 16  # of a room, as on every stage
# Of all rooms of nodes: each is a node that runs here. It has 1.3 MB, and hears all gossip: at the
# most that there is to be, three messages a second, 3 % of control's core.
VOICES_MAX: Final = 8

PLACE: Final = "/guest/"  # the locations of guests begin so


class Guests:
    """`request` answers a guest, `heard` takes what media says, `gone` its end."""

    def __init__(self, terms: Terms, entropy: Entropy, links: Iterator[int]) -> None:
        """links: gives the numbers of new links, which guests share with all other links."""
        self._terms = terms
        self._entropy = entropy
        self._rooms: dict[str, Room] = {}
        self._guests: dict[str, Guest] = {}
        self._by_link: dict[LinkNumber, Guest] = {}
        self._waiting = Waiting()
        self._empty: dict[str, float] = {}  # in the order in which their time runs out
        self.shards = Shards()
        self.capacity = Capacity(terms.guests_max, terms.rooms_max)
        self._links = links
        self._numbers = 0
        self._addresses: tuple[str, ...] = ()
        self._denied: Mapping[str, str] = {}
        self._carried = Carried()
        self.joined = dict.fromkeys(GuestRole, 0)  # since the start
        self.refused = 0  # with 503

    # ── what media says ──────────────────────────────────────────────────────────────────────

    def reached_at(self, addresses: tuple[str, ...]) -> None:
        """Where answers send guests: the best address first; before `heard` of a port."""
        self._addresses = addresses

    def heard(self, now: Now, shard: int, message: Up) -> list[To]:
        match message:
            case PortReady():
                self.shards.begin(shard, Place(self._addresses, message.port, message.fp))
            case Load():
                self.shards.load(shard, message.core_permille)
                self.capacity.load_permille = self.shards.least_load
            case GuestSlots():
                if room := next(
                    (r for r in self._rooms.values() if r.number == message.room), None
                ):
                    room.holders[shard] = message.holders
            case LinkState():
                guest = self._by_link.get(message.link)
                if guest is None:
                    return []
                if message.status is not LinkStatus.CONNECTED:
                    return self._forget(now, guest)
                self._waiting.remove(guest.link)
        return []

    def gone(self, now: Now, shard: int) -> list[To]:
        """A media process has ended: whoever was there is connected no more, and nobody can be
        until the next."""
        self.shards.end(shard)
        self.capacity.load_permille = self.shards.least_load
        outputs: list[To] = []
        for room in self._rooms.values():
            room.holders.pop(shard, None)
            outputs += room.spread.end(shard)
        for guest in [each for each in self._guests.values() if each.shard == shard]:
            self._remove(guest)
            self._rest(now, guest.room)
        return outputs

    def deny(self, denied: Mapping[str, str]) -> list[To]:
        """Rooms that are not carried, and why, instead of those before: who is in one is out."""
        self._denied = denied
        names = [each for each in self._rooms if each in denied]
        return [output for name in names for output in self._close(name)]

    def carry(self, name: str, facts: NodeRoom | SealedRoom, number: int = 0) -> list[To]:
        """A room of nodes that is carried here, as it is now. number: by which media knows it."""
        self._carried.put(name, facts, number)
        room = self._rooms.get(name)
        # Security: who listens to a room that is closed is out, and a room of guests that somebody
        # made under this name is none.
        # Test: test_carried.py::test_when_a_room_is_closed_its_guests_are_out
        if room is not None and room.of != self._carried.number(name):
            return self._close(name)
        return []

    def drop(self, name: str) -> list[To]:
        """It is carried here no more."""
        self._carried.drop(name)
        return self._close(name) if name in self._rooms else []

    def _close(self, name: str) -> list[To]:
        """The room of that name, with everybody in it."""
        room = self._rooms.pop(name)
        self._empty.pop(name, None)
        guests = [each for each in self._guests.values() if each.room is room]
        for guest in guests:
            self._remove(guest)
        closing = [To(each.shard, CloseLink(each.link)) for each in guests]
        return [*closing, *room.spread.close()]

    # ── time ─────────────────────────────────────────────────────────────────────────────────

    def tick(self, now: Now) -> list[To]:
        """To be called about once a second: nothing here is due more exactly."""
        outputs: list[To] = []
        for link in self._waiting.due(now.mono):
            outputs += self._end(now, self._by_link[link])
        while self._empty and (first := next(iter(self._empty.items())))[1] <= now.mono:
            outputs += self._rooms.pop(first[0]).spread.close()
            del self._empty[first[0]]
        return outputs

    # ── what is known ────────────────────────────────────────────────────────────────────────

    @property
    def is_ready(self) -> bool:
        return self.shards.are_ready

    @property
    def count(self) -> int:
        return len(self._guests) + sum(room.spread.tuned for room in self._rooms.values())

    @property
    def waiting(self) -> int:
        """Guests whose sound has not come yet."""
        return len(self._waiting)

    def voices(self) -> dict[LinkNumber, Voice]:
        """Who is here to speak among nodes, by their links."""
        return {
            each.link: Voice(each.room.name, each.name, each.seed)
            for each in self._guests.values()
            if each.seed is not None and each.link not in self._waiting
        }

    def hang_up(self, now: Now, link: LinkNumber) -> list[To]:
        """On a guest, if it is still there."""
        guest = self._by_link.get(link)
        return self._end(now, guest) if guest is not None else []

    def rooms(self) -> list[RoomFacts]:
        return [self._facts(room) for room in self._rooms.values()]

    def room(self, name: str, shard: int | None = None) -> RoomFacts | None:
        """As it is for guests of that media process. None if there is no such room and nobody may
        make one by coming."""
        if name in self._rooms:
            return self._facts(self._rooms[name], shard)
        return RoomFacts(name, carried=self._carried.facts(name)) if self._allows(name) else None

    def shard_of(self, place: str) -> int | None:
        """Which media process has the guest of that location."""
        guest = self._guests.get(place.removeprefix(PLACE))
        return None if guest is None else guest.shard

    def page_elsewhere(self, request: Request, name: str) -> Reply | None:
        """To the room's page at another relay; None if it is at none."""
        return self.capacity.elsewhere(request, self._crowding(name).also_at, f"/r/{name}")

    def crowd(self, name: str, crowding: Crowding) -> None:
        """How full a room of nodes is, of those that are carried here."""
        self._carried.crowd(name, crowding)

    def _crowding(self, name: str) -> Crowding:
        return self._carried.crowding(name) or Crowding(also_at=self._terms.of(name).also_at)

    def may_listen(self, request: Request, name: str) -> bool:
        """Whether the token that a room asks of its listeners is shown, if it asks for one."""
        return self._terms.of(name).are_met(request, GuestRole.LISTENER) is not False

    def _facts(self, room: Room, shard: int | None = None) -> RoomFacts:
        # Who speaks among nodes is on their stage.
        guests = () if room.of else room.speakers.items()
        speakers = tuple(Speaker(name, guest.link) for name, guest in guests)
        slots = room.holders.get(room.spread.fullest if shard is None else shard, ())
        carried = self._carried.facts(room.name)
        return RoomFacts(room.name, speakers, room.spread.listeners, slots, carried)

    def _allows(self, name: str) -> bool:
        if name in self._denied:
            return False
        if name in self._carried:
            return True
        return self._terms.allow(name)

    # ── what a guest asks ────────────────────────────────────────────────────────────────────

    def request(self, now: Now, request: Request) -> tuple[Reply, list[To]]:
        """The answer, CORS included, and what media has to do before it is sent."""
        reply, outputs = self._answer(now, request)
        if reply.status == 503:
            self.refused += 1
        return Reply(reply.status, (*CORS, *reply.headers), reply.body), outputs

    def _answer(self, now: Now, request: Request) -> tuple[Reply, list[To]]:
        match request.path.split("/"):
            case ["", "whip", room, name]:
                return self._at_endpoint(now, request, room, GuestRole.SPEAKER, unquote(name))
            case ["", "whep", room]:
                return self._at_endpoint(now, request, room, GuestRole.LISTENER, "")
            case ["", "guest", key]:
                return self._at_resource(now, request, key)
        return said(404, "nothing is here"), []

    def _at_endpoint(
        self, now: Now, request: Request, room: str, role: GuestRole, name: str
    ) -> tuple[Reply, list[To]]:
        if shut := self._shut(room):
            return shut, []
        if request.method == "OPTIONS":
            return Reply(204, PREFLIGHT), []
        if request.method != "POST":
            return said(405, "post an offer", ("allow", "POST, OPTIONS")), []
        has_token = self._terms.of(room).are_met(request, role)
        if has_token is False:
            return ASKS_TOKEN, []
        seed = None
        if role is GuestRole.SPEAKER and room in self._carried:
            seed, has_token = seed_in(request), True
            if refusal := self._carried.refusal_to_speak(now, room, seed):
                return refusal, []
        if kind_of(request) != SDP:
            return said(415, f"an offer is {SDP}", ("accept-post", SDP)), []
        if role is GuestRole.SPEAKER and not is_name(name):
            return said(400, f"a name has 1 to {NAME_CHARS_MAX} characters"), []
        network = network_of(request.source)
        if refusal := self._refusal(request, room, network, has_token is True):
            return refusal, []
        try:
            offer = read_offer(request.body, role)
        except BadOffer as error:
            return said(400, str(error)), []
        except UnsuitableOffer as error:
            return said(406, str(error)), []
        leaving: list[Guest] = []
        if name and room in self._rooms:
            refusal = self._make_way(self._rooms[room], name, request.source, leaving)
            if refusal is not None:
                return refusal, []
        if seed is not None and (refusal := self._no_voice(seed, request.source, leaving)):
            return refusal, []
        outputs = [output for each in leaving for output in self._end(now, each)]
        guest = Guest(
            link=LinkNumber(next(self._links)),
            key=self._entropy(16).hex(),
            room=self._room_of(room),
            shard=self.shards.choose() if seed is None else NODES,
            role=role,
            name=name,
            source=request.source,
            ufrag=offer.ufrag,
            etag=self._new_etag(),
            seed=seed,
        )
        self._waiting.add(now.mono, guest.link, None if has_token else network)
        outputs += self._remember(guest)
        return self._created(offer, guest, outputs), outputs

    def _shut(self, room: str) -> Reply | None:
        """Why nobody comes into the room so, whatever is shown."""
        if room in self._denied:
            return said(403, f"this relay does not carry the room: {self._denied[room]}")
        if not self._allows(room):
            return said(404, "there is no such room")
        return self._carried.refusal(room)

    def _refusal(self, request: Request, room: str, network: str, has_token: bool) -> Reply | None:
        """Why nobody more is let in now, and where or when to ask again."""
        if not self.shards.are_ready:
            return later(1, "the relay is starting")
        is_new = room not in self._rooms and room not in self._carried
        refusal = self.capacity.refusal(
            request,
            guests=self.count,
            rooms=sum(not each.of for each in self._rooms.values()) + is_new,
            room=self._crowding(room),
        )
        # Security: a stranger's offer costs us a handshake that he need not take part in.
        too_many = not has_token and self._waiting.of(network) >= self._terms.waiting_max
        if refusal is None and too_many:
            return later(1, "too many are joining from this network at once")
        return refusal

    def _no_voice(self, seed: bytes, source: str, leaving: list[Guest]) -> Reply | None:
        """Refuses a second voice of one member, and more of them than are carried here."""
        if not self.shards.has(NODES):
            return later(1, "the relay is starting")
        guests = self._guests.values()
        speaking = [each for each in guests if each.seed is not None and each not in leaving]
        there = next((each for each in speaking if each.seed == seed), None)
        if there is not None and there.source != source:
            return said(409, "somebody speaks with this token already")
        if there is not None:
            leaving.append(there)
        elif len(speaking) >= VOICES_MAX:
            return later(30, "as many speak among nodes here as may")
        return None

    def _make_way(self, room: Room, name: str, source: str, leaving: list[Guest]) -> Reply | None:
        """Refuses a name that is taken; who comes back from the same address takes his own over."""
        there = room.speakers.get(name)
        if there is None:
            is_full = len(room.speakers) >= SPEAKERS_MAX
            return later(30, "the stage is full") if is_full else None
        if there.source != source:
            return said(409, "somebody speaks under this name already")
        leaving.append(there)
        return None

    def _room_of(self, name: str) -> Room:
        if name not in self._rooms:
            self._numbers += 1
            slots: set[Ssrc] = set()
            while len(slots) < SLOTS_MAX:  # 0 is our own voice in other places
                slots |= {Ssrc(int.from_bytes(self._entropy(4)))} - {0}
            told, of = tuple(slots), self._carried.number(name)
            spread = Spread(self._numbers, told, of)
            self._rooms[name] = Room(self._numbers, name, told, of, spread)
        self._empty.pop(name, None)
        return self._rooms[name]

    def _created(self, offer: Offer, guest: Guest, outputs: list[To]) -> Reply:
        ufrag, pwd = self._new_names()
        is_listener = offer.role is GuestRole.LISTENER
        slots = guest.room.slots[: len(offer.chosen)] if is_listener else ()
        expected = OpenGuest(
            link=guest.link,
            room=guest.told_room,
            role=offer.role,
            ufrag=ufrag,
            pwd=pwd,
            remote_ufrag=offer.ufrag,
            remote_pwd=offer.pwd,
            fp=offer.fp,
            payload_type=offer.payload_type,
            slots=slots,
            level_extension=offer.level_extension,
        )
        outputs.append(To(guest.shard, expected))
        self.joined[offer.role] += 1
        place = self.shards.place(guest.shard)
        text = write_answer(offer, place, number=guest.link, ufrag=ufrag, pwd=pwd, slots=slots)
        links = (("link", f'<{each}>; rel="ice-server"') for each in self._terms.ice_servers)
        headers = (
            ("content-type", SDP),
            ("location", f"{PLACE}{guest.key}"),
            ("etag", guest.etag),
            *links,
        )
        return Reply(201, headers, text.encode())

    def _at_resource(self, now: Now, request: Request, key: str) -> tuple[Reply, list[To]]:
        if request.method == "OPTIONS":
            return Reply(204, PREFLIGHT), []
        guest = self._guests.get(key)
        if guest is None:
            return said(404, "this guest has left, or was lost"), []
        if self._terms.of(guest.room.name).are_met(request, guest.role) is False:
            return ASKS_TOKEN, []
        match request.method:
            case "DELETE":
                return Reply(200), self._end(now, guest)
            case "PATCH":
                patch = read_patch(request, etag=guest.etag, ufrag=guest.ufrag)
                return (patch, []) if isinstance(patch, Reply) else self._restarted(guest, patch)
        return said(405, "patch or delete it", ("allow", "PATCH, DELETE, OPTIONS")), []

    def _restarted(self, guest: Guest, fragment: Fragment) -> tuple[Reply, list[To]]:
        """It looks for another way by new names, and so do we (RFC 9725 §4.3.3)."""
        ufrag, pwd = self._new_names()
        guest.ufrag, guest.etag = fragment.ufrag, self._new_etag()
        restart = RestartGuest(guest.link, ufrag, pwd, fragment.ufrag, fragment.pwd)
        text = write_fragment(fragment, self.shards.place(guest.shard), ufrag=ufrag, pwd=pwd)
        headers = (("content-type", FRAGMENT), ("etag", guest.etag))
        return Reply(200, headers, text.encode()), [To(guest.shard, restart)]

    def _new_names(self) -> tuple[str, str]:
        """RFC 8445 §5.3 asks for 24 and 128 bits of chance; hexadecimal digits are ice-chars."""
        return self._entropy(4).hex(), self._entropy(16).hex()

    def _new_etag(self) -> str:
        return f'"{self._entropy(8).hex()}"'

    # ── who hears a room's one mix ───────────────────────────────────────────────────────────

    def refusal_to_tune_in(self, request: Request, name: str) -> Reply | None:
        if shut := self._shut(name):
            return shut
        has_token = self._terms.of(name).are_met(request, GuestRole.LISTENER)
        if has_token is False:
            return ASKS_TOKEN
        return self._refusal(request, name, network_of(request.source), has_token is True)

    def tune_in(self, name: str) -> tuple[int, list[To]]:
        """One listener more, whom nothing refuses: the number of the room that is mixed."""
        room = self._room_of(name)
        return room.number, room.spread.enter(MIXER, GuestRole.LISTENER)

    def tune_out(self, now: Now, number: int) -> list[To]:
        """One less, if the room is still there."""
        room = next((each for each in self._rooms.values() if each.number == number), None)
        if room is None:
            return []
        outputs = room.spread.leave(MIXER, GuestRole.LISTENER)
        self._rest(now, room)
        return outputs

    # ── one guest ────────────────────────────────────────────────────────────────────────────

    def _remember(self, guest: Guest) -> list[To]:
        self._guests[guest.key] = guest
        self._by_link[guest.link] = guest
        if guest.role is GuestRole.SPEAKER:
            guest.room.speakers[guest.name] = guest
        self.shards.enter(guest.shard)
        return guest.room.spread.enter(guest.shard, guest.role)

    def _end(self, now: Now, guest: Guest) -> list[To]:
        return [To(guest.shard, CloseLink(guest.link)), *self._forget(now, guest)]

    def _forget(self, now: Now, guest: Guest) -> list[To]:
        """Whom media knows of no more."""
        self._remove(guest)
        outputs = guest.room.spread.leave(guest.shard, guest.role)
        self._rest(now, guest.room)
        return outputs

    def _rest(self, now: Now, room: Room) -> None:
        if room.is_empty:
            self._empty[room.name] = now.mono + EMPTY_S_MAX

    def _remove(self, guest: Guest) -> None:
        self.shards.leave(guest.shard)
        self._waiting.remove(guest.link)
        del self._guests[guest.key], self._by_link[guest.link]
        if guest.role is GuestRole.SPEAKER:
            del guest.room.speakers[guest.name]
