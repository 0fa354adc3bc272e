"""Steps: long work that lets others work meanwhile.

A generator does a few milliseconds between two yields. Where it yields a function, that one takes
long, touches nothing that others use, and may run in another thread; then the generator goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

Steps = Iterator[Callable[[], None] | None]


def finish(steps: Steps) -> None:
    """Do all of it, here and now."""
    for aside in steps:
        if aside is not None:
            aside()
