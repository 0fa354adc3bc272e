"""item-deltas.v1 on the wire: msgpack, item ids once a message, numbers as little-endian columns.

A message carries the increments of one block of one user partition, or rows of factors that one
worker moved. It holds no user. Bounds are checked here: what is not as it should be raises
`UnusableError` with the reason, and becomes a dead letter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta, Struct

from online.deltas import WIDTH, Increments
from online.deltas_factors import CONTENT, MATRICES, WHOLE, FactorDelta
from online.deltas_journal import BLOCK, Run
from streams.events import Id, Tenant

FORMAT = 1
MAX_BYTES = 900_000
NONE = 0xFFFF  # beyond the end of a context; an item table is shorter than that
MOST_HALVES = 8

Count = Annotated[int, Meta(ge=0, le=2**62)]


class IncrementColumns(Struct, frozen=True):
    """A run of increments: `upto` − `first` of them.

    Attributes:
        targets: uint16[n], items by their place in the table; halves: int8[n], weights.
        contexts: uint16[n, 20], 65535 beyond the end; ages: uint32[n], ticks before the cut.
    """

    partition: Count
    epoch: Count
    block: Count
    began: Count
    first: Count
    upto: Count
    settled: Count
    targets: bytes
    halves: bytes
    contexts: bytes
    ages: bytes


class FactorColumns(Struct, frozen=True):
    """Movements of the table's items.

    Attributes:
        matrices: float16[2, n, width], of e_in and e_out; columns: float32[3, n].
        attention, attention_g, weights, squared, content_weights, content_squared: float32, what
            has no rows; the last two are empty from a version that did not send them.
    """

    width: Count
    matrices: bytes
    columns: bytes
    attention: bytes
    attention_g: bytes
    weights: bytes
    squared: bytes
    content_weights: bytes = b""
    content_squared: bytes = b""


class ItemDelta(Struct, frozen=True, kw_only=True):
    """One message. `sequence` grows with every message of a worker."""

    tenant: Tenant
    worker: Annotated[str, Meta(min_length=1, max_length=64)]
    sequence: Count
    items: list[Id]
    increments: IncrementColumns | None = None
    factors: FactorColumns | None = None
    format: int = FORMAT


class UnusableError(ValueError):
    """A message that cannot be used; the text is the reason."""


_decode = msgspec.msgpack.Decoder(ItemDelta).decode
encode = msgspec.msgpack.encode


def decode(value: bytes | None) -> ItemDelta:
    """A message whose columns fit each other.

    Raises:
        UnusableError: it is none of ours, or its columns do not fit.
    """
    if not value:
        raise UnusableError("empty message")
    try:
        message = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableError(str(error)[:300]) from None
    if message.format != FORMAT:
        raise UnusableError(f"has format {message.format}, this version reads {FORMAT}")
    if (message.increments is None) == (message.factors is None):
        raise UnusableError("carries neither or both of increments and factors")
    return message


def from_run(tenant: str, worker: str, run: Run, names: Any) -> list[ItemDelta]:
    """A run as messages of at most MAX_BYTES, all but the longest item ids in one.

    Args:
        names: item slots → item ids.
    """
    slots = np.concatenate([run.increments.items, run.increments.contexts.ravel()])
    table, places = _table(slots)
    ids = names(table)
    n = run.increments.size
    if n > 1 and sum(len(each) * 3 + 3 for each in ids) + n * (2 * WIDTH + 7) > MAX_BYTES:
        middle = n // 2
        parts = (
            run._replace(upto=run.first + middle, increments=run.increments.between(0, middle)),
            run._replace(first=run.first + middle, increments=run.increments.between(middle, n)),
        )
        return [one for part in parts for one in from_run(tenant, worker, part, names)]
    ages = np.clip(run.clock - run.increments.stamps, 0, 2**32 - 1)
    columns = IncrementColumns(
        run.partition, run.epoch, run.block, run.began, run.first, run.upto, run.settled,
        places[:n].tobytes(), run.increments.halves.tobytes(), places[n:].tobytes(),
        ages.astype("<u4").tobytes(),
    )  # fmt: skip
    return [ItemDelta(tenant=tenant, worker=worker, sequence=0, items=ids, increments=columns)]


def _table(slots: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Distinct slots, and the place of each in them, NONE for slots below zero."""
    places = np.full(int(slots.max(initial=0)) + 2, NONE, np.uint16)  # the last: -1
    places[slots] = 0
    places[-1] = NONE
    table = np.flatnonzero(places == 0)
    places[table] = np.arange(len(table), dtype=np.uint16)
    return table, places[slots].astype("<u2")


