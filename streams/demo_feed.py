"""What the demo sends: the simulation, or a file."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import msgspec
from msgspec import Struct

from infra.settings import UserError
from streams import pace, topics
from streams.events import Item
from streams.replay import Replay, ReplayOptions
from streams.replay_rows import RowFile
from streams.sender import Outbound
from streams.simulate import SPEED, Look, SimulationConfig, simulate_with_looks

MAX_TITLES = 100_000
SECONDS_OF_A_DAY = 86_400


class FeedOptions(Struct, frozen=True):
    """What to send.

    Attributes:
        events: a file; None: the simulation.
        seconds: how long; infinity: to its end.
        speed: as `--speed` says it; None: a file as fast as it goes, the simulation at its own
            pace. Factors of the simulation multiply that pace.
    """

    events: Path | None = None
    replay: ReplayOptions = ReplayOptions()
    seconds: float = math.inf
    speed: str | None = None


class Feed:
    """The messages to send, in order, and the titles among them.

    Attributes:
        speed: event seconds per second, for `pace.iterate`.
        titles: (tenant, item) → title, of the catalogue messages that went by.
        tenant: of the latest interaction.

    Raises:
        UserError: the file, its columns or an option cannot be used.
    """

    def __init__(self, options: FeedOptions) -> None:
        self._options = options
        self.titles: dict[tuple[str, str], str] = {}
        self.tenant = options.replay.tenant or "default"
        self._file: RowFile | None = None
        self._replay: Replay | None = None
        own_pace = 1.0 if options.events else SPEED
        default = "max" if options.events else "real"
        self.speed = own_pace * pace.parse_speed(options.speed or default)
        if options.events is not None:
            self._file = RowFile(options.events)
            self._replay = Replay(self._file, options.replay)

    def open(self) -> AbstractContextManager[object]:
        """Closes the file at the end."""
        return self._file or nullcontext()

    def __iter__(self) -> Iterator[Outbound | Look]:
        for outbound in self._replay or self._simulation():
            if isinstance(outbound, Look):
                yield outbound
                continue
            if outbound.topic == topics.ITEMS:
                self._note_title(outbound.value)
            elif outbound.tenant:
                self.tenant = outbound.tenant
            yield outbound

    def _simulation(self) -> Iterable[Outbound | Look]:
        stream = simulate_with_looks(
            SimulationConfig(
                seconds=math.inf,  # the demo's own clock ends it
                latest=time.time() - SECONDS_OF_A_DAY,
                tenant=self.tenant,
            )
        )
        limit = self._options.replay.limit
        return _limited(stream, limit) if limit else stream

    def _note_title(self, value: bytes) -> None:
        item = msgspec.json.decode(value, type=Item)
        if len(self.titles) < MAX_TITLES:
            self.titles[item.tenant, item.item_id] = item.title

    def left_out(self) -> str:
        """What of the file could not be sent, in one line; empty where all could."""
        if self._replay is None or not self._replay.skipped:
            return ""
        return f"{self._replay.skipped} rows left out, the first: {self._replay.first_skipped}"

    def require_any(self) -> None:
        """Check that something was sent.

        Raises:
            UserError: not one row of the file could be used.
        """
        if self._replay is not None and not self._replay.events and self._replay.rows:
            raise UserError(f"no row could be used ({self._replay.first_skipped})")


def _limited(stream: Iterable[Outbound | Look], limit: int) -> Iterator[Outbound | Look]:
    sent = 0
    for outbound in stream:
        yield outbound
        sent += outbound.is_interaction
        if sent == limit:
            return
