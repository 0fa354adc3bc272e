"""Compile every kernel before the first interaction has to wait for it.

numba keeps what it compiled beside the modules: some 20 s the first time, half a second later on.
"""

from __future__ import annotations

import numpy as np

from online.changes import merged
from online.content_items import ItemContent
from online.content_terms import terms_of
from online.exploration import USUAL_RATE, New, Rules, explore, make_plan
from online.interactions import Kind
from online.learner import Learner, LearnerConfig
from online.siphash import hash_strings
from online.spikes import Observation, SpikeMonitor


def warm_up() -> None:
    """Go through everything on a learner and on detectors that are thrown away."""
    _learner()
    _exchange()
    _detectors()
    hash_strings(np.frombuffer(b"id", np.uint8), np.array([2]), np.frombuffer(bytes(16), np.uint64))


def _detectors() -> None:
    """Praise, a scandal, and two days of silence, which end it."""
    monitor = SpikeMonitor()
    count = 150
    monitor.observe(
        [Observation("item", (), float(n > 100), n + 1, n * 60.0) for n in range(count)]
    )
    monitor.observe([Observation("other", (), 0.0, 1, 3 * 86_400.0)])
    SpikeMonitor().load(monitor.state())


def _exchange() -> None:
    """Take what another learner learned, and take it out again."""
    one, two = Learner(), Learner()
    sender, receiver = (learner.share(lambda partition: 1) for learner in (one, two))
    one.learn(0, ["user"] * 2, ["a", "b"], np.zeros(2, np.int8), np.zeros(2))
    one.forget_user(0, "user")
    receiver.slots(["a", "b"])
    for run in sender.cut():
        receiver.take(run)
    receiver.holds(0, 0)


def _learner() -> None:
    """Learn, list, save, load and forget."""
    learner = Learner()
    kinds = np.array(list(Kind), dtype=np.int8)
    items = [f"item-{i}" for i in range(len(kinds))]
    for _ in range(2):  # what they say, and again
        said = [terms_of("word", [f"tag={i % 2}"]) for i in range(len(items))]
        learner.put_content(ItemContent(items, said, np.eye(len(items), 8, dtype=np.float32)))
    learner.learn(0, ["user"] * len(kinds), items, kinds, np.zeros(len(kinds)))
    learner.learn(0, ["other"], [items[0]], kinds[:1], np.zeros(1))
    learner.top_k("user", 10)
    learner.top_k("nobody", 10)
    learner.similar(items[0], 10)
    learner.has("user", items[0])
    rules = Rules(every=2)
    plan = make_plan([New("new", 0.0, 0, 0.0, {items[0]: 1.0})], rules, 1.0, USUAL_RATE, 0)
    explore(items, plan, rules, 0, lambda item: False)
    whole = learner.partition_changes(0)
    learner.learn(0, ["other"], [items[1]], kinds[:1], np.zeros(1))
    learner.load_partition(1, merged(whole, learner.partition_changes(0)))
    learner.load_shared(learner.shared_state())
    learner.forget_user(0, "user")
    learner.drop_partition(1)
    short = Learner(LearnerConfig(max_history=4))
    short.learn(0, ["user"] * len(kinds), items, kinds, np.zeros(len(kinds)))


if __name__ == "__main__":
    warm_up()
