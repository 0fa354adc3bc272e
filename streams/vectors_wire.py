"""item-vectors.v1 on the wire: msgpack, one vector a message as little-endian half floats.

Bounds are checked here: what is not as it should be raises `UnusableError` with the reason, and
becomes a dead letter.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta, Struct

from online.arrays import F32
from streams.deltas_wire import UnusableError
from streams.events import Id, Tenant

FORMAT = 1
WIDEST = 8_192
MOST_KEY_BYTES = 1_000


class ItemVector(Struct, frozen=True, kw_only=True):
    """What a language model makes of an item's text.

    Attributes:
        model_version: of the trunk; vectors of two trunks say nothing about each other.
        text: digest of what was read: an item that says something else needs another vector.
        vector: float16[d].
    """

    tenant: Tenant
    item_id: Id
    model_version: Annotated[str, Meta(min_length=1, max_length=256)]
    text: Annotated[int, Meta(ge=0, le=2**63 - 1)]
    vector: Annotated[bytes, Meta(min_length=2, max_length=2 * WIDEST)]
    format: int = FORMAT


_decode = msgspec.msgpack.Decoder(ItemVector).decode
encode = msgspec.msgpack.encode


def decode(value: bytes) -> tuple[ItemVector, F32]:
    """A message, and its vector as float32[d].

    Raises:
        UnusableError: it is none of ours, or its vector is none.
    """
    try:
        message = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableError(str(error)[:300]) from None
    if message.format != FORMAT:
        raise UnusableError(f"has format {message.format}, this version reads {FORMAT}")
    if len(message.vector) % 2:
        raise UnusableError(f"a vector of half floats has no {len(message.vector)} bytes")
    vector = np.frombuffer(message.vector, "<f2").astype(np.float32)
    if not np.isfinite(vector).all():
        raise UnusableError("has a number that is not finite")
    return message, vector


def packed(vector: F32) -> bytes:
    """float32[d] as it travels."""
    return vector.astype("<f2").tobytes()


def digest_of(text: str) -> int:
    """Of a text, below 2^63."""
    made = blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(made, "little") >> 1
