"""Names from outside, made fit to stand in a sentence that a terminal shows.

channel.VoiceState takes 400 characters, and a path may have 4,096; a device may be called
anything, escape sequences and half characters included.
"""

import unicodedata
from typing import Final

NAME_MAX: Final = 120


def plain(text: str, most: int = NAME_MAX) -> str:
    """`text` on one line of at most `most` characters; its end is kept, for paths differ there."""
    shown = "".join(char if unicodedata.category(char)[0] != "C" else "?" for char in text)
    return shown if len(shown) <= most else "…" + shown[1 - most :]
