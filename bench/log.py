"""What a room's log costs: entries checked as they come, and the state they add up to.

The log is a full one of a busy evening: a host and fifteen moderators who name, mute and ban, each
in one line of entries, and some of them revoked again. CPU time, best of several rounds.
"""

import random
import time
from collections.abc import Callable
from typing import Final

from bench.figures import Figure
from p2phouse.identity.keys import Me, make_identity
from p2phouse.record import envelope
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Act, Entry
from p2phouse.room.log import EntryLog
from tests.room.logbook import NOW, Logbook

NAME = "log"

ROUNDS: Final = 5
ENTRIES: Final = 2_000
MODERATORS: Final = 15
REVOKED: Final = 5
ROLES: Final = ("speaker", "muted", "listener", "remove", "ban")


def best_ms(measured: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(ROUNDS):
        started = time.process_time_ns()
        measured()
        best = min(best, (time.process_time_ns() - started) / 1e6)
    return round(best, 2)


def busy_evening(count: int) -> Logbook:
    rng = random.Random(1)

    def somebody() -> Me:
        return make_identity(now=NOW, entropy=rng.randbytes)

    book = Logbook(access=Access.OPEN)
    people = [somebody() for _ in range(100)]
    seats: list[tuple[Me, Signed[Entry] | None, list[Signed[Entry]]]] = [(book.host, None, [])]
    for _ in range(MODERATORS):
        grant = book.grant(book.host, person := somebody(), "moderator", prev=_last(seats[0][2]))
        seats[0][2].append(grant)
        seats.append((person, grant, []))
    while len(book.entries) < count - REVOKED:
        author, seat, line = rng.choice(seats)
        of = rng.choice(people)
        before = [each for each in line[-50:] if each.record.sub == of.uid]
        role = rng.choice(ROLES)
        entry = book.role(author, of, role, auth=seat, prev=_last(line), over=before[-1:])
        line.append(entry)
    creators = seats[0][2]
    for grant, (_, _, line) in zip(creators[:REVOKED], seats[1:], strict=False):
        creators.append(book.revoke(book.host, grant, pin=line[len(line) // 2], prev=creators[-1]))
    return book


def _last(line: list[Signed[Entry]]) -> Signed[Entry] | None:
    return line[-1] if line else None


def long_pin() -> Logbook:
    """One seat with 500 entries, revoked a hundred times."""
    book = Logbook()
    host = make_identity(now=NOW, entropy=random.Random(2).randbytes)
    seat = book.grant(book.host, host, "host")
    line: list[Signed[Entry]] = []
    for number in range(500):
        title = f"{number}"
        entry = book.write(host, Act.TITLE, None, title, auth=seat, prev=_last(line))
        line.append(entry)
    last = seat
    for number in range(100):
        last = book.revoke(book.host, seat, pin=line[4 * number + 50], prev=last)
    return book


def filled(book: Logbook) -> EntryLog:
    log = EntryLog(book.genesis)
    for identity in book.identities.values():
        log.add_identity(identity.data)
    for entry in book.entries:
        log.add(entry.data)
    assert len(log) == len(book.entries)
    return log


def run() -> list[Figure]:
    book = busy_evening(ENTRIES)
    pinned = long_pin()
    reading = best_ms(lambda: [envelope.read(each.data, Entry) for each in book.entries])
    taking = best_ms(lambda: filled(book))
    log, empty = filled(book), EntryLog(book.genesis)
    size = sum(len(each.data) for each in book.entries) / len(book.entries)
    note = f"{ENTRIES} entries of {MODERATORS + 1} seats, {REVOKED} revoked, best of {ROUNDS}"
    read_each_s = round(ENTRIES / reading * 1_000)
    return [
        Figure("an entry", round(size), "B", note=note),
        Figure("entries read and verified", read_each_s, "1/s", "≥ 5000"),
        Figure(
            "entries taken into a log, all checks",
            round(ENTRIES / taking * 1_000),
            "1/s",
            "≥ 4000",
            "read and verified alone",
            read_each_s,
        ),
        Figure("fold", best_ms(lambda: book.state), "ms", "< 50"),
        Figure(
            "fold, 500 entries of a seat revoked 100 times", best_ms(lambda: pinned.state), "ms"
        ),
        Figure("sketch", best_ms(lambda: log.sketch), "ms"),
        Figure("what an empty log lacks", best_ms(lambda: [*log.missing(empty.sketch)]), "ms"),
    ]
