"""Rooms whose voices are secret: who is let in holds the key, who is put out does not.

A wiretap keeps every secret that a node was ever given, and is shown packets sealed as the others'
media seals them: what it cannot open, nobody there can hear, whatever packets they get.
"""

import pytest

from p2phouse.errors import PeerError
from p2phouse.identity.keys import key_tag
from p2phouse.record.types import Access, Act
from p2phouse.room import keys, messages
from p2phouse.room.epochs import Live
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Decide, EventKind
from p2phouse.vocabulary import VoiceId
from p2phouse.voice.seal import SealKey, open_sealed, seal
from tests.sim.test_authority import here, state
from tests.sim.test_mesh import room_of
from tests.sim.world import SEEDS, Node, World, heard_by_all, kinds

FEW = [*SEEDS][::5]  # of what takes minutes of a room's life


def decide(node: Node, act: Act, who: Node | None = None, value: str | int | None = None):
    ticket = node.act(Decide(act, key_tag(who.me.uid) if who else "", value))
    assert node.answers[ticket].error is None


def sealed_room(world: World, count: int) -> list[Node]:
    """The first has opened a closed room; the others knocked, and it let them in."""
    host, *others = nodes = world.join(*[f"node{number}" for number in range(count)])
    host.act(messages.Open("Tea", Access.CLOSED))
    for node in others:
        knock(node, host)
    let_in(world, host, others)
    world.run_until(lambda: heard_by_all(nodes))
    for node in nodes:
        assert node.answers[node.act(messages.SetMuted(muted=False))].error is None
    return nodes


def knock(node: Node, host: Node) -> None:
    node.act(messages.Join(str(host.rooms.facts()["link"])))


def let_in(world: World, host: Node, others: list[Node]) -> None:
    world.run_until(lambda: all(node.dev in here(host).lobby.people for node in others))
    for node in others:
        ticket = host.act(messages.Admit(node.name))
        assert host.answers[ticket].error is None
    world.run_until(lambda: all(node.is_inside for node in others))


class Wiretap:
    """Every secret that the node has, from now on."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.secrets: set[Live] = set()
        self._perform = node.perform
        node.perform = self.perform  # type: ignore[method-assign]  # a modified client
        self.look()

    def perform(self, outputs):
        self._perform(outputs)
        self.look()

    def look(self) -> None:
        membership = self.node.rooms.membership
        if membership is not None and membership.custody.epochs is not None:
            self.secrets |= set(membership.custody.epochs.held)

    def opens(self, sender: Node) -> bool:
        """Whether a packet of what the sender's media seals with now can be opened here."""
        voice, room = sender.media.voice, here(sender).room
        assert voice is not None
        if voice.muted:
            return False  # nothing is sent
        packet = seal(SealKey(voice.kid, voice.base), 7, b"words")
        reachable = set(self.secrets)
        for live in self.secrets:  # whoever holds one makes all ratchets after it
            for n in range(live.n + 1, live.n + 5):
                secret = keys.next_secret(live.secret, room=room, epoch=n)
                live = Live(n, secret)
                reachable.add(live)
        for live in reachable:
            sid = VoiceId(voice.sid)
            base = keys.sender_base(live.secret, room=room, epoch=live.n, dev=sender.dev, sid=sid)
            try:
                if open_sealed({voice.kid: (SealKey(voice.kid, base),)}, packet).plaintext:
                    return True
            except PeerError:
                continue
        return False

    def opens_any(self, senders: list[Node]) -> bool:
        return any(self.opens(sender) for sender in senders)


def one_key(nodes: list[Node]) -> bool:
    lives = {here(node).live for node in nodes}
    return len(lives) == 1 and None not in lives


# ── coming in ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", SEEDS)
def test_in_a_closed_room_all_who_were_let_in_hear_one_another_under_one_secret(seed):
    world = World(seed)
    nodes = sealed_room(world, 4)
    for node in nodes:
        voice = node.media.voice
        assert voice is not None
        assert voice.sealed
        assert node.rooms.facts()["keys"] == "current"
    world.run_for(10)
    assert one_key(nodes)
    assert EventKind.EPOCH_CHANGED in kinds(nodes[1])


