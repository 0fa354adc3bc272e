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

from models import registry, versions
from models.batching import Batcher
from models.classifier import Classifier
from models.errors import ModelError, told
from models.metrics import ClassifierMetrics
from models.places import CAPACITY
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

    async def load(
        self, make: Make, folder: Path | None, text_ranker: Path | None = None
    ) -> Classifier:
        """Load and warm the model in the device's thread, then take questions; follow its pointer.

        A version that cannot be loaded leaves the service to the one before it, as it would have
        while that one served.

        Args:
            make: loads the artifact in a folder (None: the packaged one), and the text ranker of
                that moment beside it.
            folder: an artifact's, or one of versions, whose pointer is followed from now on.
            text_ranker: likewise, where there is one.

        Raises:
            ModelError: the artifact or the trunk cannot be used.
        """
        loop = asyncio.get_running_loop()
        classifier = await self._first(make, versions.candidates(folder))
        peak = await loop.run_in_executor(self._device, classifier.reading.peak)
        self.metrics.peak.set(peak)
        self.batcher = Batcher(classifier, self._device, self.metrics, self._capacity)
        self.batcher.start()
        self.classifier = classifier
        if _pointers(folder, text_ranker):
            self._follower = loop.create_task(self._follow(make, folder, text_ranker))
        return classifier

    async def _first(self, make: Make, candidates: list[Path]) -> Classifier:
        """The first that can be loaded, warm."""
        loop = asyncio.get_running_loop()
        refused: ModelError | None = None
        for artifact in candidates:
            try:
                classifier = await loop.run_in_executor(self._device, make, artifact)
            except ModelError as error:
                refused = refused or error
            else:
                if refused is not None:  # where none can be loaded, its error is the one line
                    log.warning("classifier.version_refused", error=told(refused))
                await loop.run_in_executor(self._device, classifier.warm_up)
                return classifier
        raise refused or ModelError("there is no version")

    async def broken(self) -> None:
        """Wait, once loaded, for what must never end: without it nobody is answered.

        Raises:
            Exception: what ended it, a fault of ours.
        """
        if self.batcher is not None:
            await self.batcher.broken()

    async def stop(self) -> None:
        """Stop taking questions; what has no answer yet is cancelled."""
        if self._follower is not None:
            self._follower.cancel()
        if self.batcher is not None:
            await self.batcher.stop()
        self._device.shutdown(wait=False, cancel_futures=True)
        self._loader.shutdown(wait=False, cancel_futures=True)

    def not_ready(self) -> str:
        """What is missing, empty once ready."""
        return "" if self.classifier is not None else "loading the model"

    async def _follow(self, make: Make, folder: Path | None, text_ranker: Path | None) -> None:
        seen: list[versions.Pointer] = []  # the first look: it may have changed since the load
        while True:
            try:
                if (found := _pointers(folder, text_ranker)) != seen:
                    # A version that failed is not tried again until a pointer says something new.
                    seen = found
                    await self._take_over(make, folder, text_ranker)
            except Exception as error:  # whatever a version does, the current one goes on
                self.metrics.swaps.labels("failed").inc()
                log.warning("classifier.version_refused", error=told(error))
            await asyncio.sleep(LOOK_SECONDS)

    async def _take_over(self, make: Make, folder: Path | None, text_ranker: Path | None) -> None:
        """Current, its text ranker and the shadow as the pointers say."""
        if self.batcher is None or self.classifier is None:
            return
        artifact = versions.resolved(folder)
        loop = asyncio.get_running_loop()
        # Every file is read for it.
        wanted = await loop.run_in_executor(self._loader, _versions, artifact, text_ranker)
        if wanted != (self.classifier.model_version, self.classifier.ranker_version):
            classifier = await self._warm(make, artifact)
            self.batcher.exchange(classifier)
            self.classifier = classifier
            self.metrics.swaps.labels("taken").inc()
            log.info(
                "classifier.version_taken",
                model_version=classifier.model_version,
                items_version=classifier.items_version,
            )
        await self._shadow(make, versions.shadow_of(folder), self.batcher)

    async def _shadow(self, make: Make, artifact: Path | None, batcher: Batcher) -> None:
        running = batcher.shadow.classifier.model_version if batcher.shadow else ""
        if (artifact.name if artifact else "") != running:
            batcher.shadow = None
            if artifact is not None:
                shadow = await self._warm(make, artifact)
                batcher.shadow = Shadow(shadow, self.metrics)
                log.info("classifier.shadow_taken", model_version=shadow.model_version)

    async def _warm(self, make: Make, artifact: Path) -> Classifier:
        loop = asyncio.get_running_loop()
        classifier = await loop.run_in_executor(self._loader, make, artifact)
        await loop.run_in_executor(self._loader, classifier.warm_up)
        return classifier


def _pointers(*folders: Path | None) -> list[versions.Pointer]:
    """Of those that are folders of versions."""
    return [
        versions.read_pointer(each)
        for each in folders
        if each is not None and (each / versions.POINTER).exists()
    ]


def _versions(artifact: Path, text_ranker: Path | None) -> tuple[str, str]:
    ranker = registry.version_of(versions.resolved(text_ranker)) if text_ranker else ""
    return registry.version_of(artifact), ranker
