"""A strict, deterministic subset of CBOR (RFC 8949): one value, one encoding.

Allowed: integers of 64 bits, byte and text strings, arrays, maps with ascending integer or text
keys, true, false, null; shortest heads, definite lengths, no tags, no floats, nothing after the
value. cbor2 encodes; decoding is ours, because cbor2 accepts many encodings of one value
(docs/adr/0002). Whatever `decode` accepts, `encode` gives back byte for byte.
"""

from typing import Final

import cbor2

from p2phouse.errors import PeerError

Value = int | bytes | str | bool | None | list["Value"] | dict["int | str", "Value"]

DEPTH_MAX: Final = 8
ITEMS_MAX: Final = 4_096


class Malformed(PeerError):
    """A peer sent bytes that are not what they should be: {reason}."""


def encode(value: Value) -> bytes:
    """The value's one encoding. Raises ValueError for what `decode` would not give back."""
    return bytes(cbor2.dumps(_ordered(value, 0)))


def _ordered(value: Value, depth: int) -> Value:
    match value:
        case None | bool() | bytes() | str():
            return value
        case int():
            if not -(2**64) <= value < 2**64:
                raise ValueError("an integer past 64 bits")
            return value
        case list() | dict() if depth == DEPTH_MAX:
            raise ValueError("nested too deeply")
        case list():
            return [_ordered(item, depth + 1) for item in value]
        case dict():
            if not all(_is_key(key) for key in value):
                raise ValueError("a map key that is no unsigned integer or text")
            # RFC 8949 §4.2.1: bytewise order of the encoded keys; cbor2's canonical mode sorts
            # by length first (RFC 7049).
            keys = sorted(value, key=cbor2.dumps)
            return {key: _ordered(value[key], depth + 1) for key in keys}
    raise ValueError(f"{type(value).__name__} is not in the profile")


def _is_key(key: object) -> bool:
    if isinstance(key, int):
        return 0 <= key < 2**64 and not isinstance(key, bool)
    return isinstance(key, str)


def decode(data: bytes, *, size_max: int, items_max: int = ITEMS_MAX) -> Value:
    """The value that `data` encodes. Raises Malformed."""
    if len(data) > size_max:
        raise Malformed(reason=f"{len(data)} bytes where at most {size_max} may be")
    reader = _Reader(data, items_max)
    value = reader.value(0)
    if reader.at != len(data):
        raise Malformed(reason="bytes after the value")
    return value


class _Reader:
    __slots__ = ("at", "data", "items")

    def __init__(self, data: bytes, items_max: int) -> None:
        self.data = data
        self.at = 0
        self.items = items_max

    def value(self, depth: int) -> Value:
        self.items -= 1
        if self.items < 0:
            raise Malformed(reason="too many items")
        start = self.at
        major, number = self.head()
        if major == 0:
            return number
        if major == 1:
            return -1 - number
        if major == 2:
            return self.take(number)
        if major == 3:
            try:
                return self.take(number).decode()
            except UnicodeDecodeError as error:
                raise Malformed(reason="text that is not UTF-8") from error
        if major == 7 and self.at == start + 1 and number in (20, 21, 22):
            return (False, True, None)[number - 20]
        if major > 5:
            raise Malformed(reason="a tag, float or other type outside the profile")
        if depth == DEPTH_MAX:
            raise Malformed(reason="nested too deeply")
        return self.array(number, depth) if major == 4 else self.map(number, depth)

    def array(self, count: int, depth: int) -> Value:
        # A long array must have its bytes: refuses a length that lies before looping on it.
        if count > len(self.data) - self.at:
            raise Malformed(reason="an array longer than its bytes")
        return [self.value(depth + 1) for _ in range(count)]

    def map(self, count: int, depth: int) -> Value:
        if 2 * count > len(self.data) - self.at:
            raise Malformed(reason="a map longer than its bytes")
        found: dict[int | str, Value] = {}
        previous = b""
        for _ in range(count):
            start = self.at
            key = self.value(depth + 1)
            encoded = self.data[start : self.at]
            if not (isinstance(key, int | str) and _is_key(key)):
                raise Malformed(reason="a map key that is no unsigned integer or text")
            if encoded <= previous:
                raise Malformed(reason="map keys out of order")
            previous = encoded
            found[key] = self.value(depth + 1)
        return found

    def head(self) -> tuple[int, int]:
        """Major type and argument of the next head, which must be the shortest."""
        data, at = self.data, self.at
        if at >= len(data):
            raise Malformed(reason="it ends too early")
        first = data[at]
        major, info = first >> 5, first & 31
        if info < 24:
            self.at = at + 1
            return major, info
        if info > 27:
            raise Malformed(reason="an indefinite length or reserved head")
        width = 1 << (info - 24)
        number = int.from_bytes(self.take_after(width), "big")
        if number < (24, 1 << 8, 1 << 16, 1 << 32)[info - 24]:
            raise Malformed(reason="a number longer than it needs to be")
        return major, number

    def take_after(self, width: int) -> bytes:
        self.at += 1
        return self.take(width)

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self.data):
            raise Malformed(reason="it ends too early")
        taken = self.data[self.at : end]
        self.at = end
        return taken
