"""Training of topic heads on a finished artifact, whose trunk and adapter stay as they are.

Vectors are computed once, then a head is a multinomial logistic regression, a matter of seconds.
Its ridge penalty, the passes of its n-gram expert, the expert's weight and the temperature are
chosen by log-loss on training rows held back from both, and from the adapter where that was fitted
to topics too; then head and expert are fitted again on all training rows. No setting sees a test
row.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence, Set
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models import registry
from models.classifier import Classifier
from models.data import Comment
from models.digests import sha256
from models.evaluate import AT_ONCE
from models.measures import score_labels
from models.ngrams import NGrams, softmax
from models.ngrams_training import train_table
from models.registry import Manifest, Scores, Stack, Topic
from models.sampling import topic_places
from models.session import UNUSED
from models.stacking import candidates
from models.topic_data import TopicSet
from models.topics import TopicHead, load_topics, save_topics

HELD_SHARE, FEWEST = 0.15, 200
RIDGES, RIDGE = (0.003, 0.01, 0.03, 0.1), 0.03
PASSES = (1, 2, 4)
WEIGHTS, TEMPERATURES = (
    (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.3, 1.6, 2.0),
    (0.3, 0.4, 0.5, 0.6, 0.8, 1.0),
)
TABLE_BYTES = 220_000  # of one expert: half a byte a label and 1.3 of place a gram
STEPS = 60

Progress = Callable[[int, int], None]


class Settings(Struct, frozen=True):
    """What the rows held back chose. `passes` 0: no expert."""

    ridge: float
    passes: int
    stack: Stack


def add_topics(
    classifier: Classifier,
    folder: Path,
    sets: Sequence[TopicSet],
    *,
    seed: int = 0,
    progress: Progress = lambda done, total: None,
) -> Manifest:
    """Train a head for each label set and write them into the artifact in `folder`.

    Heads of other label sets that the artifact has stay; one of the same name is replaced.

    Args:
        classifier: the artifact in `folder`, loaded.
        progress: called with (texts read by the trunk, texts).

    Returns:
        The manifest as written, with the scores on the sets' test rows.
    """
    manifest = classifier.manifest
    heads, topics = load_topics(folder, manifest), dict(manifest.topics)
    total = sum(len(each.train) + len(each.test) for each in sets)
    done = itertools.count(1)

    def read(rows: Sequence[Comment]) -> NDArray[np.float32]:
        texts = [row.text for row in rows]
        return vectors_of(classifier, texts, lambda: progress(next(done), total))

    for each in sets:
        shown = topic_places(each, manifest.topic_rows.get(each.name, 0), manifest.seed)
        head = train_head(each, read(each.train), seed, set(shown.tolist()))
        test = read(each.test)
        heads[each.name] = head
        topics[each.name] = Topic(
            labels=each.labels,
            trained_rows=len(each.train),
            scores=_scores(each, head.shares(test, [row.text for row in each.test])),
            stack=head.stack if head.ngrams is not None else None,
            ngrams=_expert_alone(each, head.ngrams),
        )
    path = save_topics(folder, heads)
    whole = msgspec.structs.replace(
        manifest,
        topics=topics,
        sha256=manifest.sha256 | {registry.TOPICS: sha256(path)},
    )
    registry.write_manifest(folder, whole)
    return whole


def vectors_of(
    classifier: Classifier, texts: Sequence[str], read: Callable[[], None] = lambda: None
) -> NDArray[np.float32]:
    """What the heads read, float32[texts, hidden]; zeros for a text with nothing to read.

    Args:
        read: called once for each text that was read.
    """
    pieces = (texts[start : start + AT_ONCE] for start in range(0, len(texts), AT_ONCE))
    ids = [row.ids for piece in pieces for row in classifier.prepare(piece)]
    readable = [index for index, each in enumerate(ids) if each]
    found = np.zeros((len(texts), classifier.width), np.float32)
    for batch in classifier.batches([len(ids[index]) for index in readable]):
        places = [readable[index] for index in batch]
        found[places] = classifier.vectors([ids[place] for place in places]).cpu().numpy()
        for _ in batch:
            read()
    return found


def train_head(
    rows: TopicSet, vectors: NDArray[np.float32], seed: int, shown: Set[int] = frozenset()
) -> TopicHead:
    """A head for one label set.

    Args:
        vectors: of the training rows, float32[rows, hidden].
        shown: places of the rows that the adapter was fitted to; none of them is held back.
    """
    labels = np.array([row.label for row in rows.train])
    texts = [row.text for row in rows.train]
    order = np.random.default_rng(seed).permutation(len(labels))
    new = [at for at in order.tolist() if at not in shown]
    held = np.array(new[: int(HELD_SHARE * len(order))], np.int64)
    rest = order[~np.isin(order, held)]
    chosen = Settings(RIDGE, 0, Stack(0.0, 1.0))
    if len(held) >= FEWEST:
        chosen = _choose(texts, labels, vectors, held, rest, len(rows.labels), seed)
    weight, bias = fit_linear(vectors, labels, len(rows.labels), chosen.ridge)
    table = None
    if chosen.passes:
        table = _table(texts, labels, len(rows.labels), chosen.passes, seed)
    return TopicHead(rows.labels, weight, bias, chosen.stack, table)


def _choose(
    texts: Sequence[str],
    labels: NDArray[np.int64],
    vectors: NDArray[np.float32],
    held: NDArray[np.int64],
    rest: NDArray[np.int64],
    count: int,
    seed: int,
) -> Settings:
    """The settings with the least log-loss on `held`, of heads and experts fitted on `rest`."""
    linear = {}
    for ridge in RIDGES:
        weight, bias = fit_linear(vectors[rest], labels[rest], count, ridge)
        linear[ridge] = vectors[held] @ weight.T + bias
    experts = {}
    for passes in PASSES:
        table = _table([texts[at] for at in rest], labels[rest], count, passes, seed)
        experts[passes] = table.read([texts[at] for at in held])
    best = (np.inf, Settings(RIDGE, 0, Stack(0.0, 1.0)))
    for (ridge, own), (passes, (said, grams)), stack in itertools.product(
        linear.items(), experts.items(), candidates(WEIGHTS, TEMPERATURES)
    ):
        shares = softmax(np.float32(stack.temperature) * (own + stack.trust(grams) * said))
        loss = float(-np.mean(np.log(shares[np.arange(len(held)), labels[held]] + 1e-9)))
        if loss < best[0]:
            best = (loss, Settings(ridge, passes if stack.weight else 0, stack))
    return best[1]


def fit_linear(
    vectors: NDArray[np.float32], labels: NDArray[np.int64], count: int, ridge: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Multinomial logistic regression by L-BFGS: weight float32[count, hidden], bias [count].

    The loss is the mean cross-entropy + ridge / 2 · ‖W‖² with W on standardised vectors.
    """
    import torch

    mean, spread = vectors.mean(0), vectors.std(0)
    spread[spread <= UNUSED * np.median(spread)] = np.inf
    inputs, right = torch.from_numpy((vectors - mean) / spread), torch.from_numpy(labels)
    layer = torch.nn.Linear(vectors.shape[1], count)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.LBFGS(layer.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        found = torch.nn.functional.cross_entropy(layer(inputs), right)
        found = found + ridge / 2 * layer.weight.square().sum()
        found.backward()  # type: ignore[no-untyped-call]
        return found

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    # The scaling goes into the layer, so that serving sees one kind of head.
    weight: NDArray[np.float32] = layer.weight.detach().numpy() / spread
    bias: NDArray[np.float32] = layer.bias.detach().numpy() - weight @ mean
    return weight, bias


def _table(
    texts: Sequence[str], labels: NDArray[np.int64], count: int, passes: int, seed: int
) -> NGrams:
    mask = np.zeros((len(texts), count), np.float32)
    return train_table(texts, labels, mask, seed, int(TABLE_BYTES / (count / 2 + 1.3)), passes)


def _scores(rows: TopicSet, shares: NDArray[np.float32]) -> Scores:
    truth = np.array([row.label for row in rows.test])
    return score_labels(truth, shares.argmax(axis=1), list(enumerate(rows.labels)))


def _expert_alone(rows: TopicSet, table: NGrams | None) -> Scores | None:
    if table is None:
        return None
    return _scores(rows, table.logits([row.text for row in rows.test]))
