"""Rows for trainings of seconds, and what one trained as an artifact."""

from __future__ import annotations

from pathlib import Path

import msgspec

from models import registry
from models.sampling import TrainingRow
from models.session import Session

WORDS = {
    2: ("clear", "wonderful", "well made", "worth every hour", "my best course"),
    0: ("confusing", "terrible", "badly made", "a waste of time", "my worst course"),
}
ROWS = [
    TrainingRow(f"Lesson {n} was {words[n % 5]}", label, two_class=True)
    for n in range(30)
    for label, words in WORDS.items()
]


def written(session: Session, trunk: Path, folder: Path) -> Path:
    """What a session trained, as an artifact in `folder`."""
    adapter, tensors, layers = session.adapter()
    made = msgspec.structs.replace(
        registry.read_manifest(registry.packaged_artifact()),
        trunk=trunk.name,
        adapter=adapter,
        method=session.method,
        stack=None,
        topics={},
        sha256=registry.write_tensors(folder, tensors, session.heads(), layers),
        layers=session.layers,
    )
    registry.write_manifest(folder, made)
    return folder
