"""Reports in the room we are in: ours on their way to those who run it, and others' to us."""

from collections.abc import Iterator

from p2phouse.identity.keys import Me, key_tag
from p2phouse.record import limits
from p2phouse.record.cbor import Value
from p2phouse.room import frames, report
from p2phouse.room.frames import FrameKind, FrameRefused
from p2phouse.room.messages import Answer, Event, EventKind, Output, SendReport, SendRoomFrame
from p2phouse.room.report import Bundle
from p2phouse.room.state import Member, Membership
from p2phouse.vocabulary import Now, UserKey


class Reporting:
    """See the module. The room is given with each call."""

    def __init__(self, me: Me) -> None:
        self._me = me

    def prepare(self, now: Now, membership: Membership, about: UserKey, text: str) -> bytes:
        """A signed bundle, which nobody has yet. Raises UserError."""
        members = membership.members.values()
        return report.make(
            self._me,
            now,
            log=membership.log,
            chats=membership.chats,
            about=about,
            text=text,
            identity=next((each.identity for each in members if each.uid == about), None),
        )

    def send(self, membership: Membership, ticket: int, action: SendReport) -> Iterator[Output]:
        told = [
            member
            for dev, member in membership.members.items()
            if self._is_told(membership, member, action.about) and membership.is_up(dev)
        ]
        for member in told:
            frame: list[Value] = [int(FrameKind.REPORT), action.bundle]
            yield SendRoomFrame(member.dev, membership.room, frame)
        yield Answer(ticket, {"told": [each.name or key_tag(each.uid) for each in told]})

    def _is_told(self, membership: Membership, member: Member, about: UserKey) -> bool:
        # Security: whom it is about does not learn who reported it, whatever seat it has.
        if member.uid in (about, self._me.uid):
            return False
        return membership.log.state.runs(member.uid)

    def heard(
        self, now: Now, membership: Membership, member: Member, frame: list[Value]
    ) -> Iterator[Output]:
        """A member reports somebody to us. Raises PeerError before anything changed."""
        data = frames.read_report(frame)
        if not membership.pace_of(member.dev).reports.take(now.mono):
            return
        bundle = report.read(data)
        word = bundle.report.record
        if (word.room, word.uid, word.dev) != (membership.room, member.uid, member.dev):
            raise FrameRefused(reason="a report of somebody else or in another room")
        runs = membership.log.state.runs(self._me.uid)
        if not runs or word.about == self._me.uid or bundle.report.id in membership.reports:
            return
        membership.reports[bundle.report.id] = bundle
        if len(membership.reports) > limits.REPORTS_KEPT_MAX:
            del membership.reports[next(iter(membership.reports))]
        yield Event(EventKind.REPORT_HEARD, membership.room, member.dev, word.text)

    def known(self, membership: Membership | None) -> list[Bundle]:
        """The reports that we have heard, the latest first; none for who runs the room no more."""
        if membership is None or membership.genesis is None:
            return []
        if not membership.log.state.runs(self._me.uid):
            return []
        return list(reversed(membership.reports.values()))