@pytest.mark.parametrize("seed", FEW)
def test_who_waits_in_the_lobby_holds_no_key(seed):
    world = World(seed)
    nodes = sealed_room(world, 3)
    (late,) = world.join("late")
    tap = Wiretap(late)
    knock(late, nodes[0])
    world.run_until(lambda: late.dev in here(nodes[0]).lobby.people)
    world.run_for(5)
    assert not tap.secrets
    let_in(world, nodes[0], [late])
    world.run_until(lambda: heard_by_all([*nodes, late]), within_s=5)
    assert tap.opens(nodes[1])


@pytest.mark.parametrize("seed", FEW)
def test_a_minute_after_somebody_came_the_secret_moves_on(seed):
    world = World(seed)
    nodes = sealed_room(world, 3)
    world.run_for(70)
    before = here(nodes[0]).live
    assert before is not None
    (late,) = world.join("late")
    tap = Wiretap(late)
    knock(late, nodes[0])
    let_in(world, nodes[0], [late])
    world.run_for(70)
    after = here(nodes[0]).live
    assert after is not None
    assert after.n > before.n
    assert one_key([*nodes, late])
    assert heard_by_all([*nodes, late])
    assert tap.opens(nodes[1])


# ── going ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("how", ["ban", "remove"])
@pytest.mark.parametrize("seed", SEEDS)
def test_who_is_put_out_cannot_open_what_is_said_after_it(seed, how):
    world = World(seed)
    host, gone, *others = nodes = sealed_room(world, 4)
    tap = Wiretap(gone)
    assert tap.opens_any([host, *others])
    world.run_for(world.rng.uniform(0, 30))
    decide(host, Act.ROLE, gone, how)
    world.run_for(1)
    assert not tap.opens_any([host, *others])
    assert heard_by_all([host, *others])
    world.run_for(200)
    assert not tap.opens_any([host, *others])
    assert nodes[1].rooms.membership is None


@pytest.mark.parametrize("seed", FEW)
def test_who_is_put_out_and_does_not_go_cannot_open_what_is_said_after_it(seed):
    """Its node takes no entry in, asks for keys, and keeps whatever it is sent."""
    world = World(seed)
    host, thief, *others = sealed_room(world, 4)
    thief.is_honest = False
    tap = Wiretap(thief)
    receive = thief.rooms.receive

    def deaf(now, sender, message):
        unwanted = (FrameKind.ENTRY, FrameKind.BYE)
        if isinstance(message, messages.RoomFrame) and message.frame[0] in unwanted:
            return []
        return receive(now, sender, message)

    thief.rooms.receive = deaf  # type: ignore[method-assign]  # a modified client
    decide(host, Act.ROLE, thief, "ban")
    world.run_for(1)
    assert not tap.opens_any([host, *others])
    room = here(host).room
    for node in (host, *others):
        thief.streams.open(node.dev, room)
    world.run_for(1)
    for node in (host, *others):
        thief.streams.send(node.dev, room, [FrameKind.EPOCH, [], []])
    world.run_for(90)
    assert not tap.opens_any([host, *others])


@pytest.mark.parametrize("seed", FEW)
def test_who_left_cannot_open_what_is_said_two_minutes_later(seed):
    world = World(seed)
    host, gone, *others = sealed_room(world, 4)
    tap = Wiretap(gone)
    gone.act(messages.Leave())
    world.run_for(1)
    assert heard_by_all([host, *others])
    world.run_for(120)
    assert not tap.opens_any([host, *others])
    assert heard_by_all([host, *others])


@pytest.mark.parametrize("seed", FEW)
def test_who_is_let_in_again_after_a_ban_hears_under_a_secret_that_he_was_not_out_of(seed):
    world = World(seed)
    host, ben, cleo = sealed_room(world, 3)
    tap = Wiretap(ben)
    decide(host, Act.ROLE, ben, "ban")
    world.run_for(2)
    without = here(host).live
    decide(host, Act.ROLE, ben, "speaker")
    world.run_for(70)  # those who put somebody out are not called again at once
    knock(ben, host)
    world.run_until(lambda: ben.is_inside and heard_by_all([host, ben, cleo]))
    assert tap.opens(cleo)
    assert without not in tap.secrets


