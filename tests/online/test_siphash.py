"""SipHash-2-4 against the vectors that its authors published."""

from __future__ import annotations

import numpy as np
import pytest

from online.siphash import hash_strings

KEY = np.frombuffer(bytes(range(16)), np.uint64)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, 0x726FDB47DD0E0E31), (8, 0x93F5F5799A932462), (15, 0xA129CA6149BE45E5)],
)
def test_the_authors_vectors(size: int, expected: int) -> None:
    text = np.frombuffer(bytes(range(size)), np.uint8)
    assert hash_strings(text, np.array([size]), KEY).tolist() == [expected]


def test_strings_hash_alone_as_among_others() -> None:
    parts = [b"", b"1", b"12345678", b"\xe8\xaf\xbe" * 9, b"1"]
    ends = np.cumsum([len(part) for part in parts])
    together = hash_strings(np.frombuffer(b"".join(parts), np.uint8), ends, KEY).tolist()
    alone = [
        hash_strings(np.frombuffer(part, np.uint8), np.array([len(part)]), KEY)[0] for part in parts
    ]
    assert together == alone and together[1] == together[4] and len(set(together)) == 4
