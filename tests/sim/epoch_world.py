"""The keys of a sealed room in parts that cannot hear one another: who can open what is said?

Each device runs the shipped `Epochs` on a log of its own; logs and records meet when devices do.
Nothing is encrypted: a box is its secret, opened by whom it is addressed to, and everybody hoards
whatever he was ever given. `faults` asks one thing after each step: is anybody sending under a
secret that somebody knows who is out, by the sender's own log?
"""

import inspect
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final

from p2phouse.identity.keys import Me
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry, Epoch, EpochBox
from p2phouse.room import epochs, keys
from p2phouse.room.rules import RoomState
from p2phouse.vocabulary import DeviceKey, Now, RecordId
from tests.room.logbook import Logbook, person

TRUE: Final = "the true rules"
PEOPLE: Final = [person(name) for name in ("ana", "ben", "cleo", "dan", "eve", "fred", "gina")]
CREATOR, HOST, MODERATOR, OTHER_MODERATOR, *MEMBERS = PEOPLE
ISLANDS: Final = 3
STEPS: Final = 40
HEALING_ROUNDS: Final = 4

MUTANTS: Final[dict[str, tuple[str, str]]] = {
    "the highest number wins": (
        "return known <= set(rm) or rm == account_of(known)",
        "return True",
    ),
    "to remove is not to ban": ("(Role.BAN.value, Role.REMOVE.value)", "(Role.BAN.value,)"),
    "who lost an admission is no matter": (
        "frozenset(out | {each.id for seat in state.seats for each in seat.revokes})",
        "frozenset(out)",
    ),
    "who is let in again is given what there is": (
        "removal is None or (removal.act is Act.ROLE and removal.sub == uid)",
        "removal is None",
    ),
    "given by who does not know whom it is without": (
        "removal is None or (removal.act",
        "removal is not None and (removal.act",
    ),
    "anybody makes epochs": (
        "root is None or made.by not in root.records or not counts(made.by)",
        "root is None",
    ),
    "a ratchet stands for itself": (
        "root is None or made.by not in root.records or not counts(made.by)",
        "root is None or (not made.ratchet and not counts(made.by))",
    ),
    "there is always time": (
        "old not in held or (best is not None and best.since",
        "old is None or (best is not None and best.since",
    ),
    "one without cover is better than none": (
        "if known.secret is not None and self._is_fit(known, removed, counts)",
        "if known.secret is not None and (self._is_fit(known, removed, counts)"
        " or known is self.sending)",
    ),
    "equals are equal": ("return -self.n, self.ratchet, self.id", "return -self.n, self.ratchet"),
    "a new epoch names nobody": ("rm=account_of(removed)", "rm=()"),
}


def law(name: str = TRUE) -> Any:  # noqa: ANN401 - a module like epochs
    """room/epochs.py with that one line changed."""
    source = inspect.getsource(epochs)
    if name != TRUE:
        before, after = MUTANTS[name]
        assert source.count(before) == 1, f"{name}: {source.count(before)} such lines"
        source = source.replace(before, after)
    module = ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)  # our own source, one line changed
    return module


@dataclass(eq=False)
class Device:
    me: Me
    epochs: Any
    log: dict[RecordId, Signed[Entry]] = field(default_factory=dict)
    records: dict[tuple[DeviceKey, RecordId], Signed[Epoch]] = field(default_factory=dict)
    hoard: set[bytes] = field(default_factory=set)  # every secret that it was ever given
    island: int = 0
    folded: tuple[int, Any] = (-1, None)

    def entry(self, id_: RecordId) -> Entry | None:
        signed = self.log.get(id_)
        return None if signed is None else signed.record