# ── falling apart ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("seed", SEEDS)
def test_a_ban_in_one_part_of_a_split_room_holds_in_all_of_it_once_it_is_whole(seed):
    """The creator bans somebody who is with a moderator; both parts make epochs meanwhile."""
    world = World(seed)
    host, ben, cleo, gone = nodes = sealed_room(world, 4)
    decide(host, Act.GRANT, cleo, "moderator")
    tap = Wiretap(gone)
    world.run_for(5)
    world.split([host, ben], [cleo, gone])
    world.run_for(world.rng.uniform(5, 100))
    decide(host, Act.ROLE, gone, "ban")
    world.run_for(1)
    assert not tap.opens_any([host, ben])
    assert tap.opens(cleo)  # who cannot know
    world.run_for(20)
    world.heal()
    world.run_until(lambda: state(cleo).role_of(gone.me.uid) is not None)
    world.run_until(lambda: gone.rooms.membership is None, within_s=60)
    world.run_until(lambda: heard_by_all(nodes[:3]), within_s=60)
    assert not tap.opens_any(nodes[:3])


@pytest.mark.parametrize("seed", FEW)
def test_a_moderator_makes_the_secret_when_the_creator_is_gone(seed):
    world = World(seed)
    host, ben, *others = sealed_room(world, 4)
    gone = others.pop()
    decide(host, Act.GRANT, ben, "moderator")
    tap = Wiretap(gone)
    world.run_for(3)
    host.act(messages.Leave())
    world.run_for(1)
    decide(ben, Act.ROLE, gone, "ban")
    world.run_for(1)
    assert not tap.opens_any([ben, *others])
    assert heard_by_all([ben, *others])


@pytest.mark.parametrize("seed", FEW)
def test_the_next_keeper_acts_when_the_first_does_not(seed):
    """The creator's node hears of the ban and makes no epoch."""
    world = World(seed)
    host, ben, *others = sealed_room(world, 4)
    gone = others.pop()
    decide(host, Act.GRANT, ben, "moderator")
    world.run_for(3)
    tap = Wiretap(gone)
    keeper = host.rooms._keeper
    keeper._make = lambda now, membership: iter(())  # type: ignore[method-assign]  # it sleeps
    decide(ben, Act.ROLE, gone, "ban")
    world.run_for(0.5)
    assert not tap.opens_any([ben, *others])
    world.run_for(2.5)
    assert heard_by_all([host, ben, *others])
    assert not tap.opens_any([host, ben, *others])


@pytest.mark.parametrize("seed", FEW)
def test_a_moderator_who_loses_the_seat_stays_in_and_hears_under_a_new_secret(seed):
    world = World(seed)
    nodes = room_of(world, 3)
    host, ben, _ = nodes
    decide(host, Act.GRANT, ben, "moderator")
    world.run_for(1)
    assert host.answers[host.act(messages.SetAccess(Access.CLOSED))].error is None
    world.run_until(lambda: one_key(nodes) and heard_by_all(nodes))
    before = here(host).live
    decide(host, Act.REVOKE, ben)
    world.run_for(2)
    assert here(host).live != before
    assert one_key(nodes)
    assert heard_by_all(nodes)
    assert state(host).seat_of(ben.me.uid) is None


@pytest.mark.parametrize("who", [0, 1], ids=["creator", "member"])
@pytest.mark.parametrize("seed", FEW)
def test_who_was_killed_asks_for_the_secret_and_hears_again(seed, who):
    world = World(seed)
    nodes = sealed_room(world, 4)
    world.run_for(world.rng.uniform(0, 100))
    world.crash(nodes[who])
    world.run_for(world.rng.uniform(0.5, 5))
    world.restart(nodes[who])
    world.run_until(lambda: heard_by_all(nodes), within_s=20)
    world.run_for(8)
    assert one_key(nodes)


@pytest.mark.parametrize("seed", FEW)
def test_a_room_that_is_closed_while_people_talk_is_sealed_and_opened_again_is_not(seed):
    world = World(seed)
    nodes = room_of(world, 3)
    host = nodes[0]
    assert host.rooms.facts()["keys"] == "public"
    for node in nodes[1:]:
        decide(host, Act.ROLE, node, "speaker")
    decide(host, Act.ACCESS, None, int(Access.CLOSED))
    world.run_until(lambda: one_key(nodes) and heard_by_all(nodes), within_s=0.5)
    assert all(node.media.voice and node.media.voice.sealed for node in nodes)
    decide(host, Act.ACCESS, None, int(Access.OPEN))
    world.run_until(lambda: heard_by_all(nodes), within_s=3)
    assert not any(node.media.voice and node.media.voice.sealed for node in nodes)
    assert host.rooms.facts()["keys"] == "public"
