"""Every head that the manifest lists is served, from the pass that the sentiment head reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from models import registry, wire
from models.classifier import Classifier
from models.predictions import CANARIES
from models.registry import Scores, Topic
from models.topics import TopicHead, save_topics

LABELS = ("技术文章", "商业分析", "产品评测", "新闻资讯", "行业报告")


@pytest.fixture
def with_topics(trunk: Path, remade: Callable[[str], Path], classifier: Classifier) -> Classifier:
    """The packaged artifact with a head of five labels, which leans to the third."""
    folder = remade("t")
    manifest = registry.read_manifest(folder)
    generator = np.random.default_rng(0)
    weight = generator.normal(scale=0.01, size=(5, classifier.width)).astype(np.float32)
    bias = np.array([0, 0, 3, 0, 0], np.float32)
    save_topics(folder, {"articles": TopicHead(LABELS, weight, bias)})
    digests = manifest.sha256 | {registry.TOPICS: registry.sha256(folder / registry.TOPICS)}
    topics = {"articles": Topic(LABELS, 1, Scores(1, 1.0, 1.0))}
    registry.write_manifest(
        folder, msgspec.structs.replace(manifest, sha256=digests, topics=topics)
    )
    return Classifier(trunk, folder, threads=1)


def test_a_topic_head_answers_where_it_is_asked(with_topics: Classifier) -> None:
    asked = with_topics.predict([*CANARIES, "", None], topics=True)
    plain = with_topics.predict(CANARIES)
    for each, other in zip(asked, plain, strict=False):
        shares = each.topics["articles"]
        assert sum(shares) == pytest.approx(1, abs=1e-5)
        assert shares.index(max(shares)) == 2
        assert other.topics == {}
        assert each.label == other.label
    assert [each.topics for each in asked[-2:]] == [{}, {}], "nothing to read is about nothing"
    ranked = wire.as_topics(asked[0], "articles", LABELS)
    assert ranked[0]["label"] == LABELS[2]
    flagged = wire.as_topics(asked[-1], "articles", LABELS)
    assert all(entry["flagged"] and entry["score"] == pytest.approx(0.2) for entry in flagged)
