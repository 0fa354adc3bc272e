"""A demo whose worker loses one event: no test double of the books, a real loss before them.

The worker that it starts is this file again: `learn` as it is, but the second click of partition 0
is dropped between Kafka and the learner, its offset counted as done. The production code has no
switch for that.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = str(Path(__file__).absolute())


def lose_one_event() -> None:
    """Make `Learn` forget one click."""
    from streams import topics
    from streams.learn import Learn

    learn_all = Learn._interactions

    def learn_all_but_one(self: Any, batch: Any, decoded: Any, *others: Any) -> None:
        keep = [
            (batch.topic, batch.partition, batch.offsets[index]) != (topics.CLICKS, 0, 1)
            for index in decoded.indices
        ]
        learn_all(self, batch, decoded.chosen(keep), *others)

    Learn._interactions = learn_all_but_one  # type: ignore[method-assign]


def main() -> None:
    """`… demo FILE --json --data-dir FOLDER` or, as the demo starts it, `… worker --port N`."""
    if sys.argv[1] == "worker":
        lose_one_event()
        from streams import cli

        cli.main()
        return
    from streams.commands.demo import run
    from streams.demo import DemoOptions
    from streams.demo_feed import FeedOptions

    _, _, events, _, _, folder = sys.argv
    options = DemoOptions(
        FeedOptions(Path(events)),
        broker="tansu",
        data_dir=Path(folder),
        worker=(sys.executable, HERE, "worker"),
    )
    sys.exit(run(options, as_json=True, endless=False))


if __name__ == "__main__":
    main()
