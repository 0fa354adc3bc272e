"""Names of keys and their rows: where a comment goes, and under what alarms are grouped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from online import spikes_keys as tables
from online.arrays import I32
from online.ids import Ids
from online.spikes_alarm import Observation

TENANT = "tenant"
ITEM, TOPIC, MODEL = "item:", "topic:", "model:"
MOST_GROUPS = 256

Arrays = dict[str, npt.NDArray[Any]]


class KeyBook:
    """The keys of one tenant.

    Args:
        max_keys: further ones are refused and counted in `refused`.
    """

    def __init__(self, max_keys: int) -> None:
        self._max_keys = max_keys
        self._ids = Ids()
        self._versions: dict[str, int] = {}
        self._groups: dict[str, None] = {}  # versions and languages; one alone is the tenant
        self.keys = tables.new_keys(64)
        self.commons: list[int] = []
        self.reused: list[int] = []  # indices of versions that stand for another one now
        self.refused = 0

    def __len__(self) -> int:
        """Rows in use, those of forgotten keys among them."""
        return self._ids.size

    @property
    def known(self) -> int:
        """Keys that have a row."""
        return len(self._ids)

    def name(self, slot: int) -> str:
        """The key's name; "" for slot -1."""
        return str(self._ids.name(slot)) if slot >= 0 else ""

    def slot(self, name: str) -> int:
        """The row of a key that stands alone; made where there is none, -1 where it is refused."""
        slot = self._ids.find(name)
        return slot if slot >= 0 else self._add(name, ())

    def pairs(self, group: Sequence[Observation]) -> tuple[I32, I32]:
        """Keys (int32[pairs]) and the comments they take, item first."""
        slots: list[int] = []
        rows: list[int] = []
        find = self._ids.find
        for row, each in enumerate(group):
            names = [f"{ITEM}{each.item}"]
            names += [f"{TOPIC}{name}" for name in dict.fromkeys(each.topics)]
            names.append(TENANT)
            if each.version:
                model = f"{MODEL}{each.version}/{each.language}".replace("\n", " ")
                if model not in self._groups and len(self._groups) < MOST_GROUPS:
                    self._groups[model] = None  # a language is the platform's word: bounded
                if len(self._groups) > 1 and model in self._groups:
                    names.append(model)
            for name in names:
                slot = find(name)
                if slot < 0:
                    slot = self._add(name, names)
                if slot >= 0:
                    slots.append(slot)
                    rows.append(row)
        return np.array(slots, np.int32), np.array(rows, np.int32)

    def version(self, name: str) -> int:
        """The classifier's index: 0 of the first; a new one takes the oldest other's in the end."""
        name = name.replace("\n", " ")
        if not name or name in self._versions:
            return self._versions.get(name, 0)
        count = len(self._versions)
        self._versions[name] = index = _index(count)
        if count >= tables.VERSIONS:
            self.reused.append(index)
        if len(self._groups) >= MOST_GROUPS:  # else no later version had a drift of its own
            for old in list(self._groups)[: MOST_GROUPS // 2]:
                del self._groups[old]
        return index

    def forget(self, slots: Sequence[int]) -> None:
        """Let go of items; their rows serve others."""
        for slot in slots:
            self._ids.remove(self._ids.name(slot))
        for name, empty in tables.new_keys(1)._asdict().items():
            getattr(self.keys, name)[slots] = empty[0]

    def arrays(self) -> Arrays:
        """Copies of names and rows."""
        size = len(self)
        names, lengths = self._ids.saved()
        versions = "\n".join(self._versions).encode()
        groups = "\n".join(self._groups).encode()
        return {
            "names.bytes": names,
            "names.length": lengths,
            **{f"keys.{name}": array[:size].copy() for name, array in self.keys._asdict().items()},
            "versions": np.frombuffer(versions, np.uint8).copy(),
            "groups": np.frombuffer(groups, np.uint8).copy(),
        }

    def load(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Go on from what `arrays` gave."""
        self._ids = Ids.restored(arrays["names.bytes"], arrays["names.length"])
        names = [self._ids.name(slot) for slot in range(self._ids.size)]
        self.keys = tables.new_keys(max(64, len(names)))
        for name, array in self.keys._asdict().items():
            array[: len(names)] = arrays[f"keys.{name}"]
        kinds = self.keys.status[: len(names), 2]
        self.commons = [
            slot for slot in range(len(names))
            if kinds[slot] == tables.COMMON or names[slot] == TENANT
        ]  # fmt: skip
        groups = arrays["groups"].tobytes().decode()
        self._groups = dict.fromkeys(groups.split("\n")) if groups else {}
        versions = arrays["versions"].tobytes().decode()
        kept = versions.split("\n") if versions else []
        self._versions = {name: _index(count) for count, name in enumerate(kept)}

    def _add(self, name: str, names: Sequence[str]) -> int:
        """A row for a key; alarms go under an item's first topic, a topic's under the tenant."""
        parent = -1
        if name.startswith((ITEM, TOPIC)) and names:
            above = names[1] if name.startswith(ITEM) else TENANT
            parent = self._ids.find(above)
            parent = parent if parent >= 0 else self._add(above, names)
        if self.known >= self._max_keys:
            self.refused += 1
            return -1
        slot = self._ids.add(name)
        room = len(self.keys.step)
        if slot >= room:
            self.keys = tables.grown_keys(self.keys, 2 * room)
        kind = tables.COMMON if name.startswith(MODEL) else tables.ORDINARY
        self.keys.status[slot, 2] = tables.ITEM if name.startswith(ITEM) else kind
        self.keys.parent[slot] = parent
        if kind == tables.COMMON or name == TENANT:
            self.commons.append(slot)
        return slot


def _index(count: int) -> int:
    """Of the version before which there were `count`; what the first one finds is the measure."""
    return count if count < tables.VERSIONS else 1 + (count - 1) % (tables.VERSIONS - 1)
