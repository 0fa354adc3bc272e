"""Topic heads: their training, their place in an artifact, and what the packaged ones know."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from infra.settings import UserError
from models import registry, versions
from models.card import CARD
from models.classifier import Classifier
from models.data import Comment
from models.errors import ArtifactError, DataError
from models.predictions import CANARIES
from models.session import Session
from models.topic_data import TOPIC_SOURCES, TopicSet, load_topic_sets, read_topic_file
from models.topic_training import train_head, vectors_of
from models.topics import load_topics, save_topics
from streams.cli import load
from tests.models import small

MAIN = [sys.executable, "-c", "from streams.cli import main; main()"]
# The label set of a knowledge platform, two words that tell each topic, and what they stand in.
PLATFORM = {
    "技术文章": ("编程", "源码"),
    "商业分析": ("市场份额", "商业模式"),
    "产品评测": ("开箱", "手感"),
    "新闻资讯": ("记者", "今日报道"),
    "行业报告": ("白皮书", "年度统计"),
}
FRAMES = ("这一篇讲的是{}", "{}的第{n}个例子", "读完之后对{}有了新的认识", "为什么要关注{}")


def platform_rows(of_each: int) -> list[tuple[str, str]]:
    return [
        (FRAMES[n % 4].format(words[n % 2], n=n) + f"（{n}）", topic)
        for topic, words in PLATFORM.items()
        for n in range(of_each)
    ]


def written(path: Path, rows: list[tuple[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("text", "label"), *rows])
    return path


def clustered(of_each: int, seed: int = 0) -> tuple[TopicSet, np.ndarray]:
    """Vectors that lean a little towards their topic, and texts that name it every second time."""
    generator = np.random.default_rng(seed)
    labels = generator.permutation(np.repeat(np.arange(3), of_each))
    vectors = generator.normal(0, 1, (len(labels), 16)).astype(np.float32)
    vectors[np.arange(len(labels)), labels] += 1.5
    words = ("alpha", "beta", "gamma")
    rows = tuple(
        Comment(words[label] if n % 2 else "nothing", label)
        for n, label in enumerate(labels.tolist())
    )
    return TopicSet("own", words, rows, ()), vectors


def test_vectors_and_words_together_know_more_than_either() -> None:
    head = train_head(*clustered(700), seed=0)
    assert head.ngrams is not None
    rows, vectors = clustered(300, seed=1)
    texts = [row.text for row in rows.train]
    truth = np.array([row.label for row in rows.train])
    shares = head.shares(vectors, texts)

    def right(answers: np.ndarray) -> float:
        return float(np.mean(answers.argmax(axis=1) == truth))

    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-5)
    assert right(shares) > right(vectors @ head.weight.T + head.bias) + 0.05
    assert right(shares) > right(head.ngrams.logits(texts)) + 0.05


def test_few_rows_make_a_head_without_an_expert() -> None:
    rows, vectors = clustered(40)
    head = train_head(rows, vectors, seed=0)
    assert head.ngrams is None
    assert (
        np.mean(head.shares(vectors, [""] * 120).argmax(1) == [r.label for r in rows.train]) > 0.7
    )


def test_heads_come_back_as_they_were_saved_and_a_missing_one_is_named(
    tmp_path: Path, classifier: Classifier
) -> None:
    rows, vectors = clustered(500)
    head = train_head(rows, vectors, seed=0)
    save_topics(tmp_path, {"own": head})
    scores = registry.Scores(1, 1.0, 1.0)
    topic = registry.Topic(head.labels, 1, scores, stack=head.stack)
    manifest = msgspec.structs.replace(classifier.manifest, topics={"own": topic})
    again = load_topics(tmp_path, manifest)["own"]
    texts = [row.text for row in rows.train]
    np.testing.assert_allclose(again.shares(vectors, texts), head.shares(vectors, texts), atol=5e-3)
    other = msgspec.structs.replace(classifier.manifest, topics={"another": topic})
    with pytest.raises(ArtifactError, match="no head 'another'"):
        load_topics(tmp_path, other)


def test_topics_of_ones_own_join_the_sentiment_head(
    tmp_path: Path, trunk: Path, classifier: Classifier
) -> None:
    data, out = written(tmp_path / "platform.csv", platform_rows(40)), tmp_path / "model"
    arguments = ["--data", str(data), "--threads", "1", "--json"]
    trained = subprocess.run(
        [*MAIN, "train", "topic", *arguments, "--out", str(out)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    report = json.loads(trained.stdout)["topics"]["platform"]
    assert set(report["labels"]) == set(PLATFORM)
    assert report["scores"]["accuracy"] >= 0.9
    assert "platform" in (out / CARD).read_text(encoding="utf-8")

    measured = subprocess.run(
        [*MAIN, "evaluate", "topics", "--label", "label", "--model", str(out), *arguments],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert measured.returncode == 0, measured.stderr
    found = json.loads(measured.stdout)
    assert (found["head"], found["rows"]) == ("platform", 200)
    assert found["methods"]["springtide"]["accuracy"] >= 0.9
    assert set(found["methods"]["springtide"]["labels"]) == set(PLATFORM)

    both = Classifier(trunk, out, threads=1)
    assert [p.label for p in both.predict(CANARIES)] == [
        p.label for p in classifier.predict(CANARIES)
    ]
    assert set(load_topics(out, both.manifest)) == {"platform", *classifier.manifest.topics}
    head = load_topics(out, both.manifest)["platform"]
    texts = ["记者今日报道", "这款手机的开箱与手感"]
    likeliest = head.shares(vectors_of(both, texts), texts).argmax(axis=1)
    assert [head.labels[at] for at in likeliest] == ["新闻资讯", "产品评测"]


def test_a_folder_of_versions_stands_for_the_one_that_serves(
    tmp_path: Path, small_trunk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("models.trunk.trunk_folder", lambda cache: small_trunk)
    kept, out = tmp_path / "versions", tmp_path / "out"
    plain = small.written(Session(small_trunk, small.ROWS, "head"), small_trunk, tmp_path / "plain")
    version = versions.promote(kept, str(plain))
    labels = {0: "blame", 2: "praise"}
    data = written(tmp_path / "said.csv", [(row.text, labels[row.label]) for row in small.ROWS])
    arguments = ["--data", str(data), "--label", "label", "--model"]
    command = ["topic", *arguments, str(kept), "--out"]
    load("train").main(args=[*command, str(out)], standalone_mode=False)
    assert set(registry.read_manifest(out).topics) == {"said"}
    assert not (out / versions.POINTER).exists()
    versions.promote(kept, str(out))
    load("evaluate").main(args=["topics", *arguments, str(kept)], standalone_mode=False)
    with pytest.raises(UserError, match="train elsewhere"):
        load("train").main(args=[*command, str(kept)], standalone_mode=False)
    assert versions.roll_back(kept) == version


def test_what_cannot_be_trained_or_measured_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="1 topics"):
        read_topic_file(written(tmp_path / "a.csv", [("text", "same")] * 9), "label")
    with pytest.raises(DataError, match="none of the known sets"):
        load_topic_sets(tmp_path)
    rows = written(tmp_path / "b.csv", [("some text", "gardening"), ("more text", "cooking")])
    ended = subprocess.run(
        [*MAIN, "evaluate", "topics", "--data", str(rows), "--label", "label"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ended.returncode == 2
    assert "knows cooking, gardening" in ended.stderr
    assert ended.stderr.count("\n") == 1


@pytest.mark.data
def test_known_topic_sets_keep_their_splits(shared_dir: Path) -> None:
    sets = {each.name: each for each in load_topic_sets(shared_dir / "data")}
    assert set(sets) == set(TOPIC_SOURCES)
    chinese, english = sets["topic-zh-thucnews"], sets["topic-en-agnews"]
    assert (len(chinese.labels), len(chinese.test)) == (10, 10_000)
    assert len(english.labels) == 4
    assert 1_900 <= len(english.test) <= 2_100
    for each in sets.values():
        held_out = {row.text.casefold() for row in each.test}
        assert not held_out & {row.text.casefold() for row in each.train}
