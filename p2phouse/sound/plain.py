"""Names and reasons from outside, made fit to stand in a sentence that the channel will carry.

channel.VoiceState takes 400 code points in NFC without control or reordering characters; a device
may be called anything, and a path may have 4,096 characters.
"""

import unicodedata
from typing import Final

NAME_MAX: Final = 120


def plain(text: str, most: int = NAME_MAX) -> str:
    """`text` on one line of at most `most` characters; its end is kept, for paths differ there."""
    text = unicodedata.normalize("NFC", text)
    shown = "".join(char if unicodedata.category(char)[0] != "C" else "?" for char in text)
    return shown if len(shown) <= most else "…" + shown[1 - most :]
