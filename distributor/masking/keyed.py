"""What a secret makes of texts and numbers: words, permutations of ranges, other digits. Deterministic, and no two
values meet: words by 80 bits of HMAC-SHA256, everything else because it can be undone with the secret."""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Callable, Iterable

WORD = 16
"""Letters and digits of a word: 80 bits. Among 100 million values two meet once in 240 million tries."""
_WORD_OCTETS = 10
_BLOCK = 64
_ROUNDS = 8


class Keyed:
    """HMAC-SHA256 under one key, with both pads hashed beforehand: most of what a short message costs."""

    def __init__(self, secret: str) -> None:
        key = secret.encode()
        key = hashlib.sha256(key).digest() if len(key) > _BLOCK else key
        key = key.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha256(bytes(octet ^ 0x36 for octet in key))
        self._outer = hashlib.sha256(bytes(octet ^ 0x5C for octet in key))

    def digest(self, message: bytes) -> bytes:
        """32 octets."""
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()

    def word(self, text: str) -> str:
        """Small letters and digits, WORD of them: unlike ones stay unlike where upper and lower case count as one."""
        octets = self.digest(b"word\0" + text.encode())[:_WORD_OCTETS]
        return base64.b32encode(octets).decode().lower()

    def octets(self, purpose: str, text: str, count: int) -> bytes:
        """`count` octets, at most 32."""
        return self.digest(purpose.encode() + b"\0" + text.encode())[:count]

    def moved(self, purpose: str, value: int, size: int) -> int:
        """Another number of 0 … size - 1 (the same where there is none): a permutation that leaves none in its place.

        A Feistel network over the bits of `size`, walked until it is in range, one step further, and back again.
        """
        bits = max((size - 1).bit_length(), 2)
        tag = f"{purpose} {size}".encode()
        at = value
        while (at := self._feistel(tag, at, bits, range(_ROUNDS))) >= size:
            pass
        at = (at + 1) % size
        while (at := self._feistel(tag, at, bits, reversed(range(_ROUNDS)))) >= size:
            pass
        return at

    def _feistel(self, tag: bytes, value: int, bits: int, rounds: Iterable[int]) -> int:
        low = bits // 2
        high = bits - low
        left, right = value >> low, value & ((1 << low) - 1)
        for number in rounds:
            if number % 2:
                right ^= self._half(tag, number, left, low)
            else:
                left ^= self._half(tag, number, right, high)
        return left << low | right

    def _half(self, tag: bytes, number: int, other: int, bits: int) -> int:
        found = self.digest(b"%b %d %d" % (tag, number, other))
        return int.from_bytes(found[:16], "big") & ((1 << bits) - 1)

    def other_digits(self, text: str, lowest: Callable[[int], int | None]) -> str:
        """Every digit replaced by another one, of whatever script it is; all other characters stay.

        `lowest` says of each place from which digit on it may have one; None: it stays as it is. How far a digit is
        moved depends on all others, those before it as they have become. So the last can be undone first.
        """
        characters = list(text)
        for at, character in enumerate(characters):
            value = unicodedata.decimal(character, None)
            first = lowest(at) if value is not None else None
            if value is None or first is None:
                continue
            size = 10 - first
            characters[at] = "?"
            found = self.digest(f"digits\0{at}\0{''.join(characters)}".encode())
            step = 1 + int.from_bytes(found[:8], "big") % (size - 1)
            characters[at] = chr(ord(character) - value + first + (value - first + step) % size)
        return "".join(characters)
