"""Rooms and their cards, by people who are the same in every run."""

import random

from p2phouse.hall.card import make_card, make_genesis
from p2phouse.identity.keys import Me, make_identity
from p2phouse.record.envelope import Signed
from p2phouse.record.types import Access, Card, Genesis
from p2phouse.vocabulary import Now
from tests.record.samples import LAN_ADDRESS

UNIX = 1_800_000_000.0


def at(after_s: float) -> Now:
    """So long after everything began."""
    return Now(1_000.0 + after_s, UNIX + after_s)


def person(seed: int) -> Me:
    return make_identity(now=at(0), entropy=random.Random(seed).randbytes)


def room(me: Me, title: str = "Tea", *, now: Now | None = None, nonce: int = 0) -> Signed[Genesis]:
    return make_genesis(
        me,
        title=title,
        access=Access.OPEN,
        now=now or at(0),
        entropy=lambda size: nonce.to_bytes(size),
    )


def card(
    me: Me,
    genesis: Signed[Genesis],
    *,
    seq: int = 1,
    ttl_s: int = 600,
    now: Now | None = None,
    addrs: tuple[bytes, ...] = (LAN_ADDRESS,),
) -> Signed[Card]:
    return make_card(
        me,
        genesis,
        seq=seq,
        speakers=1,
        listeners=0,
        addrs=addrs,
        ttl_s=ttl_s,
        now=now or at(0),
    )
