"""Runs the learner and its peers over a stream, one after the other, with progress and resume."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from infra.settings import UserError

if TYPE_CHECKING:
    from online.config import Compared
    from online.content_items import ItemContent
    from online.prequential import Evaluated, Method
    from online.prequential_stream import Stream
    from streams.lists_kept import Kept

LIBRARIES = ("implicit", "scipy", "threadpoolctl")


def chosen_peers(names: str) -> list[str]:
    """The peers to run, in the roster's order; popularity is always there.

    Raises:
        UserError: there is no such peer.
    """
    from online.peers.roster import ROSTER

    if names == "none":
        return ["popularity"]
    wanted = set(ROSTER) if names == "all" else {n.strip() for n in names.split(",")} - {""}
    unknown = sorted(wanted - set(ROSTER))
    if unknown:
        raise UserError(f"--peers {','.join(unknown)}: there are all, none, {', '.join(ROSTER)}")
    return [name for name in ROSTER if name in wanted | {"popularity"}]


def left_out(stream: Stream, peers: list[str], everything: bool) -> dict[str, str]:
    """Peers that this machine has no memory for, and why.

    Args:
        everything: they were not named one by one, so that they may be left out.

    Raises:
        UserError: a library is missing, or a peer that was named needs too much memory.
    """
    from online.peers.roster import ROSTER

    batch = [name for name in peers if ROSTER[name].batch]
    missing = [name for name in LIBRARIES if not importlib.util.find_spec(name)]
    if batch and missing:
        raise UserError(
            f"--peers {','.join(batch)}: needs {', '.join(missing)}; "
            "pip install 'springtide[evaluate]', or name other peers"
        )
    users, items = len(stream.user_ids), len(stream.item_ids)
    room = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    found = {}
    for name in peers:
        needed = ROSTER[name].bytes(users, items)
        if needed > room:
            found[name] = f"needs {needed / 1e9:.0f} GB for {items:,} items"
            if not everything:
                raise UserError(f"--peers {name}: {found[name]}; leave it out, or use --limit")
    return found


class Catalogue(NamedTuple):
    """What the learner is told of items.

    Attributes:
        items: what they say.
        at_start: they are published before the stream begins.
        compared: the learner runs once with each of these item vectors, first by its own name.
        ranked: the items with a text ranker's embeddings, for one more run; None: none.
    """

    items: ItemContent
    at_start: bool
    compared: list[Compared]
    ranked: ItemContent | None = None

    @property
    def variants(self) -> dict[str, tuple[Compared, ItemContent]]:
        """What the learner's other runs are told, by their names."""
        from online.prequential import VARIANT

        found = {f"{VARIANT}{each}": (each, self.items) for each in self.compared[1:]}
        if self.ranked is not None:
            found[f"{VARIANT}text-ranker"] = ("both", self.ranked)
        return found


def run(
    stream: Stream, peers: list[str], kept: Kept, catalogue: Catalogue | None = None
) -> dict[str, Evaluated]:
    """The learner, then the peers, each over the whole stream, with progress bars on stderr."""
    from online.prequential import evaluate
    from online.warm_up import warm_up

    names = ["springtide", *(catalogue.variants if catalogue else []), *peers]
    if done := [name for name in names if name in kept.finished]:
        print(f"going on from {kept.file}: {', '.join(done)} done", file=sys.stderr)
    with _one_thread(), _bars() as bars:
        tasks = {
            name: bars.add_task(name, total=len(stream), start=False)
            for name in names
            if name not in kept.finished
        }
        if "springtide" in tasks:
            warm_up()
        for name, task in tasks.items():
            bars.start_task(task)

            def advance(done: int, task: Any = task) -> None:
                bars.advance(task, done)

            try:
                method = _method(name, stream, catalogue)
                kept.add(name, evaluate(stream, method, advance))
            except KeyboardInterrupt:
                print(f"the same command goes on after {list(kept.finished)}", file=sys.stderr)
                raise
    return {name: kept.finished[name] for name in names}


def _method(name: str, stream: Stream, catalogue: Catalogue | None) -> Method:
    from online.config import LearnerConfig
    from online.peers.contest import Contest
    from online.peers.roster import ROSTER
    from online.prequential import Springtide
    from online.prequential_items import Publisher

    if name in ROSTER:
        return Contest(stream, ROSTER[name].settings(stream))
    if catalogue is None:
        return Springtide(stream)
    compared, items = catalogue.variants.get(name, (catalogue.compared[0], catalogue.items))
    publisher = Publisher(stream, items, catalogue.at_start)
    return Springtide(stream, LearnerConfig(compared=compared), publisher)


@contextlib.contextmanager
def one_bar(name: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress bar on stderr, told how much more is done; BLAS keeps to one thread."""
    with _one_thread(), _bars() as bars:
        task = bars.add_task(name, total=total)
        yield lambda done: bars.advance(task, done)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Costs are per core, and threads of BLAS cost more than they bring at these sizes."""
    try:
        import scipy.linalg  # noqa: F401  (it brings a BLAS of its own, to be limited too)
        from threadpoolctl import threadpool_limits
    except ImportError:
        yield
        return
    with threadpool_limits(1, "blas"):
        yield


def _bars() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
