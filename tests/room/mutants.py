"""The rules with one line changed, as somebody might by mistake: each must be noticed.

A mutant is made from the source of p2phouse/room/rules.py, so nothing is patched and nothing is
written twice. The limit of grants is 6 in all of them, the true rules included: 64 are rare.
"""

import inspect
from types import ModuleType
from typing import Any, Final

from p2phouse.room import rules

GRANTS_MAX: Final = 6
TRUE: Final = "the true rules"

MUTANTS: Final[dict[str, tuple[str, str]]] = {
    "R1 entries of other rooms": (
        "if entry.room != genesis.id or not _has_form",
        "if not _has_form",
    ),
    "R1 no form": ("or not _has_form(entry, creation)", ""),
    "R1 all are put out unnamed": ("DEFAULTS if sub is None else ROLES", "ROLES"),
    "R2 any device": (
        "return any(each.dev == entry.dev and each.exp >= created for each in identity.devices)",
        "return True",
    ),
    "R2 devices that ran out": (
        "each.dev == entry.dev and each.exp >= created",
        "each.dev == entry.dev",
    ),
    "R2 identities that ran out": (" or identity.exp < created", ""),
    "R2 anybody's identity": ("identity.uid != entry.uid or ", ""),
    "R3 anybody from any seat": ("holder is None or entry.uid != holder", "holder is None"),
    "R3 any entry makes a seat": ("auth.sub if auth.act == Act.GRANT else None", "auth.sub"),
    "R4 no chain": (
        "entry.prev is not None and (prev is None or prev.auth != entry.auth)",
        "False",
    ),
    "R4 a chain through other seats": ("(prev is None or prev.auth != entry.auth)", "prev is None"),
    "R5 any seat may all": ("if level > power_of(Act(entry.act), entry.val):", "if False:"),
    "R5 hosts name hosts": (
        "or level < SEATS[str(entry.val)]",
        "or level <= SEATS[str(entry.val)]",
    ),
    "R5 hosts need more": (
        "if level > power_of(Act(entry.act), entry.val):",
        "if level >= power_of(Act(entry.act), entry.val):",
    ),
    "R6 equals revoke equals": (
        "not seat.level < self._level_of_grant(entry.sub)",
        "not seat.level <= self._level_of_grant(entry.sub)",
    ),
    "R6 equals put out equals": (
        "not seat.level < self._level_of_person(entry.sub)",
        "not seat.level <= self._level_of_person(entry.sub)",
    ),
    "R6 no levels": ("entry.act == Act.ROLE and not seat.level <", "False and not seat.level <"),
    "R6 a lost seat protects": ("if seat.id not in self._revokes:", "if True:"),
    "R6 the moderators first": (
        "(Level.CREATOR, Level.HOST, Level.MODERATOR):",
        "(Level.MODERATOR, Level.HOST, Level.CREATOR):",
    ),
    "R6 the moderators before the hosts": (
        "(Level.CREATOR, Level.HOST, Level.MODERATOR):",
        "(Level.CREATOR, Level.MODERATOR, Level.HOST):",
    ),
    "R7 no pin": ("allowed is not None and signed.id not in allowed", "False"),
    "R7 a null pin keeps all": (
        "revokes = self._revokes.get(seat.id)",
        "revokes = [r for r in self._revokes.get(seat.id, ()) if r.record.pin]",
    ),
    "R7 one pin is enough": ("length = min(length, shared)", "length = max(length, shared)"),
    "R7 the first pin decides": ("length = min(length, shared)", "pass"),
    "R7 not the pin itself": ("frozenset(line[:length])", "frozenset(line[: length - 1])"),
    "R7 the whole line of the first pin": ("frozenset(line[:length])", "frozenset(line)"),
    "R8 no limit of grants": ("grants[:room_for]", "grants"),
    "R8 as they came": (
        "        grants.sort(key=lambda signed: (self._depths[signed.id], signed.id))\n",
        "",
    ),
    "R8 the latest grants": (
        "(self._depths[signed.id], signed.id)",
        "(-self._depths[signed.id], signed.id)",
    ),
    "R8 who made no seat still counts": (
        "            del self._counting[grant.id]",
        "            pass",
    ),
    "R9 nothing is replaced": ("if by is None or by > self._counting[signed.id]:", "if True:"),
    "R9 anybody replaces": ("by is None or by > self._counting[signed.id]", "by is None"),
    "R9 only those above replace": (
        "by > self._counting[signed.id]",
        "by >= self._counting[signed.id]",
    ),
    "R9 the lowest who replaces decides": (
        "min(level, replaced_by.get(name, level))",
        "max(level, replaced_by.get(name, level))",
    ),
    "R10 the mildest": (
        "return _strictness(signed.record), self",
        "return -_strictness(signed.record), self",
    ),
    "R10 the level before the strictness": (
        "return _strictness(signed.record), self._counting[signed.id], signed.id",
        "return self._counting[signed.id], _strictness(signed.record), signed.id",
    ),
    "R10 the lower level": (
        "self._counting[signed.id], signed.id\n",
        "-self._counting[signed.id], signed.id\n",
    ),
    "R10 as they came": (
        "_strictness(signed.record), self._counting[signed.id], signed.id",
        "_strictness(signed.record), self._counting[signed.id]",
    ),
    "R11 seats do not speak": (
        "        if self.seat_of(uid) is not None:\n            return Role.SPEAKER\n",
        "",
    ),
    "R11 revoked seats speak": ("if seat.uid == uid and seat.is_standing]", "if seat.uid == uid]"),
    "R13 who is put out writes on": (
        "if self.role_of(uid) in (None, Role.BAN, Role.REMOVE, Role.RELAY):",
        "if self.role_of(uid) is None:",
    ),
    "R13 who is not let in writes": (
        "if self.role_of(uid) in (None, Role.BAN, Role.REMOVE, Role.RELAY):",
        "if self.role_of(uid) in (Role.BAN, Role.REMOVE):",
    ),
    "R13 off for nobody": ("self.chat is not False or self.runs(uid)", "True"),
    "R13 off for all": ("self.chat is not False or self.runs(uid)", "self.chat is not False"),
    "R10 the less slow": ("return -int(entry.val or 0)", "return int(entry.val or 0) - 9_999"),
    "R10 on before off": ("return 0 if entry.val else -1", "return 0 if not entry.val else -1"),
    "R12 all are let in": ("if self.access in (Access.SOCIAL, Access.CLOSED):", "if False:"),
}


def law(name: str = TRUE) -> Any:  # noqa: ANN401 - a module like rules
    """The rules with that one line changed."""
    source = inspect.getsource(rules)
    changes = {"the limit": ("limits.GRANTS_PER_ROOM_MAX", str(GRANTS_MAX))}
    if name != TRUE:
        changes[name] = MUTANTS[name]
    for what, (before, after) in changes.items():
        assert source.count(before) == 1, f"{what}: {source.count(before)} such lines in rules.py"
        source = source.replace(before, after)
    module = ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)  # our own source, one line changed
    return module
