"""SipHash-2-4 of many strings at once: 64 bits that nobody can aim at without the key.

J.-P. Aumasson, D. J. Bernstein: "SipHash: a fast short-input PRF" (2012).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from online.arrays import I64, U8
from online.kernels import kernel

U64 = NDArray[np.uint64]
_13, _16, _17, _21, _32 = (np.uint64(bits) for bits in (13, 16, 17, 21, 32))
_64 = np.uint64(64)
_START = np.array(
    [0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573], np.uint64
)


@kernel()
def hash_strings(text: U8, ends: I64, key: U64) -> U64:
    """uint64[n], of the strings text[ends[i - 1]:ends[i]].

    Args:
        text: uint8[·], the strings, one after the other; ends: int64[n], ascending.
        key: uint64[2], secret.
    """
    hashes = np.empty(len(ends), np.uint64)
    start = 0
    for at in range(len(ends)):
        hashes[at] = _hash(text, start, ends[at], key)
        start = ends[at]
    return hashes


@kernel()
def _hash(text: U8, start: int, end: int, key: U64) -> np.uint64:
    v0, v1 = key[0] ^ _START[0], key[1] ^ _START[1]
    v2, v3 = key[0] ^ _START[2], key[1] ^ _START[3]
    at = start
    while True:
        word, size = np.uint64(0), min(8, end - at)
        for byte in range(size):
            word |= np.uint64(text[at + byte]) << np.uint64(8 * byte)
        last = size < 8
        if last:
            word |= np.uint64((end - start) & 0xFF) << np.uint64(56)
        v3 ^= word
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
        v0 ^= word
        if last:
            break
        at += 8
    v2 ^= np.uint64(0xFF)
    for _ in range(4):
        v0, v1, v2, v3 = _round(v0, v1, v2, v3)
    hashed: np.uint64 = v0 ^ v1 ^ v2 ^ v3
    return hashed


@kernel()
def _round(
    v0: np.uint64, v1: np.uint64, v2: np.uint64, v3: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    v0, v2 = v0 + v1, v2 + v3
    v1, v3 = _turn(v1, _13) ^ v0, _turn(v3, _16) ^ v2
    v0, v2 = _turn(v0, _32) + v3, v2 + v1
    v1, v3 = _turn(v1, _17) ^ v2, _turn(v3, _21) ^ v0
    return v0, v1, _turn(v2, _32), v3


@kernel()
def _turn(x: np.uint64, bits: np.uint64) -> np.uint64:
    return (x << bits) | (x >> (_64 - bits))
