"""Warm start: item factors of a batch model as start values of the learner's embeddings.

`implicit` factorises the matrix of users and items (ALS: Hu, Koren, Volinsky 2008; BPR: Rendle et
al. 2009). Its item factors become E_in and E_out of items that the learner hardly knows; an item
that it has learned from keeps its own. Users need none: a user is a function of his history.

Or all begins anew: embeddings cannot give back what one user taught them, so that somebody who was
erased is out of them once they start from factors of a history without him.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np

from online.arrays import F32, F64, I32, I64
from online.checkpoint import Checkpoint, CheckpointStore
from online.factors import GIVEN_G, new_factors
from online.shared import Shared

Model = Literal["als", "bpr"]
NAME = "factors"  # of the artifact: factors.<version>.safetensors
FORMAT = 1
KNOWN_FROM = 5.0  # interactions, weighted, from which an item keeps its own embedding
LEARNED = ("e_in", "e_out", "bias", "g_in", "g_out", "attention", "attention_g")
RMS = 0.3  # of a start value; those drawn have .1, but these point somewhere


class Manifest(msgspec.Struct, frozen=True):
    """What the artifact's header says."""

    tenant: str
    model: Model
    factors: int
    events: int
    users: int
    items: int
    trained_at: float
    train_seconds: float
    source: str
    library: str
    forget: bool = False  # every item starts anew, and what embeddings had learned is gone
    format: int = FORMAT


class ItemFactors(NamedTuple):
    """Start values.

    Attributes:
        items: ids; vectors: float32[items, d]; bias: float32[items].
        forget: all items take theirs; "first": and before that, the rest its very first values.
    """

    items: list[str]
    vectors: F32
    bias: F32
    forget: Literal["", "first", "then"] = ""

    def parts(self, size: int) -> Iterator[ItemFactors]:
        """A few items at a time, so that taking them over never stops an event for long."""
        for at in range(0, len(self.items), size):
            end = at + size
            how = "then" if at and self.forget else self.forget
            yield ItemFactors(self.items[at:end], self.vectors[at:end], self.bias[at:end], how)


def fit(
    users: I32,
    items: I32,
    weights: F64,
    item_ids: Sequence[str],
    model: Model,
    d: int,
    seed: int,
    epochs: int,
    progress: Callable[[int], None] = lambda _: None,
) -> ItemFactors:
    """Train with `implicit` on one core.

    Args:
        users, items: int32[n], numbers; weights: float64[n], repeats of a pair add up.
        progress: called with the number of epochs done.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from implicit.cpu.bpr import BayesianPersonalizedRanking
    from scipy.sparse import coo_matrix
    from threadpoolctl import threadpool_limits

    shape = (int(users.max()) + 1, len(item_ids))
    matrix = coo_matrix((weights, (users, items)), shape=shape).tocsr().astype(np.float32)
    options: dict[str, Any] = {"factors": d, "iterations": epochs, "random_state": seed}
    with threadpool_limits(1, "blas"):  # its solver is slower with BLAS's own threads, and says so
        made = (
            AlternatingLeastSquares(**options, num_threads=1)
            if model == "als"
            else BayesianPersonalizedRanking(**options, num_threads=1)
        )
        made.fit(matrix, show_progress=False, callback=lambda at, *_: progress(at + 1))
    found = np.asarray(made.item_factors, np.float32)
    bias = found[:, d].copy() if found.shape[1] > d else np.zeros(len(found), np.float32)
    return ItemFactors(list(item_ids), _scaled(found[:, :d]), bias)


def _scaled(vectors: F32) -> F32:
    """All of one size, whatever the batch model's: its directions matter."""
    rms = float(np.sqrt(np.mean(vectors.astype(np.float64) ** 2)))
    return (vectors * (RMS / max(rms, 1e-12))).astype(np.float32)


def write(store: CheckpointStore, found: ItemFactors, manifest: Manifest) -> int:
    """Write the artifact; returns its version, greater than those before."""
    version = max(int(manifest.trained_at), store.newest(NAME) + 1)
    encoded = [item.encode("utf-8", "surrogatepass") for item in found.items]
    arrays: dict[str, np.ndarray[Any, Any]] = {
        "items.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        "items.end": np.cumsum([len(item) for item in encoded], dtype=np.int64),
        "vectors": found.vectors,
        "bias": found.bias,
    }
    store.write(NAME, version, arrays, msgspec.json.encode(manifest).decode())
    return version


def read(found: Checkpoint) -> tuple[ItemFactors, Manifest]:
    """Manifest and factors of an artifact.

    Raises:
        ValueError: it is none, or of another format.
    """
    try:
        manifest = msgspec.json.decode(found.header, type=Manifest)
        arrays = found.arrays
        content, ends = arrays["items.bytes"].tobytes(), arrays["items.end"].tolist()
        encoded = [content[a:b] for a, b in zip([0, *ends], ends, strict=False)]
        items = [item.decode("utf-8", "surrogatepass") for item in encoded]
        how: Literal["", "first"] = "first" if manifest.forget else ""
        factors = ItemFactors(items, arrays["vectors"], arrays["bias"], how)
    except (msgspec.MsgspecError, KeyError) as error:
        raise ValueError(f"no artifact of `springtide train factors`: {error}") from None
    if manifest.format != FORMAT:
        raise ValueError(f"the artifact has format {manifest.format}, this version reads {FORMAT}")
    return factors, manifest


def take_over(shared: Shared, factors: ItemFactors) -> I64:
    """Start the embeddings of items with fewer than KNOWN_FROM interactions, or of all; which.

    Raises:
        ValueError: the widths differ, or a value is not finite.
    """
    d, given = shared.config.factors, factors.vectors.shape[1]
    if given != d:
        raise ValueError(
            f"the artifact's factors are {given} wide, the learner's {d}: "
            f"run `springtide train factors --factors {d}`"
        )
    if not (np.isfinite(factors.vectors).all() and np.isfinite(factors.bias).all()):
        raise ValueError("the artifact has factors that are not finite: train it anew")
    slots = np.array([shared.intern(item) for item in factors.items], dtype=np.int64)
    shared.reserve_items()
    model = shared.model
    if factors.forget == "first":
        _begin_anew(shared)
    fresh = slots >= 0
    if not factors.forget:
        fresh[fresh] = model.popularity.counts[slots[fresh]] < KNOWN_FROM
    at, f = slots[fresh], model.factors
    f.e_in[at] = f.e_out[at] = factors.vectors[fresh]
    f.bias[at] = factors.bias[fresh]
    f.g_in[at], f.g_out[at] = np.maximum(f.g_in[at], GIVEN_G), np.maximum(f.g_out[at], GIVEN_G)
    return at


def _begin_anew(shared: Shared) -> None:
    """All that factors learn has its first values again, step sizes too."""
    held = shared.model.factors
    items, d = held.e_in.shape
    start = new_factors(items, d, len(held.p) - 1, 1, shared.config.seed)
    for name in LEARNED:
        getattr(held, name)[:] = getattr(start, name)
    shared.start.forget()
