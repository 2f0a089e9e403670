"""Whom the owner of this node follows: their rooms come first, and into a social room of ours they
come without waiting. Told to nobody.
"""

from pathlib import Path
from typing import Final

from p2phouse.people.book import Book
from p2phouse.record import limits

FILE_NAME: Final = "following.cbor"


def following(home: Path) -> Book:
    return Book(home / FILE_NAME, most=limits.FOLLOWING_MAX)
