"""A report: what one person tells those who run a room about another, with the proof of it.

The proof is records that others signed, so a bundle can be checked by anybody who has nothing but
it. It says that these words were written, not that they were the only ones.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from p2phouse.errors import PeerError, UserError
from p2phouse.identity.keys import Me
from p2phouse.record import cbor, envelope, limits
from p2phouse.record.cbor import Value
from p2phouse.record.envelope import Signed
from p2phouse.record.schema import is_plain_text, one_line
from p2phouse.record.types import Act, Chat, ChatKind, Entry, Genesis, Identity, Report
from p2phouse.room.chat import Chats, rank
from p2phouse.room.log import EntryLog
from p2phouse.vocabulary import Now, RecordId, UserKey

VERSION: Final = 1
ENTRIES_MAX: Final = 4  # of the evidence; what somebody wrote says more than what became of it


class BadReport(PeerError):
    """A report breaks the protocol: {reason}."""


class BadWords(UserError):
    """A report is one line of 1 to {limit} characters that says what happened."""


class AboutYourself(UserError):
    """That is you. Name the person that the report is about."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A report whose signatures and proofs have been checked."""

    report: Signed[Report]
    genesis: Signed[Genesis]
    chats: tuple[Signed[Chat], ...]
    entries: tuple[Signed[Entry], ...]
    by: Signed[Identity]
    names: dict[RecordId, str]  # by the identity records that stand in it

    @property
    def about_name(self) -> str:
        """As the person called itself in what is shown; empty if nothing is."""
        return self.names.get(RecordId(self.chats[0].record.idrec), "") if self.chats else ""


def make(me: Me, now: Now, *, log: EntryLog, chats: Chats, about: UserKey, text: str) -> bytes:
    """Signs a bundle with the latest that the person wrote, and what the log says of it. Raises
    UserError."""
    words = one_line(text)
    if not words or len(words) > limits.REPORT_CODE_POINTS_MAX or not is_plain_text(words):
        raise BadWords(limit=limits.REPORT_CODE_POINTS_MAX)
    if about == me.uid:
        raise AboutYourself
    entries = log.state.why(about)[-ENTRIES_MAX:]
    written = sorted(chats.shelves[ChatKind.TEXT].records.values(), key=rank, reverse=True)
    said = [each for each in written if each.record.uid == about]
    for count in range(limits.EVIDENCE_MAX - len(entries), -1, -1):
        data = _bundle(me, now, log, chats, about, words, said[:count], entries)
        if len(data) <= limits.REPORT_BYTES_MAX:
            break
    return data


def _bundle(
    me: Me,
    now: Now,
    log: EntryLog,
    chats: Chats,
    about: UserKey,
    text: str,
    said: Sequence[Signed[Chat]],
    entries: Sequence[Signed[Entry]],
) -> bytes:
    report = Report(
        room=log.genesis.id,
        uid=me.uid,
        dev=me.dev,
        idrec=me.record.id,
        about=about,
        text=text,
        evidence=(*(each.id for each in said), *(each.id for each in entries)),
        ts=int(now.unix),
    )
    identities = {me.record.id: me.record.data}
    identities |= {
        RecordId(each.record.idrec): chats.identity_of(each.record).data for each in said
    }
    identities |= {each.id: each.data for each in log.identities_of(entries)}
    return cbor.encode(
        [
            VERSION,
            log.genesis.data,
            envelope.sign(report, me.device_key).data,
            [each.data for each in said],
            [each.data for each in entries],
            [*identities.values()],
        ]
    )


def read(data: bytes) -> Bundle:
    """Checks all of a bundle. Raises PeerError."""
    match cbor.decode(data, size_max=limits.REPORT_BYTES_MAX):
        case [int(version), bytes(creation), bytes(word), list(said), list(done), list(proofs)] if (
            version is not True and version == VERSION
        ):
            pass
        case _:
            raise BadReport(reason="it is no bundle, or one of another version")
    genesis, report = envelope.read(creation, Genesis), envelope.read(word, Report)
    if len(said) + len(done) > limits.EVIDENCE_MAX or len(proofs) > limits.EVIDENCE_MAX + 1:
        raise BadReport(reason="more proof than a report may have")
    chats = tuple(envelope.read(each, Chat) for each in _all_bytes(said))
    entries = tuple(envelope.read(each, Entry) for each in _all_bytes(done))
    shown = [envelope.read(each, Identity) for each in _all_bytes(proofs)]
    identities = {each.id: each for each in shown}
    named = (*(each.id for each in chats), *(each.id for each in entries))
    if report.record.evidence != named:
        raise BadReport(reason="its proof is not what it names")
    if not report.record.text:
        raise BadReport(reason="it says nothing")
    about = report.record.about
    on_people = [each.record for each in entries if each.record.act is not Act.REVOKE]
    if {each.record.uid for each in chats} - {about} or {each.sub for each in on_people} - {
        about,
        None,
    }:
        raise BadReport(reason="its proof is about somebody else")
    words: list[Report | Chat | Entry] = [report.record]
    words += [each.record for each in chats]
    words += [each.record for each in entries]
    for each in words:
        # Security: whose word it is must stand in the bundle too, or anybody could be accused.
        if each.room != genesis.id or not _is_by(each, identities):
            raise BadReport(reason="its proof is of another room, or by whom cannot be told")
    names = {id_: each.record.name for id_, each in identities.items()}
    return Bundle(report, genesis, chats, entries, identities[RecordId(report.record.idrec)], names)


def _is_by(record: Report | Chat | Entry, identities: dict[RecordId, Signed[Identity]]) -> bool:
    identity = identities.get(RecordId(record.idrec))
    if identity is None or identity.record.uid != record.uid:
        return False
    return any(device.dev == record.dev for device in identity.record.devices)


def _all_bytes(items: Iterable[Value]) -> Iterator[bytes]:
    for item in items:
        if not isinstance(item, bytes):
            raise BadReport(reason="something else where a record belongs")
        yield item
