"""The text ranker: its loss, what it learns on a small trunk, and how it serves."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from models import registry, resuming, versions
from models.classifier import Classifier
from models.encoder import load_trunk
from models.errors import ArtifactError
from models.metrics import ClassifierMetrics
from models.service import Service
from models.session import Session
from models.text_ranker import artifact, start
from models.text_ranker.evaluation import Quality, quality, ranks_of
from models.text_ranker.losses import corrected_softmax, log_expected
from models.text_ranker.pairs import Pairs, pairs_of, weights
from models.text_ranker.plan import Plan
from models.text_ranker.tower import ItemTower, as_numpy
from models.text_ranker.training import seldom, train
from models.waiting import Ask
from tests.models.small import ROWS, WORDS, written

# Who takes a lesson of one word takes the others of its theme: nothing in the words says so.
THEMES = list(zip(WORDS[2], WORDS[0], strict=True))
TEXTS = [f"Lesson {n} was {word}" for theme in THEMES for n in range(30) for word in theme]
EACH = len(TEXTS) // len(THEMES)
PLAN = Plan(
    layers=2, width=16, passes=4, texts=64, pairs=512, rate=5e-3, projection_rate=3e-3, hard=4,
    thinning=0.0,
)  # fmt: skip


def taken() -> tuple[Pairs, Pairs]:
    """Users of one theme's both words; then such as met its first one, and take its second one.

    What they take training has never met: each word's last six lessons.
    """
    rng = np.random.default_rng(0)
    users, items = [], []
    for user in range(160):
        lessons = np.arange(user % len(THEMES) * EACH, (user % len(THEMES) + 1) * EACH)
        if user < 120:
            took = rng.permutation(lessons[: EACH - 12])[:6]
        else:
            took = [
                *rng.permutation(lessons[: EACH - 12 : 2])[:3],
                rng.permutation(lessons[-11::2])[0],
            ]
        users += [user] * len(took)
        items += [*took]
    pairs = pairs_of(users, items)
    later = pairs.between(120 * 6, len(users))
    training = pairs.between(0, 120 * 6)
    known = np.union1d(training.target, training.histories())
    return training, later.some(~np.isin(later.target, known))


def trained(trunk: Path, folder: Path, stop_after: int = 0) -> ItemTower:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tower = ItemTower(trunk, TEXTS, PLAN.layers, PLAN.width, PLAN.tokens)

    def progress(done: int, steps: int, loss: float, latest: Quality) -> None:
        if stop_after and done > stop_after * steps // PLAN.passes:
            raise KeyboardInterrupt

    train(tower, *taken(), PLAN, folder, "test", progress)
    return tower


@pytest.fixture(scope="module")
def tower(small_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> ItemTower:
    return trained(small_trunk, tmp_path_factory.mktemp("run"))


def saved(tower: ItemTower, trunk: Path, folder: Path) -> artifact.Manifest:
    manifest = artifact.Manifest(
        trunk=trunk.name, adapter=None, plan=PLAN, items=len(TEXTS), pairs=1, trained_until=1.0,
        seen_until=2.0, best=1, passes=1, train_seconds=0.0, validation={}, report={}, sha256={},
    )  # fmt: skip
    return artifact.save(folder, tower, manifest)


def test_a_pair_is_what_was_met_before_in_the_order_of_time() -> None:
    pairs = pairs_of([0, 1, 0, 0, 1], [5, 6, 7, 8, 9])
    assert pairs.target.tolist() == [7, 8, 9]
    assert pairs.event.tolist() == [2, 3, 4]
    assert pairs.histories(2).tolist() == [[5, -1], [7, 5], [6, -1]]
    np.testing.assert_allclose(weights(pairs.histories(2)), [[1, 0], [1, 0.8], [1, 0]])
    later = pairs.between(3, 5)
    assert (later.target.tolist(), later.histories(1).tolist()) == ([8, 9], [[7], [6]])


def test_the_loss_is_the_corrected_softmax() -> None:
    scores = torch.tensor([[2.0, 1.0, 0.5], [0.0, 3.0, 1.0]])
    log_q = log_expected(torch.tensor([0.5, 0.1, 0.01]), 4)
    np.testing.assert_allclose(log_q.exp(), [1.0, 0.4, 0.04], rtol=1e-6)  # once is the most
    own = torch.tensor(
        [[True, False, True], [False, False, False]]
    )  # the target itself does not go
    target, hard = torch.tensor([0, 1]), torch.tensor([[1.5], [-torch.inf]])
    for strength in (0.0, 1.0):
        s = (scores - strength * log_q).exp()
        first = s[0, 0] / (s[0, 0] + s[0, 1] + np.exp(1.5))
        expected = -(first.log() + (s[1, 1] / s[1].sum()).log()) / 2
        found = corrected_softmax(scores, log_q, target, own, hard, strength)
        assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_with_the_correction_scores_learn_popularity_and_without_it_they_leave_it_out() -> None:
    """One user, whose candidates are drawn as often as they are taken: s → log p, or a constant."""
    torch.manual_seed(0)
    share, many = torch.tensor([0.7, 0.2, 0.1]), 128
    not_his, none = torch.zeros(many, many, dtype=torch.bool), torch.zeros(many, 0)
    for strength, expected in ((1.0, share.log()), (0.0, torch.zeros(3))):
        scores = torch.zeros(3, requires_grad=True)
        optimiser = torch.optim.Adam([scores], lr=0.05)
        for _ in range(120):
            drawn = torch.multinomial(share, many, replacement=True)
            logits, log_q = scores[drawn].expand(many, many), share[drawn].log()
            own = torch.arange(many)
            loss = corrected_softmax(logits, log_q, own, not_his, none, strength)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        found = scores.detach()
        np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=0.3)


def test_a_rank_counts_ties_against_us_and_leaves_out_what_the_user_has() -> None:
    vectors = np.array([[1, 0], [1, 0], [0.9, 0.1], [0, 1]], np.float32)
    pairs = pairs_of([0, 0], [0, 2])
    assert ranks_of(vectors, pairs).tolist() == [2]  # 1 is nearer, 0 he has
    assert ranks_of(vectors, pairs_of([0, 0], [0, 1])).tolist() == [1]
    assert ranks_of(np.ones((4, 2), np.float32), pairs).tolist() == [3]
    assert ranks_of(np.full((4, 2), np.nan, np.float32), pairs).tolist() == [4]
    assert quality(np.array([1, 51]))[:3] == (2, 0.5, 0.5)


def test_the_start_is_the_half_whitening_turned_to_what_is_taken_together() -> None:
    rng = np.random.default_rng(0)
    kind = rng.integers(4, size=400)  # told by directions that hardly vary
    means = np.hstack([rng.normal(size=(400, 12)), 0.05 * np.eye(4)[kind]]).astype(np.float32)
    plain = start.half_whitened(means, 8)
    spread = means @ plain.weight.T + plain.bias
    np.testing.assert_allclose(spread.mean(0), 0, atol=1e-6)
    axes = np.linalg.eigvalsh(np.cov(means.T))[-8:] ** 0.5
    np.testing.assert_allclose(np.var(spread, axis=0) / axes, np.var(spread[:, 0]) / axes[0], 0.01)
    known, new = (np.flatnonzero(np.arange(400) % 2 == n) for n in (0, 1))
    users = [rng.permutation(known[kind[known] == n % 4])[:5] for n in range(300)]
    training = pairs_of(np.repeat(np.arange(300), 5), np.concatenate(users))
    later = [(users[n][0], rng.choice(new[kind[new] == n % 4])) for n in range(200)]
    test = pairs_of(np.repeat(np.arange(200), 2), np.concatenate(later))
    before, after = (
        quality(ranks_of((means @ each.weight.T + each.bias).astype(np.float32), test)).recall50
        for each in (plain, start.turned(means, training, 8))
    )
    assert after > 0.3 > before


def test_it_learns_what_the_texts_of_the_next_items_have_in_common(
    tower: ItemTower, small_trunk: Path
) -> None:
    training, later = taken()
    assert len(seldom(later, training)) == len(later) >= 40
    fresh = ItemTower(small_trunk, TEXTS, PLAN.layers, PLAN.width, PLAN.tokens)
    before, after = (quality(ranks_of(as_numpy(each.all()), later)) for each in (fresh, tower))
    assert after.recall50 > 0.7 > 2 * before.recall50


def test_a_training_that_was_interrupted_goes_on_as_if_it_had_not_been(
    tower: ItemTower, small_trunk: Path, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        trained(small_trunk, tmp_path, stop_after=2)
    assert (tmp_path / resuming.FILE).is_file()
    again = trained(small_trunk, tmp_path)
    np.testing.assert_allclose(as_numpy(again.all()), as_numpy(tower.all()), atol=1e-5)


def test_the_trunk_stays_bit_for_bit_and_embeds_as_before(
    tower: ItemTower, small_trunk: Path, tmp_path: Path
) -> None:
    untouched = dict(load_trunk(small_trunk).named_parameters())
    found = {
        name.replace(".base_layer", ""): each
        for name, each in tower.trunk.named_parameters() if "lora" not in name
    }  # fmt: skip
    assert found.keys() == untouched.keys()
    assert all(torch.equal(each, untouched[name]) for name, each in found.items())


@pytest.fixture
def sentiment(small_trunk: Path, tmp_path: Path) -> Path:
    session = Session(small_trunk, ROWS, "head")
    return written(session, small_trunk, tmp_path / "sentiment")


def test_it_serves_beside_the_trunk_whose_embeddings_stay(
    tower: ItemTower, small_trunk: Path, sentiment: Path, tmp_path: Path
) -> None:
    manifest = saved(tower, small_trunk, tmp_path / "ranker")
    plain, ranked = (
        Classifier(small_trunk, sentiment, device="cpu", dtype="float32", text_ranker=ranker)
        for ranker in (None, tmp_path / "ranker")
    )
    rows = plain.prepare_embedding(TEXTS[:64])
    assert np.array_equal(plain.embed(rows), ranked.embed(rows))
    assert np.array_equal(plain.embed(rows), plain.embed_items(rows))
    assert (plain.items_version, ranked.embedding_version) == (plain.embedding_version,) * 2
    assert ranked.items_version == manifest.version
    cosines = (ranked.embed_items(rows) * as_numpy(tower.all())[:64]).sum(1)
    assert cosines.min() > 0.99  # the adapter is in eight bits


def test_a_running_server_takes_a_promoted_ranker_over_and_refuses_an_altered_one(
    tower: ItemTower, small_trunk: Path, sentiment: Path, tmp_path: Path
) -> None:
    kept, plain, altered = (tmp_path / name for name in ("versions", "plain", "altered"))
    first = versions.promote(kept, str(saved(tower, small_trunk, plain) and plain))
    with torch.no_grad():
        tower.projection.bias += 0.1
        other = saved(tower, small_trunk, altered)
        tower.projection.bias -= 0.1

    def make(folder: Path | None) -> Classifier:
        return Classifier(small_trunk, folder, device="cpu", dtype="float32", text_ranker=kept)

    async def served() -> None:
        service = Service(ClassifierMetrics())
        await service.load(make, sentiment, kept)
        batcher = service.batcher
        assert batcher is not None
        before = await batcher.embed(TEXTS[:1], Ask(items=True))
        assert before.model.items_version == first
        versions.promote(kept, str(altered))
        after = before
        for _ in range(1_000):
            if (after := await batcher.embed(TEXTS[:1], Ask(items=True))).model is not before.model:
                break
            await asyncio.sleep(0.02)
        assert after.model.items_version == other.version
        assert after.model.model_version == before.model.model_version
        assert not np.allclose(after.items[0], before.items[0], atol=1e-3)
        (kept / first / registry.HEADS).write_bytes(b"altered")
        pointer = msgspec.structs.replace(versions.read_pointer(kept), current=first)
        (kept / versions.POINTER).write_bytes(msgspec.json.encode(pointer))
        for _ in range(1_000):
            if failed := service.metrics.swaps.labels("failed")._value.get():
                break
            await asyncio.sleep(0.02)
        assert failed == 1
        still = await batcher.embed(TEXTS[:1], Ask(items=True))
        assert still.model.items_version == other.version
        await service.stop()

    asyncio.run(served())


def test_an_artifact_that_is_none_or_of_another_trunk_is_refused(
    tower: ItemTower, small_trunk: Path, sentiment: Path, tmp_path: Path
) -> None:
    ranker = tmp_path / "ranker"
    manifest = saved(tower, small_trunk, ranker)
    assert sum(file.stat().st_size for file in ranker.iterdir()) < 3_000_000
    versions.promote(tmp_path / "versions", str(ranker))
    assert versions.resolved(tmp_path / "versions").name == manifest.version
    with pytest.raises(ArtifactError, match="cannot be read"):
        artifact.read_manifest(sentiment)
    with pytest.raises(ArtifactError, match="cannot be read"):
        Classifier(small_trunk, ranker, device="cpu")
    other = msgspec.structs.replace(manifest, trunk="another")
    registry.write_manifest(ranker, other)
    with pytest.raises(ArtifactError, match="train text-ranker"):
        Classifier(small_trunk, sentiment, device="cpu", text_ranker=ranker)
    (ranker / registry.HEADS).write_bytes(b"altered")
    with pytest.raises(ArtifactError, match="altered"):
        artifact.read_manifest(ranker)