def to_run(message: ItemDelta, slots: npt.NDArray[np.int64]) -> Run:
    """The run of a message with increments, its stamps negative ages.

    Args:
        slots: int64[len(items)], the table's slots here, -1 for an item refused.

    Raises:
        UnusableError: columns that do not fit each other.
    """
    c = message.increments
    assert c is not None
    n = c.upto - c.first
    if not 0 < n <= BLOCK or c.settled > c.first or c.began > c.first:
        raise UnusableError(f"numbers from {c.first} to {c.upto} make no block")
    targets = _column("targets", c.targets, "<u2", (n,))
    halves = _column("halves", c.halves, "i1", (n,)).astype(np.int8)
    contexts = _column("contexts", c.contexts, "<u2", (n, WIDTH))
    ages = _column("ages", c.ages, "<u4", (n,)).astype(np.int64)
    items = len(slots)
    if targets.max() >= items or contexts[contexts != NONE].max(initial=0) >= max(items, 1):
        raise UnusableError("names an item that is not in its table")
    if not (np.abs(halves.astype(np.int32)) <= MOST_HALVES).all():
        raise UnusableError("has a weight that no interaction has")
    mapped = np.append(slots, -1).astype(np.int32)
    known = np.where(contexts == NONE, items, contexts).astype(np.int64)
    refused = mapped[known] == -1
    found = mapped[known]
    found[refused & (known < items)] = -2  # an end is -1
    return Run(
        c.partition, c.epoch, c.began, c.first, c.upto, c.settled, 0,
        Increments(mapped[targets], halves, found, -ages),
    )  # fmt: skip


def from_factors(tenant: str, worker: str, delta: FactorDelta, names: Any) -> ItemDelta:
    """Rows of factors as a message."""
    whole = {name: getattr(delta, name).astype("<f4").tobytes() for name in WHOLE}
    columns = FactorColumns(
        delta.matrices.shape[2],
        delta.matrices.astype("<f2").tobytes(),
        delta.columns.astype("<f4").tobytes(),
        **whole,
    )
    ids = names(delta.slots)
    return ItemDelta(tenant=tenant, worker=worker, sequence=0, items=ids, factors=columns)


def to_factors(message: ItemDelta, slots: npt.NDArray[np.int64], like: FactorDelta) -> FactorDelta:
    """The movements of a message with factors.

    Args:
        like: an empty delta of the learner, for the sizes.

    Raises:
        UnusableError: another width or other features, or a number that is not finite.
    """
    c = message.factors
    assert c is not None
    n, width = len(message.items), like.matrices.shape[2]
    if c.width != width:
        raise UnusableError(f"has factors of width {c.width}, not {width}")
    columns = {
        "matrices": _column("matrices", c.matrices, "<f2", (len(MATRICES), n, width)),
        "columns": _column("columns", c.columns, "<f4", (like.columns.shape[0], n)),
    }
    for name in WHOLE:
        zeros = getattr(like, name)
        column = getattr(c, name)
        if not column and name in CONTENT:
            column = zeros.tobytes()
        columns[name] = _column(name, column, "<f4", zeros.shape)
    if not all(np.isfinite(column).all() for column in columns.values()):
        raise UnusableError("has a number that is not finite")
    return FactorDelta(
        slots, **{name: column.astype(np.float32) for name, column in columns.items()}
    )


def _column(name: str, content: bytes, dtype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
    if len(content) != np.dtype(dtype).itemsize * int(np.prod(shape)):
        raise UnusableError(f"{name} is not {dtype}{list(shape)}")
    return np.frombuffer(content, dtype).reshape(shape)
