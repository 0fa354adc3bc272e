"""A course in Chinese and the same course in English are near each other."""

from __future__ import annotations

import asyncio

import numpy as np

from online.content_items import ItemContent
from online.content_terms import script_of, terms_of
from online.learner import Learner
from streams.embedding_client import EmbeddingClient
from streams.simulate_catalogue import STAGES, make_catalogue

TWINS, NEAR = 200, 10


async def embedded(url: str, titles: list[str]) -> np.ndarray:
    client = EmbeddingClient(url)
    await client.start()
    found = [
        (await client.embed(titles[at : at + 50], urgent=True)).vectors
        for at in range(0, len(titles), 50)
    ]
    await client.stop()
    return np.concatenate(found)


def test_twins_in_two_languages_are_among_the_nearest(server_url: str) -> None:
    courses = make_catalogue(TWINS, "t", 1_760_000_000.0, seed=0)
    stages = [STAGES[n % len(STAGES)] for n in range(TWINS)]
    zh = [course.zh + stage[0] for course, stage in zip(courses, stages, strict=True)]
    en = [f"{course.en}: {stage[1]}" for course, stage in zip(courses, stages, strict=True)]
    titles = zh + en
    vectors = asyncio.run(embedded(server_url, titles))
    learner = Learner()
    names = [f"{language}-{n}" for language in ("zh", "en") for n in range(TWINS)]
    terms = [terms_of(title, []) for title in titles]
    scripts = np.array([script_of(title) for title in titles], np.uint8)
    learner.put_content(ItemContent(names, terms, vectors, scripts))
    found = [
        f"{other}-{n}" in learner.similar(f"{one}-{n}", NEAR).items
        for one, other in (("zh", "en"), ("en", "zh"))
        for n in range(TWINS)
    ]
    print(f"the twin is among the {NEAR} nearest for {np.mean(found):.3f}")
    assert np.mean(found) >= 0.8
