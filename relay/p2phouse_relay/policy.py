"""What the operator of a relay decided: read from `policy.toml` in its home, shown signed.

The file is TOML; docs/relay.md has an example of all of it. What it does not say is a default that
suits a small machine at home: whoever is not on the list needs a relay grant.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from p2phouse.errors import UserError
from p2phouse.identity.keys import Me, device_of_peer_id
from p2phouse.record import envelope, limits
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Admits, Policy
from p2phouse.vocabulary import Now

FILE_NAME: Final = "policy.toml"
CARD_LIFE_S: Final = 30 * 86_400  # whoever kept it sees again after a month what a relay is
TEXTS: Final = ("who", "where", "logs", "rules", "price", "contact")
NUMBERS: Final = {
    "rooms": 4_096,
    "rooms_each": 4_096,
    "listeners": 4_096,
    "kbps": 2**32 - 1,
    "gb_month": 1_000_000,
    "gb_month_each": 1_000_000,
}


class PolicyUnreadable(UserError):
    """policy.toml cannot be used: {reason}. docs/relay.md shows a whole one."""


@dataclass(frozen=True, slots=True)
class Charter:
    """What the file says. allow, deny: keys of people and devices; allow holds those as well whose
    relay grants are taken. page: not of the file, but where this relay is in fact. near:
    nor is this: it stands beside a node, for rooms of their one network alone."""

    name: str = "relay"
    who: str = ""
    where: str = ""
    logs: str = "no addresses, no names"
    rules: str = ""
    price: str = "nothing"
    contact: str = ""
    page: str = ""
    admits: Admits = Admits.LISTED
    rooms: int = 16
    rooms_each: int = 2
    listeners: int = 200
    kbps: int = 50_000
    gb_month: int = 0  # sent, guests' rooms included; 0: as much as there is
    gb_month_each: int = 0  # for one person or relay grant
    others: tuple[str, ...] = ()
    allow: frozenset[bytes] = frozenset()
    deny: frozenset[bytes] = frozenset()
    near: bool = False


def read(text: str) -> Charter:
    """Raises PolicyUnreadable."""
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyUnreadable(reason=str(error)) from error
    known = {"name", "admits", "others", "allow", "deny", *TEXTS, *NUMBERS}
    unknown = sorted(told.keys() - known)
    if unknown:
        raise PolicyUnreadable(reason=f"{unknown[0]} is not a setting")
    chosen: dict[str, Any] = {}
    for key in ("name", *TEXTS):
        if key in told:
            most = limits.NAME_CODE_POINTS_MAX if key == "name" else limits.POLICY_CODE_POINTS_MAX
            chosen[key] = _text(key, told[key], most)
    for key, highest in NUMBERS.items():
        if key in told:
            chosen[key] = _number(key, told[key], highest)
    if "admits" in told:
        names = {each.name.lower(): each for each in Admits}
        if told["admits"] not in names:
            raise PolicyUnreadable(reason=f"admits is one of {', '.join(names)}")
        chosen["admits"] = names[told["admits"]]
    if "others" in told:
        others = _list("others", told)
        if len(others) > limits.OTHER_RELAYS_MAX:
            raise PolicyUnreadable(reason=f"at most {limits.OTHER_RELAYS_MAX} others")
        chosen["others"] = tuple(_text("others", each, 80) for each in others)
    for key in ("allow", "deny"):
        chosen[key] = frozenset(_key(key, each) for each in _list(key, told))
    return Charter(**chosen)


def card(charter: Charter, me: Me, *, at: tuple[bytes, ...], now: Now) -> Signed[Policy]:
    """at: where the relay is dialled."""
    record = Policy(
        dev=me.dev,
        uid=me.uid,
        seq=int(now.unix * 1_000),
        name=charter.name,
        who=charter.who,
        where=charter.where,
        logs=charter.logs,
        rules=charter.rules,
        price=charter.price,
        contact=charter.contact,
        page=charter.page,
        admits=charter.admits,
        rooms=charter.rooms,
        rooms_each=charter.rooms_each,
        listeners=charter.listeners,
        kbps=charter.kbps,
        others=charter.others,
        at=at[: limits.ADDRS_MAX],
        created=int(now.unix),
        exp=int(now.unix) + CARD_LIFE_S,
    )
    return envelope.sign(record, me.device_key)


def _text(key: str, value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most or not value.isprintable():
        raise PolicyUnreadable(reason=f"{key} is one line of at most {most} characters")
    return value


def _number(key: str, value: object, highest: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= highest:
        raise PolicyUnreadable(reason=f"{key} is a number from 0 to {highest:,}")
    return value


def _list(key: str, told: Mapping[str, Any]) -> list[object]:
    value = told.get(key, [])
    if not isinstance(value, list):
        raise PolicyUnreadable(reason=f"{key} is a list")
    return value


def _key(key: str, value: object) -> bytes:
    """A person's `uid`, 64 hexadecimal digits, or a device's PeerId."""
    try:
        found = bytes.fromhex(str(value))
    except ValueError:
        try:
            found = device_of_peer_id(str(value))
        except ValueError:
            found = b""
    if len(found) != 32:
        raise PolicyUnreadable(reason=f"{value} in {key} is neither a uid nor a PeerId")
    return found
