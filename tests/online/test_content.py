"""Content: what texts and tags say, kept while items come, change and go."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from online.content import NEAREST
from online.content_axes import Axes
from online.content_items import ItemContent
from online.content_terms import BITS, BUCKETS, MOST_TAGS, MOST_WORDS, terms_of, words_of
from online.learner import Learner, events_in
from online.prequential_metrics import clustered_error, gains

WORDS = [f"word{n}" for n in range(300)]
D = 24


def described(n: int, seed: int = 0, first: int = 0) -> ItemContent:
    """Items of themes: words and embeddings of one theme are alike."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(12, D))
    themes = rng.integers(12, size=n)
    terms = [
        terms_of(" ".join(rng.choice(WORDS[25 * t : 25 * t + 25], 6)), [f"level={rng.integers(3)}"])
        for t in themes
    ]
    embeddings = centres[themes] + 0.7 * rng.normal(size=(n, D))
    return ItemContent([f"i{first + k}" for k in range(n)], terms, embeddings.astype(np.float32))


def nearest(learner: Learner, item: str) -> list[str]:
    """The item's posting list."""
    shared = learner._shared
    row = shared.model.content.near[shared.items.find(item)]
    return [shared.items.name(slot) for slot in row[row >= 0].tolist()]


def by_hand(content: ItemContent, axes: bool = True) -> np.ndarray:
    """All similarities, from the formulas; the diagonal is left out."""
    counts = np.zeros((len(content.ids), BUCKETS), np.float32)
    for at, terms in enumerate(content.terms):
        counts[at, terms & (BUCKETS - 1)] = terms >> BITS
    used = counts.any(axis=0)
    counts = counts[:, used]
    df = (counts > 0).sum(axis=0)
    idf = np.where(df > 1, np.log((1 + len(counts)) / (1 + df)) + 1, 0)
    x = np.where(counts > 0, 1 + np.log(np.maximum(counts, 1)), 0) * idf
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    similar = 0.5 * x @ x.T
    if axes and content.embeddings is not None:
        made = Axes(content.embeddings.shape[1])
        latin = np.zeros(len(content.ids), np.uint8)
        made.add(content.embeddings, latin)
        made.fit()
        z = made.project(content.embeddings, latin)
        z /= np.linalg.norm(z, axis=1, keepdims=True)
        similar += 0.5 * z @ z.T
    np.fill_diagonal(similar, 0)
    return np.asarray(similar)


def agreement(learner: Learner, content: ItemContent, similar: np.ndarray) -> float:
    """Of the posting lists' entries, how many stand in the lists by hand."""
    found = []
    for at, item in enumerate(content.ids):
        best = np.argsort(-similar[at], kind="stable")[:NEAREST]
        wanted = {content.ids[j] for j in best if similar[at, j] > 0}
        found.append(len(wanted & set(nearest(learner, item))) / len(wanted))
    return float(np.mean(found))


def test_words_are_lower_case_and_characters_go_in_pairs_where_there_are_no_spaces() -> None:
    assert words_of("Deep-Learning with C++, 2nd") == ["deep", "learning", "with", "c++", "2nd"]
    assert words_of("机器学习 AI") == ["机器", "器学", "学习", "ai"]
    assert words_of("") == []


def test_terms_are_few_whatever_the_text() -> None:
    assert len(terms_of("", [])) == 0
    long = " ".join(f"w{n}" for n in range(50_000))
    terms = terms_of(long, [f"t={n}" for n in range(5_000)])
    assert len(terms) <= MOST_WORDS + MOST_TAGS
    (again,) = terms_of("same same same", [])
    assert again >> BITS == 3
    assert len(terms_of("\ud800 broken", ["\ud800"])) == 2


def test_lists_are_those_of_the_formulas(make_learner: Any) -> None:
    content, learner = described(400), make_learner()
    learner.put_content(content)
    assert agreement(learner, content, by_hand(content)) > 0.97


