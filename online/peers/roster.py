"""The peers by name: their settings, and what they need.

Where a peer has a parameter that matters, it comes with the settings that were best on one or
another data set, and the contest reports the best of them; a file that nobody has seen gets the
same choice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from online.peers.als import FACTORS, Als, AlsFoldIn
from online.peers.bpr import Bpr
from online.peers.eals import Eals
from online.peers.ease import Ease, EaseFresh
from online.peers.isgd import Isgd
from online.peers.item_cosine import ItemCosine
from online.peers.markov import Markov
from online.peers.past import Peer
from online.peers.popularity import DecayedPopularity, Popularity
from online.popularity import HALF_LIVES
from online.prequential_stream import Stream


class Entry(NamedTuple):
    """A peer of the roster.

    Attributes:
        settings: makes every setting of it, by description.
        batch: it is trained with the libraries `implicit` or scipy.
        bytes: memory that it takes at its largest.
    """

    settings: Callable[[Stream], dict[str, Peer]]
    batch: bool = False
    bytes: Callable[[int, int], int] = lambda users, items: 4 * FACTORS * (users + items)


def _sizes(stream: Stream) -> tuple[int, int]:
    return len(stream.user_ids), len(stream.item_ids)


def _squares(count: int) -> Callable[[int, int], int]:
    return lambda users, items: 4 * count * items * items


ROSTER: dict[str, Entry] = {
    "popularity": Entry(lambda s: {"": Popularity()}),
    "decayed-popularity": Entry(
        lambda s: {
            f"half-life {life:g}": DecayedPopularity(len(s.item_ids), life)
            for life in HALF_LIVES.tolist()
        }
    ),
    "isgd": Entry(lambda s: {f"rate {r:g}": Isgd(*_sizes(s), r) for r in (0.03, 0.05)}),
    "eals": Entry(lambda s: {"w0 0.1, regularization 1": Eals(s)}),
    "item-cosine": Entry(lambda s: {"": ItemCosine(len(s.item_ids))}, bytes=_squares(1)),
    "markov": Entry(lambda s: {"": Markov(len(s.item_ids), len(s))}),
    "als": Entry(lambda s: {f"alpha {a:g}": Als(*_sizes(s), a) for a in (1.0, 20.0)}, batch=True),
    "als-fold-in": Entry(
        lambda s: {f"alpha {a:g}": AlsFoldIn(*_sizes(s), a) for a in (1.0, 20.0)}, batch=True
    ),
    "bpr": Entry(
        lambda s: {
            f"rate {rate:g}, {epochs} epochs": Bpr(*_sizes(s), rate, epochs=epochs)
            for rate, epochs in ((0.02, 40), (0.1, 100))
        },
        batch=True,
    ),
    "ease": Entry(
        lambda s: {f"lambda {x:g}": Ease(*_sizes(s), x) for x in (50.0, 300.0)},
        batch=True,
        bytes=_squares(6),
    ),
    "ease-fresh": Entry(
        lambda s: {f"lambda {x:g}": EaseFresh(*_sizes(s), x) for x in (50.0, 300.0)},
        batch=True,
        bytes=_squares(6),
    ),
}
