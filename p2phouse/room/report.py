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
IDENTITIES_MAX: Final = limits.EVIDENCE_MAX + 2  # of the authors, who reports and whom
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
    about_name: str  # as that person calls itself; empty if no identity of it stands there


def make(
    me: Me,
    now: Now,
    *,
    log: EntryLog,
    chats: Chats,
    about: UserKey,
    text: str,
    identity: Signed[Identity] | None = None,
) -> bytes:
    """Signs a bundle with the latest that the person wrote, and what the log says of it. identity:
    that person's, if it is known. Raises UserError."""
    words = one_line(text)
    if not words or len(words) > limits.REPORT_CODE_POINTS_MAX or not is_plain_text(words):
        raise BadWords(limit=limits.REPORT_CODE_POINTS_MAX)
    if about == me.uid:
        raise AboutYourself
    entries = log.state.why(about)[-ENTRIES_MAX:]
    written = sorted(chats.shelves[ChatKind.TEXT].records.values(), key=rank, reverse=True)
    said = [each for each in written if each.record.uid == about]
    proofs = [me.record, *([identity] if identity is not None else []), *log.identities_of(entries)]
    for count in range(limits.EVIDENCE_MAX - len(entries), -1, -1):
        some = said[:count]
        report = _sign(me, now, log.genesis, about, words, some, entries)
        shown = [*proofs, *(chats.identity_of(each.record) for each in some)]
        data = _pack(log.genesis, report, some, entries, shown)
        if len(data) <= limits.REPORT_BYTES_MAX:
            break
    return data


def _sign(
    me: Me,
    now: Now,
    genesis: Signed[Genesis],
    about: UserKey,
    text: str,
    said: Sequence[Signed[Chat]],
    entries: Sequence[Signed[Entry]],
) -> Signed[Report]:
    report = Report(
        room=genesis.id,
        uid=me.uid,
        dev=me.dev,
        idrec=me.record.id,
        about=about,
        text=text,
        evidence=(*(each.id for each in said), *(each.id for each in entries)),
        ts=int(now.unix),
    )
    return envelope.sign(report, me.device_key)


def _pack(
    genesis: Signed[Genesis],
    report: Signed[Report],
    said: Sequence[Signed[Chat]],
    entries: Sequence[Signed[Entry]],
    proofs: Sequence[Signed[Identity]],
) -> bytes:
    identities: list[Value] = [*{each.id: each.data for each in proofs}.values()]
    parts: list[Value] = [[each.data for each in said], [each.data for each in entries]]
    return cbor.encode([VERSION, genesis.data, report.data, *parts, identities])


def read(data: bytes) -> Bundle:
    """Checks all of a bundle. Raises PeerError."""
    match cbor.decode(data, size_max=limits.REPORT_BYTES_MAX):
        case [int(version), bytes(creation), bytes(word), list(said), list(done), list(proofs)] if (
            version is not True and version == VERSION
        ):
            pass
        case _:
            raise BadReport(reason="it is no bundle, or one of another version")
    if len(said) + len(done) > limits.EVIDENCE_MAX or len(proofs) > IDENTITIES_MAX:
        raise BadReport(reason="more proof than a report may have")
    genesis, report = envelope.read(creation, Genesis), envelope.read(word, Report)
    chats = tuple(envelope.read(each, Chat) for each in _all_bytes(said))
    entries = tuple(envelope.read(each, Entry) for each in _all_bytes(done))
    shown = [envelope.read(each, Identity) for each in _all_bytes(proofs)]
    identities = {each.id: each for each in shown}
    _check_subject(report.record, chats, entries)
    words: list[Report | Chat | Entry] = [report.record]
    words += [each.record for each in chats]
    words += [each.record for each in entries]
    for each in words:
        # Security: whose word it is must stand in the bundle too, or anybody could be accused.
        if each.room != genesis.id or not _is_by(each, identities):
            raise BadReport(reason="its proof is of another room, or by whom cannot be told")
    about = [each.record.name for each in shown if each.record.uid == report.record.about]
    by = identities[RecordId(report.record.idrec)]
    return Bundle(report, genesis, chats, entries, by, about[0] if about else "")


def _check_subject(
    report: Report, chats: Sequence[Signed[Chat]], entries: Sequence[Signed[Entry]]
) -> None:
    """Raises BadReport unless its proof is what it names, and about whom it names."""
    if report.evidence != (*(each.id for each in chats), *(each.id for each in entries)):
        raise BadReport(reason="its proof is not what it names")
    if not report.text:
        raise BadReport(reason="it says nothing")
    roles = [each.record for each in entries if each.record.act is not Act.REVOKE]
    authors, subjects = {each.record.uid for each in chats}, {each.sub for each in roles}
    if authors - {report.about} or subjects - {report.about, None}:
        raise BadReport(reason="its proof is about somebody else")


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