@pytest.mark.parametrize("compared", ["both", "tfidf", "raw", "whitened", "half-whitened"])
def test_items_that_come_one_by_one_find_the_same_neighbours(
    make_learner: Any, compared: str
) -> None:
    content = described(900)
    at_once, in_turn = (make_learner(compared=compared) for _ in range(2))
    at_once.put_content(content)
    for at in range(0, 900, 7):
        in_turn.put_content(content.some(np.arange(at, min(at + 7, 900))))
    same = [
        len(set(nearest(at_once, item)) & set(nearest(in_turn, item))) / NEAREST
        for item in content.ids
    ]
    assert np.mean(same) > 0.9


def test_nothing_is_near_where_nothing_is_compared(make_learner: Any) -> None:
    learner = make_learner(compared="none")
    learner.put_content(described(50))
    assert nearest(learner, "i3") == []


def test_a_changed_text_moves_the_item_both_ways(make_learner: Any) -> None:
    content, learner = described(300), make_learner()
    learner.put_content(content)
    other = next(i for i in content.ids if i not in nearest(learner, "i0") and i != "i0")
    assert content.embeddings is not None
    twin = content.ids.index(other)
    said = ItemContent(["i0"], [content.terms[twin]], content.embeddings[[twin]])
    before = set(nearest(learner, "i0"))
    for _ in range(1_000):
        learner.put_content(said)
    assert nearest(learner, "i0")[0] == other
    assert nearest(learner, other)[0] == "i0"
    assert sum("i0" in nearest(learner, item) for item in before) < len(before)
    everywhere = learner._shared.model.content.near
    assert all(len(set(row[row >= 0])) == np.count_nonzero(row >= 0) for row in everywhere)


def test_an_item_that_says_nothing_any_more_leaves_all_lists(make_learner: Any) -> None:
    content, learner = described(100), make_learner()
    learner.put_content(content)
    learner.put_content(ItemContent(["i5"], [terms_of("", [])], np.zeros((1, D), np.float32)))
    assert nearest(learner, "i5") == []
    assert not any("i5" in nearest(learner, item) for item in content.ids)
    learner.put_content(content.some(np.array([5])))
    assert len(nearest(learner, "i5")) > NEAREST // 2


def test_embeddings_of_another_width_or_not_finite_are_refused(make_learner: Any) -> None:
    learner = make_learner()
    learner.put_content(described(10))
    terms = [terms_of("word", [])]
    with pytest.raises(ValueError, match="7 wide, others 24"):
        learner.put_content(ItemContent(["x"], terms, np.ones((1, 7), np.float32)))
    with pytest.raises(ValueError, match="not finite"):
        learner.put_content(ItemContent(["x"], terms, np.full((1, D), np.nan, np.float32)))
    learner.put_content(ItemContent(["x"], terms, None))


@pytest.mark.parametrize("scan_up_to", [0, 100_000])
def test_a_new_item_is_listed_at_once_for_who_took_its_neighbours(
    make_learner: Any, stream: Any, scan_up_to: int
) -> None:
    learner = make_learner(scan_up_to=scan_up_to)
    content = described(150)
    learner.put_content(content)
    stream.learn(learner)
    assert content.embeddings is not None
    mine = stream.items[max(np.flatnonzero(stream.of("u3")))]
    twin = content.ids.index(mine)
    new = ItemContent(["new"], [content.terms[twin]], content.embeddings[[twin]])
    learner.put_content(new, listed=False)
    assert "new" not in learner.top_k("u3", 150).items
    learner.put_content(new)
    assert "new" in learner.top_k("u3", 20).items
    assert "new" not in learner.popular(200).items
    learner.put_item("new", [], available=False)
    assert "new" not in learner.top_k("u3", 150).items


@pytest.mark.parametrize("scan_up_to", [0, 100_000])
def test_items_are_similar_by_what_they_say_until_users_have_said_more(
    make_learner: Any, learn: Any, scan_up_to: int
) -> None:
    learner = make_learner(scan_up_to=scan_up_to)
    content = described(60)
    learner.put_content(content)
    first, second = nearest(learner, "i0")[:2]
    assert learner.similar("i0", 2).items == [first, second]
    far = next(item for item in content.ids[1:] if item not in nearest(learner, "i0"))
    for user in range(40):
        learn(learner, f"u{user} i0", f"u{user} {far}")
    assert learner.similar("i0", 2).items == [far, first]
    learner.put_item(first, [], available=False)
    assert learner.similar("i0", 2).items == [far, second]


