"""What a text ranker is measured against: the vectors that items have without one, the same users.

As the learner compares items: TF-IDF of words and tags, the frozen trunk's half-whitened
embeddings, and the sum of both cosines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from online.content_axes import Axes
from online.content_terms import BITS, BUCKETS, SCRIPTS

if TYPE_CHECKING:
    from online.arrays import F32, U8
    from online.content_items import ItemContent

SHARED = 2  # items that share a term, or it says nothing


def half_whitened(embeddings: F32, scripts: U8 | None) -> F32:
    """Unit vectors float32[items, 128] of unit embeddings float32[items, d]."""
    of = np.zeros(len(embeddings), np.uint8) if scripts is None else scripts
    assert of.max(initial=0) < SCRIPTS
    axes = Axes(embeddings.shape[1])
    axes.add(embeddings, of)
    axes.fit()
    found = axes.project(embeddings, of)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    unit: F32 = (found / np.maximum(lengths, 1e-9)).astype(np.float32)
    return unit


def tfidf(content: ItemContent) -> Any:
    """Unit rows of (1 + log count) · idf, a scipy matrix float32[items, buckets]."""
    from scipy.sparse import csr_matrix, diags

    lengths = [len(each) for each in content.terms]
    terms = np.concatenate([np.zeros(0, np.int32), *content.terms])
    bucket, count = terms & (BUCKETS - 1), terms >> BITS
    df = np.bincount(bucket, minlength=BUCKETS)
    idf = np.where(df >= SHARED, np.log((1 + len(lengths)) / (1 + df)) + 1, 0)
    values = ((1 + np.log(np.maximum(count, 1))) * idf[bucket]).astype(np.float32)
    rows = np.repeat(np.arange(len(lengths)), lengths)
    found = csr_matrix((values, (rows, bucket)), (len(lengths), BUCKETS))
    norms = np.sqrt(np.asarray(found.multiply(found).sum(1)).ravel())
    return diags((1 / np.maximum(norms, 1e-9)).astype(np.float32)) @ found
