"""Contrastive terms: the words of a spike's comments that other comments do not have.

Log-odds with an informative Dirichlet prior, the words of both corpora together (Monroe, Colaresi,
Quinn, "Fightin' Words", 2008), ordered by z. A word counts once a comment, by the probability that
the comment is negative. Words with spaces are words, and pairs of them that stand together; Chinese
has no spaces: pairs of its characters serve, without a dictionary.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from math import log, sqrt
from typing import NamedTuple

PRIOR_WORTH = 200.0  # words
FEWEST = 2.0  # comments with a term
MOST_CHARACTERS = 1_000  # of a comment
LONGEST_WORD = 40
_NOISE = re.compile(r"https?://\S+|[@#&]\S+")
_WORD = re.compile(r"[\u3400-\u9fff]+|[^\W\d_]+(?:['’][^\W\d_]+)?")
_HAN = re.compile(r"[\u3400-\u9fff]")
# Words that carry no subject, or only say that it is bad; the rest is the contrast's own work.
_EMPTY_WORDS = (
    "a about after all am an and any are as at be been but by can could did do does for from "
    "get got had has have he her him his i i'd i'll i'm i've if in into is it it's its just "
    "me my no not of on one or our out over she so than that that's the their them then there "
    "they this to too up us was we were what when which who will with would you your again "
    "complete completely even ever every how many more most much never now please really "
    "right same seriously since some still such these those two very where why awful bad "
    "disappointed disappointing disgusting fail fails failed horrible pathetic poor "
    "ridiculous suck sucks terrible unacceptable unbelievable worse worst can't don't won't 的 "
    "了 是 我 你 他 "
)
_EMPTY = frozenset(_EMPTY_WORDS.split())
_EMPTY_PAIRS = frozenset(
    ("我们", "你们", "他们", "这个", "那个", "一个", "不是", "就是", "还是", "没有", "什么")
)


class Term(NamedTuple):
    """A term, its z, and in how many comments of the spike it is (by their probabilities)."""

    term: str
    z: float
    comments: float


def terms_of(text: str) -> set[str]:
    """The different terms of a text: words, pairs of Chinese characters; lower case."""
    found: set[str] = set()
    for word in _WORD.findall(_NOISE.sub(" ", text[:MOST_CHARACTERS]).casefold()):
        if _HAN.match(word):
            found.update(word[i : i + 2] for i in range(len(word) - 1))
        elif 2 < len(word) <= LONGEST_WORD:
            found.add(word.replace("’", "'"))
    return found - _EMPTY - _EMPTY_PAIRS


def counted(comments: Iterable[tuple[str, float]]) -> Counter[str]:
    """In how many comments a term is; a comment counts by its weight."""
    counts: Counter[str] = Counter()
    for text, weight in comments:
        for term in terms_of(text):
            counts[term] += weight  # type: ignore[assignment]
    return counts


def contrastive(
    spike: Sequence[tuple[str, float]],
    others: Sequence[tuple[str, float]],
    n: int = 10,
    name: str = "",
) -> list[Term]:
    """At most `n` terms that tell the spike from other comments, the clearest first.

    Args:
        spike: texts, and the probabilities that they are negative.
        others: texts to tell them from, and their weights.
        name: of what the comments are about: its own words tell nothing.
    """
    inside, outside = counted(spike), counted(others)
    size, other_size = sum(inside.values()), sum(outside.values())
    total = max(size + other_size, 1e-9)
    found = []
    own = terms_of(name)
    for term, count in inside.items():
        if count < FEWEST or term in own:
            continue
        prior = PRIOR_WORTH * (count + outside[term]) / total
        ratio = log((count + prior) / (size + PRIOR_WORTH - count - prior + 1e-9))
        ratio -= log(
            (outside[term] + prior) / (other_size + PRIOR_WORTH - outside[term] - prior + 1e-9)
        )
        z = ratio / sqrt(1.0 / (count + prior) + 1.0 / (outside[term] + prior))
        if z > 0.0:
            found.append(Term(term, z, float(count)))
    found.sort(key=lambda each: (-each.z, each.term))
    return _without_doubles(found, n)


def _without_doubles(found: Sequence[Term], n: int) -> list[Term]:
    """Terms that are not a part of, or nearly the same as, one before them (delay, delayed)."""
    chosen: list[Term] = []
    for each in found:
        if len(chosen) == n:
            break
        if not any(_alike(each.term, other.term) for other in chosen):
            chosen.append(each)
    return chosen


def _alike(one: str, other: str) -> bool:
    shorter, longer = sorted((one, other), key=len)
    return len(shorter) > 3 and longer.startswith(shorter) and len(longer) - len(shorter) <= 3