@pytest.mark.parametrize("scan_up_to", [0, 100_000])
def test_one_at_a_time_equals_many_with_content(
    make_learner: Any, stream: Any, scan_up_to: int
) -> None:
    one, many = (make_learner(scan_up_to=scan_up_to) for _ in range(2))
    for learner in (one, many):
        learner.put_content(described(150))
    np.testing.assert_array_equal(stream.learn(one, 1).ranks, stream.learn(many).ranks)
    assert one.top_k("u7", 20).items == many.top_k("u7", 20).items


def test_lists_of_candidates_agree_with_the_scan_with_content(
    make_learner: Any, new_stream: Any, agreement: Any
) -> None:
    learner = make_learner(scan_up_to=100_000)
    learner.put_content(described(400))
    new_stream(6_000, users=100, items=400).learn(learner)
    assert agreement(learner, users=100) >= 0.97


def test_texts_that_say_nothing_cost_less_than_a_standard_error(
    make_learner: Any, new_stream: Any
) -> None:
    stream = new_stream(12_000, users=150, items=600)
    noise = described(600)._replace(
        terms=[
            terms_of(" ".join(np.random.default_rng(n).choice(WORDS, 6)), []) for n in range(600)
        ],
        embeddings=np.random.default_rng(6).normal(size=(600, D)).astype(np.float32),
    )
    found = []
    # Themes that have nothing to do with the stream; no themes at all.
    for content in (None, described(600, seed=5), noise):
        learner = make_learner(scan_up_to=0)
        if content is not None:
            learner.put_content(content, listed=False)
        ranks = stream.learn(learner).ranks[6_000:]
        users = np.unique(stream.users[6_000:], return_inverse=True)[1][ranks > 0]
        values = gains(ranks[ranks > 0])
        found.append((values.mean(), clustered_error(values, users.astype(np.int32))))
    (without, error), *others = found
    assert all(ndcg > without - error for ndcg, _ in others), found


def test_the_weights_of_content_are_part_of_the_shared_state(
    make_learner: Any, stream: Any
) -> None:
    learner, again, old = (make_learner() for _ in range(3))
    learner.put_content(described(150))
    stream.learn(learner)
    state = learner.shared_state()
    again.load_shared(state)
    theirs = learner._shared.model.content.weights
    np.testing.assert_array_equal(again._shared.model.content.weights, theirs)
    before = old._shared.model.content.weights.copy()
    assert not np.array_equal(before, theirs)
    old.load_shared({name: each for name, each in state.items() if "content" not in name})
    np.testing.assert_array_equal(old._shared.model.content.weights, before)
    assert state["blend.weights"].shape == (6, 9)  # as checkpoints without content have it


def test_an_item_s_content_takes_no_more_than_600_bytes(make_learner: Any) -> None:
    learner = make_learner(max_items=5_000)
    rng = np.random.default_rng(1)
    n = 4_096
    terms = [
        terms_of(" ".join(rng.choice(WORDS, 8)), [f"t={t}" for t in range(10)]) for _ in range(n)
    ]
    learner.put_content(ItemContent([f"i{k}" for k in range(n)], terms, None))
    shared = learner._shared
    c = shared.model.content
    embedded = 128 * shared.room
    lists = c.near.nbytes + c.cosine.nbytes + c.total.nbytes + c.listed.nbytes
    assert shared.room == n
    assert (shared.content.nbytes + embedded + lists) / n <= 600


def test_events_count_what_was_learned_with_content(make_learner: Any, stream: Any) -> None:
    learner = make_learner()
    learner.put_content(described(150))
    stream.learn(learner)
    assert events_in(learner.partition_state(0)) == len(stream.users) == learner.events_learned()


def test_a_list_says_near_what_an_item_is_that_few_took(make_learner: Any, learn: Any) -> None:
    learner = make_learner()
    content = described(60)
    learner.put_content(content)
    near = nearest(learner, "i0")
    learn(learner, *(f"crowd{n} {near[1]}" for n in range(25)), "u i0")
    top = learner.top_k("u", 60)
    led = dict(top.near)
    assert led[top.items.index(near[0])] == "i0"
    assert top.items.index(near[1]) not in led  # behaviour says enough
    assert learner.top_k("nobody", 20).near == ()
