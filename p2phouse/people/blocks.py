"""Whom the owner of this node does not want to hear, with the names they had then. Told to nobody.

A block is in the file before it counts. A node whose list is damaged does not start: without a word
it would let everybody be heard again.
"""

from pathlib import Path
from typing import Final

from p2phouse.people.book import Book

FILE_NAME: Final = "blocked.cbor"
BLOCKED_MAX: Final = 1_000


def blocks(home: Path) -> Book:
    return Book(home / FILE_NAME, most=BLOCKED_MAX)
