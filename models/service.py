"""The model in service: loaded and warm before it answers, exchanged while it does.

A new version is loaded and warmed in a thread of its own, then takes over between two batches: no
request waits for it, and none sees half of it. A version that cannot be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog

from models import versions
from models.batching import CAPACITY, Batcher
from models.classifier import Classifier
from models.errors import ModelError
from models.forward import measured_peak
from models.metrics import ClassifierMetrics
from models.shadow import Shadow

LOOK_SECONDS = 1.0

Make = Callable[[Path | None], Classifier]

log = structlog.get_logger("classifier")


class Service:
    """The model and its queue, once loaded; before that there is neither."""

    def __init__(self, metrics: ClassifierMetrics, capacity: int = CAPACITY) -> None:
        self.metrics = metrics
        self._capacity = capacity
        # Torch's threads belong to the thread that starts them: load and score in the same one.
        self._device = ThreadPoolExecutor(1, thread_name_prefix="device")
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._follower: asyncio.Task[None] | None = None
        self.classifier: Classifier | None = None
        self.batcher: Batcher | None = None

    async def load(self, make: Make, folder: Path | None) -> Classifier:
        """Load and warm the model in the device's thread, then take questions; follow its pointer.

        Args:
            make: loads the artifact in a folder (None: the packaged one).
            folder: an artifact's, or one of versions, whose pointer is followed from now on.

        Raises:
            ModelError: the artifact or the trunk cannot be used.
        """
        loop = asyncio.get_running_loop()
        classifier = await loop.run_in_executor(self._device, make, versions.resolved(folder))
        await loop.run_in_executor(self._device, classifier.warm_up)
        peak = await loop.run_in_executor(
            self._device, measured_peak, classifier.device, classifier.dtype
        )
        self.metrics.peak.set(peak)
        self.batcher = Batcher(classifier, self._device, self.metrics, self._capacity)
        self.batcher.start()
        self.classifier = classifier
        if folder is not None and (folder / versions.POINTER).exists():
            await self._take_over(make, folder)
            self._follower = loop.create_task(self._follow(make, folder))
        return classifier

    async def stop(self) -> None:
        """Stop taking questions; a batch on the device is finished."""
        if self._follower is not None:
            self._follower.cancel()
        if self.batcher is not None:
            await self.batcher.stop()
        self._device.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    def not_ready(self) -> str:
        """What is missing, empty once ready."""
        return "" if self.classifier is not None else "loading the model"

    async def _follow(self, make: Make, folder: Path) -> None:
        seen = versions.read_pointer(folder)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                if (found := versions.read_pointer(folder)) == seen:
                    continue
                # A version that failed is not tried again until the pointer says something new.
                seen = found
                await self._take_over(make, folder)
            except (ModelError, OSError, RuntimeError, ArithmeticError) as error:
                self.metrics.swaps.labels("failed").inc()
                log.warning("classifier.version_refused", error=str(error))

    async def _take_over(self, make: Make, folder: Path) -> None:
        """Current and shadow as the pointer says."""
        pointer = versions.read_pointer(folder)
        if self.batcher is None or self.classifier is None:
            return
        if pointer.current != self.classifier.model_version:
            classifier = await self._warm(make, folder / pointer.current)
            self.batcher.exchange(classifier)
            self.classifier = classifier
            self.metrics.swaps.labels("taken").inc()
            log.info("classifier.version_taken", model_version=classifier.model_version)
        running = self.batcher.shadow.classifier.model_version if self.batcher.shadow else ""
        if pointer.shadow != running:
            self.batcher.shadow = None
            if pointer.shadow:
                shadow = await self._warm(make, folder / pointer.shadow)
                self.batcher.shadow = Shadow(shadow, self.metrics)
                log.info("classifier.shadow_taken", model_version=shadow.model_version)

    async def _warm(self, make: Make, artifact: Path) -> Classifier:
        loop = asyncio.get_running_loop()
        classifier = await loop.run_in_executor(self._loader, make, artifact)
        await loop.run_in_executor(self._loader, classifier.warm_up)
        return classifier