class EpochWorld:
    """One run: `live` yields after each step, `heal` brings all together."""

    def __init__(self, seed: int, under: Any) -> None:  # noqa: ANN401 - a module like epochs
        self.seed = seed
        self.law = under
        self.rng = random.Random(seed)
        self.mono = 0.0
        self.book = Logbook(host=CREATOR, access=Access.CLOSED)
        for me in PEOPLE:
            self.book.identities[me.record.id] = me.record
        self.secrets: dict[RecordId, tuple[Any, bytes]] = {}
        self._folds: dict[frozenset[RecordId], RoomState] = {}
        self.cheats: set[RecordId] = set()
        self.rekeyed = False
        self.devices = [Device(me, under.Epochs(self.book.id, me.dev)) for me in PEOPLE]
        self.by_dev = {device.me.dev: device for device in self.devices}
        self.uid_of = {device.me.dev: device.me.uid for device in self.devices}
        self._begin()

    def _begin(self) -> None:
        creator, host = self.devices[:2]
        for seat, to in (("host", HOST), ("moderator", MODERATOR)):
            self._write(creator, Act.GRANT, to, seat)
        host.log.update(creator.log)
        self._write(host, Act.GRANT, OTHER_MODERATOR, "moderator")
        self._unite(creator, host)
        for member in MEMBERS[:2]:
            self._write(self.rng.choice([creator, host]), Act.ROLE, member, "speaker")
            self._unite(creator, host)
        for device in self.devices:
            device.log.update(creator.log)
        self._make(creator)

    # ── what a device believes ───────────────────────────────────────────────────────────────

    def state(self, device: Device) -> RoomState:
        state: RoomState
        size, state = device.folded
        if size != len(device.log):  # it only grows
            state = self._fold(device.log)
            device.folded = len(device.log), state
        return state

    def _fold(self, log: dict[RecordId, Signed[Entry]]) -> RoomState:
        ids = frozenset(log)
        if ids not in self._folds:
            self._folds[ids] = self.book.fold(log.values())
        return self._folds[ids]

    def _truth(self) -> RoomState:
        """What all that was ever decided adds up to."""
        return self._fold({id_: each for other in self.devices for id_, each in other.log.items()})

    def _counts(self, device: Device) -> Any:  # noqa: ANN401 - a predicate
        state = self.state(device)
        return lambda dev: self.law.runs_room(state, self.uid_of[dev])

    def _removals(self, device: Device) -> frozenset[RecordId]:
        removed: frozenset[RecordId] = self.law.removals(self.state(device))
        return removed

    def admits(self, device: Device, other: Device) -> bool:
        return bool(self.law.is_admitted(self.state(device), other.me.uid))

    def runs(self, device: Device) -> bool:
        return bool(self.law.runs_room(self.state(device), device.me.uid))

    def _step(self, device: Device) -> None:
        now = Now(self.mono, self.mono)
        device.epochs.step(now, self._removals(device), self._counts(device))
        device.hoard |= {live.secret for live in device.epochs.held}

    # ── what happens ─────────────────────────────────────────────────────────────────────────

    def live(self) -> Iterator[None]:
        yield
        for _ in range(STEPS):
            self.mono += self.rng.choice([0.0, 0.5, 3.0, 10.0])
            device = self.rng.choice(self.devices)
            match self.rng.randrange(14):
                case 0:
                    device.island = self.rng.randrange(ISLANDS)
                case 1 | 2 | 3:
                    self._govern(self.rng.choice(self.devices[:4]))
                case 4 | 5 | 6:
                    self._meet(device, self.rng.choice(self._near(device)))
                case 7 | 8:
                    self._keep(self.rng.choice(self.devices[:4]))
                case 9 | 10:
                    self._hand(device, self.rng.choice(self._near(device)))
                case 11 | 12:
                    self._lift(self.rng.choice(self.devices[:4]))
                case _:
                    self._cheat(self.rng.choice(self.devices[1:4]))
            for each in self.devices:
                self._step(each)
            yield

    def _near(self, device: Device) -> list[Device]:
        return [other for other in self.devices if other.island == device.island]

    def _govern(self, device: Device) -> None:
        """What somebody who runs the room decides, mostly about who is in it."""
        rng = self.rng
        act = rng.choice([Act.ROLE] * 6 + [Act.REVOKE] * 2 + [Act.GRANT])
        if act is Act.GRANT:
            value: Any = rng.choice(["host", "moderator"])
        else:
            value = rng.choice(["ban", "remove", "listener", "speaker", "listener"])
        self._write(device, act, rng.choice(PEOPLE), value if act is not Act.REVOKE else None)

    def _lift(self, device: Device) -> None:
        """Lets somebody in again who was put out, and gives him what there is."""
        out = [each for each in self.devices if not self.admits(device, each)]
        if out:
            other = self.rng.choice(out)
            self._write(device, Act.ROLE, other.me, "listener")
            self._step(device)
            self._hand(device, other)

    def _write(self, device: Device, act: Act, of: Me, value: Any) -> None:  # noqa: ANN401
        state = self.state(device)
        seat = state.seat_of(device.me.uid)
        if seat is None or not state.may(device.me.uid, act, of.uid, value):
            return
        name: Any = of.uid
        pin = None
        if act is Act.REVOKE:
            target = next(each for each in state.seats if each.uid == of.uid and each.is_standing)
            name = target.id
            written = [each.id for each in device.log.values() if each.record.auth == target.id]
            pin = self.rng.choice([state.heads.get(target.id), *written, None])
        over = [
            each
            for each in state.candidates.get((act, name), ())
            if seat.level <= state.counting[each.id] and act is Act.ROLE
        ]
        signed = self.book.write(
            device.me,
            act,
            name,
            value,
            auth=None if seat.grant is None else seat.id,
            prev=state.heads.get(seat.id),
            over=over[:8],
            pin=pin,
        )
        device.log[signed.id] = signed

    def _unite(self, one: Device, other: Device) -> None:
        one.log.update(other.log)
        other.log.update(one.log)

    def _meet(self, one: Device, other: Device) -> None:
        """They compare what was decided, what the epochs are, or both."""
        what = self.rng.randrange(3)
        if what != 0:
            self._unite(one, other)
        if what != 1:
            self._exchange(one, other)

    def _exchange(self, one: Device, other: Device) -> None:
        for signed in list(one.records.values()):
            self._hear(other, signed)
        for signed in list(other.records.values()):
            self._hear(one, signed)

    def _hear(self, device: Device, signed: Signed[Epoch]) -> None:
        name = DeviceKey(signed.record.dev), signed.id
        if name in device.records:
            return
        device.records[name] = signed
        device.epochs.take(Now(self.mono, self.mono), signed, lambda box: box[:32])
        for box in signed.record.boxes:
            if box.dev == device.me.dev:
                device.hoard.add(box.sealed[:32])

    def _keep(self, device: Device) -> None:
        """As keeper, if by its own log it may be one."""
        if not self.runs(device):
            return
        if device.epochs.best is None or self.rng.random() < 0.3:
            self._make(device)
        else:
            made = device.epochs.ratchet()
            if made is not None:
                self._publish(device, *made, to=[])

    def _make(self, device: Device) -> None:
        made, secret = device.epochs.make(
            self._removals(device), self._counts(device), self.rng.randbytes
        )
        near = [each for each in self._near(device) if self.admits(device, each)]
        self._publish(device, made, secret, to=near)

    def _publish(self, device: Device, made: Any, secret: bytes, *, to: list[Device]) -> None:  # noqa: ANN401
        """Seals and tells; on the way a record may be lost to anybody."""
        self.secrets[made.id] = (made, secret)
        signed = self._sign(device, made, secret, to)
        device.epochs.begin(Now(self.mono, self.mono), signed, secret)
        device.records[device.me.dev, signed.id] = signed
        device.hoard.add(secret)
        for other in self._near(device):
            if other is not device and self.rng.random() < 0.8:
                self._hear(other, signed)

    def _sign(self, device: Device, made: Any, secret: bytes, to: list[Device]) -> Signed[Epoch]:  # noqa: ANN401
        boxes = [EpochBox(each.me.dev, secret + bytes(48)) for each in to if each is not device]
        (record,) = self.law.records_of(self.book.id, device.me.dev, made, boxes)
        number = len(self.secrets) * 1_000 + self.rng.randrange(1_000)
        return Signed(record, RecordId(number.to_bytes(32)), b"")

    def _hand(self, device: Device, other: Device) -> None:
        """Gives the secret to somebody who asks."""
        best = device.epochs.best
        if best is None or other is device or not self.admits(device, other):
            return
        if not self.admits(device, device) or not self.law.may_be_given(
            best.outline.rm, other.me.uid, self._removals(device), device.entry
        ):
            return
        signed = self._sign(device, best.outline, best.secret, [other])
        device.epochs.begin(Now(self.mono, self.mono), signed, best.secret)
        device.records[device.me.dev, signed.id] = signed
        proofs = device.epochs.root(best).records.values()
        for each in [*proofs, *best.records.values(), signed]:
            self._hear(other, each)

    def _cheat(self, device: Device) -> None:
        """Somebody put out makes an epoch that says it is without him."""
        if self.admits(self.devices[0], device):
            return
        known = self.law.removals(self._truth())
        secret = self.rng.randbytes(32)
        made = self.law.outline(
            self.book.id,
            by=device.me.dev,
            n=self.rng.randrange(20, 100),
            parent=None,
            rm=tuple(sorted(known)),
            commit=keys.commit(secret),
        )
        self.secrets[made.id] = (made, secret)
        self.cheats.add(made.id)
        device.hoard.add(secret)
        signed = self._sign(device, made, secret, self.devices)
        for other in self.rng.sample(self.devices, 4):
            self._hear(other, signed)
            self._step(other)
            # Who has not heard yet that its maker is out passes it on in good faith.
            self._hand(other, self.rng.choice(self.devices))

    # ── coming together ──────────────────────────────────────────────────────────────────────

    def heal(self) -> None:
        """All logs and records meet; then those who run the room do what keepers do."""
        for device in self.devices:
            device.island = 0
            self._unite(self.devices[0], device)
        for device in self.devices:
            self._unite(self.devices[0], device)
        for _ in range(HEALING_ROUNDS):
            for signed in {
                id_: each for d in self.devices for (_, id_), each in d.records.items()
            }.values():
                for device in self.devices:
                    self._hear(device, signed)
            self.mono += 3.0
            for device in self.devices:
                self._step(device)
            self._keep_as_shipped(self.devices[0])

    def _keep_as_shipped(self, keeper: Device) -> None:
        """The creator is here, so it is the keeper."""
        best = keeper.epochs.best
        admitted = [each for each in self.devices if self.admits(keeper, each)]
        lacking = [each for each in admitted if each is not keeper and not self._holds(each, best)]
        if best is None or not all(
            self.law.may_be_given(
                best.outline.rm, each.me.uid, self._removals(keeper), keeper.entry
            )
            for each in lacking
        ):
            self.rekeyed = True
            self._make(keeper)
            return
        for each in lacking:
            self._hand(keeper, each)
        # Who knows of a greater one that he was not given asks everybody for it.
        for asking in admitted:
            greatest = asking.epochs.greatest(self._removals(asking), self._counts(asking))
            if greatest is not None and greatest is not asking.epochs.best:
                for other in admitted:
                    self._hand(other, asking)

    def _holds(self, device: Device, known: Any) -> bool:  # noqa: ANN401 - a Known or None
        return known is not None and known.secret in {live.secret for live in device.epochs.held}

    # ── the outcome ──────────────────────────────────────────────────────────────────────────

    def knows(self, device: Device, id_: RecordId) -> bool:
        """Whether it was ever given that secret, or one that it is made from."""
        sent = self.secrets[id_][0]
        return any(
            made.line == sent.line and made.n <= sent.n and secret in device.hoard
            for made, secret in self.secrets.values()
        )

    def faults(self) -> Iterator[str]:
        """Live keys that somebody knows who is out."""
        truth = None
        for sender in self.devices:
            sending = sender.epochs.sending
            if sending is None or not self.admits(sender, sender):
                continue
            state = self.state(sender)
            made = sending.outline
            if made.line in self.cheats and epochs.runs_room(state, self.uid_of[made.by]):
                continue  # who runs the room can always tell its secret to others
            for other in self.devices:
                if epochs.is_admitted(state, other.me.uid):
                    continue
                role = state.role_of(other.me.uid)
                was_in = role is not None or any(
                    each.record.sub == other.me.uid for each in sender.log.values()
                )
                # Somebody let in elsewhere, of which the sender has not heard yet, is not out.
                if not was_in or not self.knows(other, sending.outline.id):
                    continue
                truth = truth or self._truth()
                is_in = epochs.is_admitted(truth, other.me.uid) or self._let_in_unheard(
                    sender, other
                )
                if role is not None or not is_in:
                    yield f"{other.me.name} is out and opens what {sender.me.name} sends"

    def _let_in_unheard(self, sender: Device, other: Device) -> bool:
        """Whether he was let in by an entry that the sender does not hold, put out since or not."""
        return any(
            each.record.sub == other.me.uid and each.record.val in ("listener", "speaker")
            for device in self.devices
            for id_, each in device.log.items()
            if id_ not in sender.log
        )

    def disagreement(self) -> str | None:
        """After healing all who are in send under one epoch."""
        admitted = [each for each in self.devices if self.admits(each, each)]
        used = {
            device.epochs.sending.outline.id if device.epochs.sending else None
            for device in admitted
        }
        return None if len(used) == 1 and None not in used else f"{len(used)} epochs after healing"
