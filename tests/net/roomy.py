"""Rooms and cards of now, and waits, for tests of the table of rooms."""

import os
import random

import trio

from p2phouse.hall.card import make_card, make_genesis
from p2phouse.identity.keys import make_identity
from p2phouse.record.types import Access
from p2phouse.vocabulary import Now
from tests.net.conftest import clock


def me_of(number):
    return make_identity(now=clock(), entropy=random.Random(number).randbytes)


def room_of(me, *, access=Access.OPEN, title="Tea"):
    return make_genesis(me, title=title, access=access, now=clock(), entropy=os.urandom)


def card_of(me, genesis, *, seq=1, ttl_s=600, age_s=0):
    now = Now(clock().mono, clock().unix - age_s)
    return make_card(
        me, genesis, seq=seq, speakers=1, listeners=0, addrs=(), ttl_s=ttl_s, now=now
    ).data


async def until(condition, *, seconds=10):
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await trio.sleep(0.02)


async def knows(node, count=1):
    """Once so many others of the table are known to it."""
    await until(lambda: node.network._dht.count >= count)
