"""To whom the secret of a sealed room may be given, and the records that give it.

What is decided about when stands in room/keeper.py.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from p2phouse.identity.keys import Me
from p2phouse.record import envelope
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Entry, Epoch, EpochBox, Identity
from p2phouse.room import epochs, keys
from p2phouse.room.epochs import Epochs, Known, Outline
from p2phouse.room.frames import FrameKind
from p2phouse.room.messages import Output, SendRoomFrame
from p2phouse.room.state import Member, Membership
from p2phouse.vocabulary import DeviceKey, Entropy, Now, RecordId, UserKey

IDENTITIES_MAX: Final = 64


class Handing:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me, *, entropy: Entropy) -> None:
        self._me = me
        self._entropy = entropy

    # ── giving ───────────────────────────────────────────────────────────────────────────────

    def send(
        self, membership: Membership, dev: DeviceKey, records: list[Signed[Epoch]]
    ) -> Iterator[Output]:
        """Epochs; none of them asks for them. With those who signed and are not here."""
        for signer in dict.fromkeys(DeviceKey(signed.record.dev) for signed in records):
            identity = membership.custody.identities.get(signer)
            if identity is not None and signer not in membership.members:
                told: list[Value] = [int(FrameKind.EPOCH), [], [identity.data]]
                yield SendRoomFrame(dev, membership.room, told)
        sent: list[Value] = [signed.data for signed in records]
        yield SendRoomFrame(dev, membership.room, [int(FrameKind.EPOCH), sent, []])

    def publish(
        self, now: Now, membership: Membership, made: Outline, secret: bytes
    ) -> Iterator[Output]:
        """Signs a new epoch and tells everybody; whoever holds a ratchet's parent needs no box."""
        # Listeners are handed it on (keeper.py), by us if we carry the room.
        members = [each for each in self.here(membership) if not membership.is_audience(each.dev)]
        boxes = [] if made.ratchet else self._boxes(membership, members, secret)
        for record in epochs.records_of(membership.room, self._me.dev, made, boxes):
            signed = envelope.sign(record, self._me.device_key)
            self.known(membership).begin(now, signed, secret)
            given = {box.dev for box in record.boxes}
            for member in members:
                if made.ratchet or member.dev in given:
                    yield from self.send(membership, member.dev, [signed])

    def give(
        self, now: Now, membership: Membership, known: Known, members: list[Member]
    ) -> Iterator[Output]:
        """Seals the secret to these, with what shows that the epoch is one that counts."""
        assert known.secret is not None
        proofs = self._proofs(membership, known)
        # Who gets no box, because its key is none, is not tried again and again.
        known.boxed.update(member.dev for member in members)
        boxes = self._boxes(membership, members, known.secret)
        for record in epochs.records_of(membership.room, self._me.dev, known.outline, boxes):
            signed = envelope.sign(record, self._me.device_key)
            self.known(membership).begin(now, signed, known.secret)
            for box in record.boxes:
                for proof in proofs:
                    yield from self.send(membership, DeviceKey(box.dev), [proof])
                yield from self.send(membership, DeviceKey(box.dev), [signed])

    def _proofs(self, membership: Membership, known: Known) -> list[Signed[Epoch]]:
        """What shows that the epoch counts, unless our own record of it does."""
        made, root = known.outline, self.known(membership).root(known)
        proofs = []
        if root is not None and (made.ratchet or made.by != self._me.dev):
            proofs += [signed for dev, signed in root.records.items() if dev == made.by]
        if made.ratchet and not self.counts(membership, self._me.dev):
            counting = (dev for dev in known.records if self.counts(membership, dev))
            proofs += [known.records[dev] for dev in counting][:1]
        return proofs

    def _boxes(
        self, membership: Membership, members: Iterable[Member], secret: bytes
    ) -> Iterator[EpochBox]:
        assert membership.genesis is not None
        began = membership.genesis.record.created
        for member in members:
            # Security: the key stands in the identity that the root key signed, beside the device.
            for device in member.identity.record.devices:
                if device.dev == member.dev and device.exp >= began:
                    sealed = keys.seal(secret, device.xpk, self._entropy)
                    if sealed is not None:
                        yield EpochBox(member.dev, sealed)

    def may_give(self, membership: Membership, member: Member, known: Known) -> bool:
        # Security: to whom the log admits, and to nobody else.
        state = membership.log.state

        def entry(id_: RecordId) -> Entry | None:
            return membership.log.get(id_)

        return epochs.is_admitted(state, member.uid) and epochs.may_be_given(
            known.outline.rm, member.uid, self.removals(membership), entry
        )

    # ── what we know, and of whom ────────────────────────────────────────────────────────────

    def removals(self, membership: Membership) -> frozenset[RecordId]:
        """Those that we know: looked through once for each state of the log."""
        custody, state = membership.custody, membership.log.state
        if custody.state is not state:
            custody.state, custody.removed = state, epochs.removals(state)
        return custody.removed

    def known(self, membership: Membership) -> Epochs:
        custody = membership.custody
        if custody.epochs is None:
            custody.epochs = Epochs(membership.room, self._me.dev)
        return custody.epochs

    def learn(self, membership: Membership, identity: Signed[Identity]) -> None:
        """Whose devices those of people are who run the room, though they may be gone."""
        kept = membership.custody.identities
        if epochs.runs_room(membership.log.state, UserKey(identity.record.uid)):
            for device in identity.record.devices:
                if len(kept) < IDENTITIES_MAX:
                    kept[DeviceKey(device.dev)] = identity

    def identity(self, membership: Membership, dev: DeviceKey) -> Signed[Identity] | None:
        if dev == self._me.dev:
            return self._me.record
        member = membership.members.get(dev)
        return membership.custody.identities.get(dev) if member is None else member.identity

    def counts(self, membership: Membership, dev: DeviceKey) -> bool:
        identity = self.identity(membership, dev)
        if identity is None:
            return False
        return epochs.runs_room(membership.log.state, UserKey(identity.record.uid))

    def here(self, membership: Membership) -> list[Member]:
        """Those admitted to whom a room link stands."""
        state = membership.log.state
        return [
            member
            for member in membership.members.values()
            if epochs.is_admitted(state, member.uid) and membership.is_up(member.dev)
        ]
