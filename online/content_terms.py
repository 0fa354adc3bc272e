"""Content terms: the words and tags of an item as numbers, so that TF-IDF needs no dictionary.

A term is hashed into one of 2^18 buckets (Weinberger et al., "Feature hashing", 0902.2206). Words
are runs of letters and digits; scripts without spaces give the pairs of their characters. A tag is
one term, whatever it holds.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from online.arrays import I32

BITS = 18
BUCKETS = 1 << BITS
MOST_COUNTED = 15  # repeats of a word; more say nothing
MOST_WORDS = 32
MOST_TAGS = 32
MOST_CHARACTERS = 2_000  # of a text
SCRIPTS = 8
LETTERS_OF_A_SCRIPT = 100  # looked at
_SCRIPT = {"CJK": 1, "HIRAGANA": 1, "KATAKANA": 1, "CYRILLIC": 2, "ARABIC": 3, "HANGUL": 4,
           "DEVANAGARI": 5, "THAI": 6, "LATIN": 0}  # fmt: skip
_OTHER = 7
_HEAVY = {1: 3, 4: 2}  # a letter of these says as much as so many of the others
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]+|[^\W_]+[+#]*")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def words_of(text: str) -> list[str]:
    """The words of a text in their order, lower case."""
    found: list[str] = []
    for word in _WORD.findall(text[:MOST_CHARACTERS].casefold()):
        if len(word) > 1 and _UNSPACED.match(word):
            found.extend(word[at : at + 2] for at in range(len(word) - 1))
        else:
            found.append(word)
    return found


def script_of(text: str) -> int:
    """What most of a text is written in, below SCRIPTS; 0 (Latin) where there is no letter."""
    weights = [0] * SCRIPTS
    for letter in filter(str.isalpha, text[:LETTERS_OF_A_SCRIPT]):
        script = 0
        if not letter.isascii():
            script = _SCRIPT.get(unicodedata.name(letter, " ").partition(" ")[0], _OTHER)
        weights[script] += _HEAVY.get(script, 1)
    return weights.index(max(weights))


def terms_of(text: str, tags: Sequence[str]) -> I32:
    """At most 32 different words and 32 tags, the first ones; int32[n], bucket | count << 18."""
    words = Counter(words_of(text))
    first = list(words)[:MOST_WORDS]
    counts: dict[int, int] = {}
    for bucket, count in (
        *((_bucket("w", word), words[word]) for word in first),
        *((_bucket("t", tag), 1) for tag in _different(tags)),
    ):
        counts[bucket] = min(MOST_COUNTED, counts.get(bucket, 0) + count)
    return np.array([bucket | count << BITS for bucket, count in counts.items()], np.int32)


def _different(tags: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(tags))[:MOST_TAGS]


def _bucket(kind: str, term: str) -> int:
    return zlib.crc32(f"{kind}{term}".encode("utf-8", "surrogatepass")) & (BUCKETS - 1)
