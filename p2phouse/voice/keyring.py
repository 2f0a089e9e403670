"""The keys of others' voices, as control tells them; a voice is given those that are its own."""

from collections.abc import Iterable
from typing import Protocol

from p2phouse.vocabulary import Ssrc
from p2phouse.voice.opened import KEYS_MAX
from p2phouse.voice.seal import SealKey


class KeyRow(Protocol):
    """As channel.VoiceKeyRow has them."""

    @property
    def ssrc(self) -> Ssrc: ...
    @property
    def kid(self) -> int: ...
    @property
    def base(self) -> bytes: ...
    @property
    def akey(self) -> bytes: ...


class Opening(Protocol):
    """What opens one voice."""

    ssrc: Ssrc

    def set_keys(self, keys: Iterable[SealKey]) -> None: ...
    def set_akey(self, akey: bytes) -> None: ...


class KeyRing:
    """`set` replaces all of them; a key that stays is not derived anew."""

    def __init__(self) -> None:
        self._keys: dict[Ssrc, tuple[SealKey, ...]] = {}
        self._akeys: dict[Ssrc, bytes] = {}

    def __contains__(self, ssrc: Ssrc) -> bool:
        return ssrc in self._keys

    def set(self, rows: Iterable[KeyRow]) -> None:
        keys: dict[Ssrc, tuple[SealKey, ...]] = {}
        akeys: dict[Ssrc, bytes] = {}
        for row in rows:
            known = self._keys.get(row.ssrc, ())
            key = next((k for k in known if (k.kid, k.base) == (row.kid, row.base)), None)
            keys[row.ssrc] = (*keys.get(row.ssrc, ()), key or SealKey(row.kid, row.base))
            akeys[row.ssrc] = row.akey
        self._keys, self._akeys = keys, akeys

    def give(self, voice: Opening) -> None:
        voice.set_keys(self._keys.get(voice.ssrc, ())[-KEYS_MAX:])
        akey = self._akeys.get(voice.ssrc)
        if akey is not None:
            voice.set_akey(akey)
