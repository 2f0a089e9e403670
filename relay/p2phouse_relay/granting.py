"""Relay grants, signed with the relay's own key: what `p2phouse-relay grant` prints."""

import base64
import os
from typing import Final

from p2phouse.drive import clock
from p2phouse.errors import UserError
from p2phouse.identity.keys import Me, load_or_create
from p2phouse.record import envelope
from p2phouse.record.types import GrantOf, RelayGrant
from p2phouse.vocabulary import Now
from p2phouse_relay.settings import FILE_NAME, NoSettings, relay_home

DAY_S: Final = 86_400


class WhoseGrant(UserError):
    """Say whose rooms it is for: --person UID, or one room by --room ID."""


class NoSuchKey(UserError):
    """{given} is no {what}. It has 64 hexadecimal digits."""


def sign(
    home: str | None,
    *,
    person: str,
    room: str,
    listeners: int,
    kbps: int,
    days: int,
    any_relay: bool,
) -> str:
    """The relay grant as text. Raises UserError."""
    where = relay_home(home)
    if not (where / FILE_NAME).exists():
        raise NoSettings(path=where / FILE_NAME)
    now = clock()
    me = load_or_create(where, now=now, entropy=os.urandom)
    return make(
        me,
        now,
        person=person,
        room=room,
        listeners=listeners,
        kbps=kbps,
        days=days,
        any_relay=any_relay,
    )


def make(
    me: Me,
    now: Now,
    *,
    person: str,
    room: str,
    listeners: int,
    kbps: int,
    days: int,
    any_relay: bool,
) -> str:
    """Raises UserError."""
    if bool(person) == bool(room):
        raise WhoseGrant
    record = RelayGrant(
        by=me.dev,
        of=GrantOf.PERSON if person else GrantOf.ROOM,
        subject=_key(person, "person's uid") if person else _key(room, "room's id"),
        relay=None if any_relay else me.dev,
        listeners=listeners,
        kbps=kbps,
        created=int(now.unix),
        exp=int(now.unix) + days * DAY_S,
    )
    signed = envelope.sign(record, me.device_key)
    return base64.urlsafe_b64encode(signed.data).decode().rstrip("=")


def _key(given: str, what: str) -> bytes:
    try:
        found = bytes.fromhex(given)
    except ValueError as error:
        raise NoSuchKey(given=given, what=what) from error
    if len(found) != 32:
        raise NoSuchKey(given=given, what=what)
    return found
