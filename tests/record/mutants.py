"""Malformed input in great number, and the promise every decoder keeps with it.

Invariant: whatever comes, a decoder returns a value or raises an error of the family it names,
within CPU time and memory that the input is worth.
"""

import contextlib
import os
import random
import time
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from p2phouse.record import cbor
from p2phouse.record.cbor import Value

INPUTS: Final = int(os.environ.get("P2PHOUSE_FUZZ_INPUTS", "100000"))  # nightly: a million
SEED: Final = int(os.environ.get("P2PHOUSE_FUZZ_SEED", "1"))
CPU_S_MAX: Final = 0.05  # a check for hangs, not for speed: a record takes 0.0001 s
GROWTH_BYTES_MAX: Final = 10 * 1024 * 1024
TRACED: Final = 10  # one round in so many runs under tracemalloc, which makes it slow
ROUND: Final = 1_000

# Heads of CBOR that promise much, forbidden ones among them; lengths of the channel's frames.
_HEADS: Final = """
    00 01 17 1817 18ff 1900ff 19ffff 1affffffff 1bffffffffffffffff 20 3bffffffffffffffff
    40 5820 5bffffffffffffffff 5f 60 7bffffffffffffffff 7f 80 9b00000000ffffffff
    9bffffffffffffffff 9f a0 bbffffffffffffffff bf c0 d81c d81d d823 d9d9f7 f4 f5 f6 f7
    f815 f97e00 fb7ff0000000000000 ff 00000000 00000001 00040000 00040001 7fffffff ffffffff
"""
_WORDS: Final = [bytes.fromhex(text) for text in _HEADS.split()]
_VALUES: Final[list[Value]] = [
    None, True, False, 0, 1, -1, 13, 255, 2**31, 2**53 + 1, 2**63, 2**64 - 1, -(2**64), b"",
    bytes(16), bytes(32), bytes(64), b"\xff" * 700, "", "a", "direct", "\n", "\u202e", "Zoe\u0308",
    "x" * 400, [], [[]], [0] * 40, {}, {0: 0}, [[[[]]]],
]  # fmt: skip


def mutant(rng: random.Random, corpus: Sequence[bytes]) -> bytes:
    """One of the corpus, changed in one to four places; sometimes noise, sometimes unchanged."""
    if rng.random() < 0.05:
        return rng.randbytes(rng.randrange(80))
    data = bytearray(rng.choice(corpus))
    for _ in range(rng.randrange(5)):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(8):
            case 0 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 1 if at < len(data):
                data[at] = rng.randrange(256)
            case 2:
                del data[at : at + rng.randrange(1, 9)]
            case 3:
                data[at:at] = rng.randbytes(rng.randrange(1, 9))
            case 4:
                data[at:at] = rng.choice(_WORDS)
            case 5:
                word = rng.choice(_WORDS)
                data[at : at + len(word)] = word
            case 6:
                other = rng.choice(corpus)
                begin = rng.randrange(len(other) + 1)
                data[at:] = other[begin:]
            case 7:
                del data[at:]
    return bytes(data)


def changed(rng: random.Random, value: Value) -> Value:
    """A copy of the value with one part of it replaced, doubled or taken away."""
    if isinstance(value, list) and value and rng.random() < 0.9:
        items = list(value)
        at = rng.randrange(len(items))
        match rng.randrange(8):
            case 0:
                del items[at]
            case 1:
                items.insert(at, rng.choice(items))
            case _:
                items[at] = changed(rng, items[at])
        return items
    if isinstance(value, bytes) and value and rng.random() < 0.5:
        return mutant(rng, [value])
    if isinstance(value, int) and rng.random() < 0.5:
        return max(-(2**64), min(2**64 - 1, value + rng.choice((-1, 1, 1_000_000))))
    return rng.choice(_VALUES)


def reshaped(rng: random.Random, data: bytes) -> bytes:
    """The encoded value with a part of it changed: well-formed, and probably not allowed."""
    return cbor.encode(changed(rng, cbor.decode(data, size_max=1 << 20)))


def survives(
    decode: Callable[[bytes], object],
    make: Callable[[random.Random], bytes],
    *,
    errors: type[Exception],
    accepted_min: int = 1,
) -> None:
    """Asserts the invariant for INPUTS inputs.

    accepted_min: how many of 100,000 must be accepted at least, or the mutants are too wild to
    reach beyond the first check.
    """
    rng = random.Random(SEED)
    accepted = 0
    with _growth():
        for number in range(INPUTS):
            if number % (ROUND * TRACED) == 0:
                tracemalloc.start()
                base, _ = tracemalloc.get_traced_memory()
            data = make(rng)
            began = time.process_time()
            try:
                decode(data)
                accepted += 1
            except errors:
                pass
            except Exception as error:
                raise AssertionError(_where(number, data)) from error
            if time.process_time() - began > CPU_S_MAX:
                _must_be_quick(decode, errors, number, data)
            if tracemalloc.is_tracing() and number % ROUND == ROUND - 1:
                _, peak = tracemalloc.get_traced_memory()
                tracemalloc.stop()
                assert peak - base < GROWTH_BYTES_MAX, f"{_where(number, b'')}: {peak} bytes"
    assert accepted >= accepted_min * INPUTS // 100_000, f"only {accepted} accepted"


def _where(number: int, data: bytes) -> str:
    return f"P2PHOUSE_FUZZ_SEED={SEED} input {number}: {data.hex()}"


def _must_be_quick(
    decode: Callable[[bytes], object], errors: type[Exception], number: int, data: bytes
) -> None:
    """A collection of garbage may fall into one try; a hang is there every time."""
    tries = []
    for _ in range(3):
        began = time.process_time()
        with contextlib.suppress(errors):
            decode(data)
        tries.append(time.process_time() - began)
    assert min(tries) < CPU_S_MAX, f"{_where(number, data)} took {min(tries):.3f} s"


@contextlib.contextmanager
def _growth() -> Iterator[None]:
    """Asserts that the process ends no larger than it began, but for 10 MB."""
    before = _resident_bytes()
    yield
    grown = _resident_bytes() - before
    assert grown < GROWTH_BYTES_MAX, f"P2PHOUSE_FUZZ_SEED={SEED}: grew by {grown} bytes"


def _resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
