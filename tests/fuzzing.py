"""Octets and texts that nobody meant, for the tests that feed them to parsers: true samples, mutated, and random ones.

``QNIB_FUZZ_SECONDS=600 pytest …`` fuzzes each parser for ten minutes instead of some seconds; what fails names its
seed, and ``QNIB_FUZZ_SEED=…`` does the same again.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

SECONDS = float(os.environ.get("QNIB_FUZZ_SECONDS", "2"))
"""For each parser. Read when this is imported: the tests themselves see no QNIB_ variables."""

MOST_SECONDS = 2.0
"""Of the processor, for one text or body of some kilobytes."""

_SEED = os.environ.get("QNIB_FUZZ_SEED", "")
_NASTY = (
    b"", b"\0", b"\n", b"\r\n", b" ", b"\t", b";", b"=", b".", b"..", b",", b"|", b":", b"~", b"'", b'"', b"\\", b"{",
    b"}", b"[", b"]", b"(", b")", b"*", b"?", b"<", b">", b"&", b"%s", b"-1", b"-0", b"+5", b"1e300", b"1e999",
    b"-1e999", b"nan", b"NaN", b"inf", b"-Infinity", b"0x1p3", b"1_0", b"9" * 25, b"9" * 5000, b"99999999999999999999",
    b"9223372036854775807", b"-9223372036854775808", b"4294967296", b"\xff", b"\xc3\x28", b"\xe2\x80\xae",
    b"\xed\xa0\x80", "é漢\u2028\x85\xa0".encode(), b"\x1b[2J", b"\x1e\x0f", b"\x80\x02", b"\x7f", b"null", b"true",
    b"a" * 300, b"[" * 300, b"(" * 300, b"{" * 300, b"now", b"1970-01-01T00:00:00Z", b"9999-12-31T23:59:59.999999999Z",
)  # fmt: skip


def rounds(seconds: float = SECONDS) -> Iterator[random.Random]:
    """A source of chance for each round, until `seconds` have passed; its seed is printed when a round fails."""
    end = time.monotonic() + seconds
    seeds = random.SystemRandom()
    while True:
        seed = int(_SEED) if _SEED else seeds.getrandbits(48)
        print(f"\rQNIB_FUZZ_SEED={seed}", end="")  # pytest shows it with a failure
        yield random.Random(seed)
        if _SEED or time.monotonic() > end:
            return


def octets(chance: random.Random, most: int = 200) -> bytes:
    """Random octets, or pieces that parsers stumble over."""
    if chance.random() < 0.3:
        return chance.randbytes(chance.randrange(most))
    return b"".join(chance.choice(_NASTY) for _ in range(chance.randrange(1, 6)))


def mutated(chance: random.Random, sample: bytes, most: int = 4) -> bytes:
    """`sample` with some of its octets changed, lost, doubled, or something put between."""
    data = bytearray(sample)
    for _ in range(chance.randrange(most + 1)):
        at = chance.randrange(len(data) + 1)
        to = min(len(data), at + int(chance.expovariate(0.2)) + 1)
        match chance.randrange(6):
            case 0:
                data[at:to] = b""
            case 1:
                data[at:at] = octets(chance, 20)
            case 2:
                data[at:to] = octets(chance, 20)
            case 3 if at < len(data):
                data[at] ^= 1 << chance.randrange(8)
            case 4:
                data[at:at] = data[at:to] * chance.randrange(1, 4)
            case 5:
                other = chance.randrange(len(data) + 1)
                data[at:to] = data[other : other + to - at]
    return bytes(data)


def one_of(chance: random.Random, samples: Sequence[bytes]) -> bytes:
    """A true sample, a mutated one, or nothing of the sort."""
    sort = chance.random()
    if sort < 0.2:
        return chance.choice(samples)
    return mutated(chance, chance.choice(samples)) if sort < 0.9 else octets(chance)


def text_of(chance: random.Random, samples: Sequence[str]) -> str:
    """As `one_of`, as text; surrogates among it as JSON can tell them."""
    told = one_of(chance, [sample.encode() for sample in samples])
    return told.decode("utf-8", chance.choice(("replace", "ignore", "surrogateescape")))


def tried(allowed: tuple[type[Exception], ...], parse: Callable[..., Any], *args: Any) -> Any:
    """What `parse` gives, None when it raises one of `allowed`; fails for any other, and for one that takes long."""
    began = time.process_time()
    try:
        found = parse(*args)
    except allowed:
        found = None
    spent = time.process_time() - began
    assert spent < MOST_SECONDS, f"it took {spent:.1f} s of the processor"
    return found
