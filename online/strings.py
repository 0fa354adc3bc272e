"""Strings as arrays: utf-8 bytes one after the other, and their lengths; -1 for none at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from online.arrays import I32, I64, U8
from online.kernels import kernel


def packed(strings: Sequence[str | None]) -> tuple[U8, I32]:
    """Bytes and lengths."""
    encoded = [b"" if s is None else s.encode("utf-8", "surrogatepass") for s in strings]
    lengths = [-1 if s is None else len(e) for s, e in zip(strings, encoded, strict=True)]
    return np.frombuffer(b"".join(encoded), np.uint8).copy(), np.array(lengths, np.int32)


def unpacked(content: U8, length: I32) -> list[str | None]:
    """The reverse of `packed`."""
    whole, at = content.tobytes(), starts(length).tolist()
    return [
        None if n < 0 else whole[s : s + n].decode("utf-8", "surrogatepass")
        for s, n in zip(at, length.tolist(), strict=True)
    ]


def starts(length: I32) -> I64:
    """Where each string begins."""
    kept = np.maximum(length, 0).astype(np.int64)
    return np.cumsum(kept) - kept


def chosen(content: U8, start: I64, length: I32, rows: I64) -> U8:
    """The bytes of some strings, one after the other."""
    out = np.empty(int(np.maximum(length[rows], 0).sum(dtype=np.int64)), np.uint8)
    _copy(content, start, length, rows, out)
    return out


@kernel(nogil=True)
def _copy(content: U8, start: I64, length: I32, rows: I64, out: U8) -> None:
    at = 0
    for r in range(len(rows)):
        first = start[rows[r]]
        for b in range(length[rows[r]]):
            out[at] = content[first + b]
            at += 1
