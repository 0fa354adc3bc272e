"""What a service survives: versions that are broken, pointers that change at an odd moment."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import httpx
import msgspec
import pytest
from prometheus_client import CollectorRegistry
from safetensors.torch import load_file, save_file
from starlette.applications import Starlette

from models import registry, versions
from models.classifier import Classifier
from models.errors import ArtifactError
from models.metrics import ClassifierMetrics
from models.server import Server
from models.service import Service
from models.session import Session
from tests.models.small import ROWS, written

Make = Callable[[Path | None], Classifier]


@pytest.fixture(scope="module")
def plain(small_trunk: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    session = Session(small_trunk, ROWS, "head")
    return written(session, small_trunk, tmp_path_factory.mktemp("service") / "plain")


@pytest.fixture
def make(small_trunk: Path) -> Make:
    return lambda folder: Classifier(small_trunk, folder, device="cpu", dtype="float32")


@pytest.fixture
def kept(plain: Path, tmp_path: Path) -> tuple[Path, str, str]:
    """A folder of versions, the one that serves and another."""
    folder = tmp_path / "versions"
    other = versions.promote(folder, str(altered(plain, tmp_path / "other")))
    return folder, versions.promote(folder, str(plain)), other


def altered(artifact: Path, folder: Path, without: str = "") -> Path:
    """The artifact with another bias, or without a tensor; its manifest is right."""
    folder.mkdir()
    heads = load_file(artifact / registry.HEADS)
    heads["sentiment.bias"] += 0.5
    save_file({name: each for name, each in heads.items() if name != without}, folder / "h")
    (folder / "h").rename(folder / registry.HEADS)
    manifest = registry.read_manifest(artifact)
    digests = manifest.sha256 | {registry.HEADS: registry.sha256(folder / registry.HEADS)}
    registry.write_manifest(folder, msgspec.structs.replace(manifest, sha256=digests))
    return folder


def served(make: Make, folder: Path, work: Callable[[Service], Awaitable[None]]) -> None:
    async def go() -> None:
        service = Service(ClassifierMetrics(CollectorRegistry()))
        try:
            await service.load(make, folder)
            await work(service)
        finally:
            await service.stop()

    asyncio.run(go())


async def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    since = time.monotonic()
    while not holds():
        assert time.monotonic() - since < seconds
        await asyncio.sleep(0.02)


def refused(service: Service) -> float:
    return float(service.metrics.swaps.labels("failed")._value.get())


def serving(service: Service) -> str:
    return service.classifier.model_version if service.classifier else ""


def test_a_version_that_fails_in_whatever_way_is_refused_and_the_next_one_is_taken(
    kept: tuple[Path, str, str], plain: Path, make: Make, tmp_path: Path
) -> None:
    folder, first, other = kept

    async def work(service: Service) -> None:
        versions.promote(folder, str(altered(plain, tmp_path / "bad", without="sentiment.bias")))
        await until(lambda: refused(service) == 1)
        assert serving(service) == first
        versions.promote(folder, other)
        await until(lambda: serving(service) == other)

    served(make, folder, work)


def test_a_service_starts_with_the_version_before_one_that_cannot_be_loaded(
    kept: tuple[Path, str, str], plain: Path, make: Make, tmp_path: Path
) -> None:
    folder, first, other = kept
    bad = altered(plain, tmp_path / "bad", without="sentiment.weight")
    versions.promote(folder, str(bad))

    async def work(service: Service) -> None:
        assert serving(service) == first
        await until(lambda: refused(service) == 1)
        versions.promote(folder, other)
        await until(lambda: serving(service) == other)

    served(make, folder, work)
    with pytest.raises(ArtifactError, match="no sentiment head"):
        served(make, bad, work)


def test_what_is_promoted_while_a_shadow_is_loaded_is_taken(
    kept: tuple[Path, str, str], plain: Path, make: Make, tmp_path: Path
) -> None:
    folder, _, other = kept
    shadow = str(altered(altered(plain, tmp_path / "a"), tmp_path / "b"))
    name = versions.run_in_shadow(folder, shadow)

    def make_and_promote(artifact: Path | None) -> Classifier:
        if artifact is not None and artifact.name == name:
            versions.promote(folder, other)
        return make(artifact)

    async def work(service: Service) -> None:
        await until(lambda: serving(service) == other)
        assert service.batcher is not None and service.batcher.shadow is not None

    served(make_and_promote, folder, work)


def test_a_shadow_that_cannot_be_loaded_keeps_nobody_from_serving(
    kept: tuple[Path, str, str], make: Make
) -> None:
    folder, first, other = kept
    versions.run_in_shadow(folder, other)
    (folder / other / registry.HEADS).write_bytes(b"altered")

    async def work(service: Service) -> None:
        await until(lambda: refused(service) == 1)
        assert serving(service) == first
        assert service.batcher is not None
        assert len((await service.batcher.predict(["Lesson 1 was clear"])).items) == 1

    served(make, folder, work)


def test_the_end_of_the_queues_owner_is_told(
    plain: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(now: float) -> object:
        raise ZeroDivisionError

    async def work(service: Service) -> None:
        assert service.batcher is not None
        monkeypatch.setattr(service.batcher._waiting, "next_batch", failing)
        service.batcher._arrived.set()
        with pytest.raises(ZeroDivisionError):
            async with asyncio.timeout(10):
                await service.broken()

    served(make, plain, work)


def test_a_request_is_answered_by_the_heads_of_the_version_that_it_was_read_for(
    classifier: Classifier, plain: Path, make: Make
) -> None:
    without_topics = make(plain)
    head, labels = next((name, each.labels) for name, each in classifier.topics.items())

    async def ask(service: Service) -> None:
        app = Starlette(routes=Server(service).routes())
        batcher = service.batcher
        assert batcher is not None

        async def body() -> AsyncIterator[bytes]:
            yield b'{"inputs": "Stocks fell after the report", '
            batcher.exchange(without_topics)
            service.classifier = without_topics
            yield f'"head": "{head}"}}'.encode()

        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as to:
            answer = await to.post("/predict", content=body())
        assert answer.headers["x-model-version"] == classifier.model_version
        found = {each["label"]: each["score"] for each in answer.json()}
        assert set(found) == set(labels)
        assert max(found.values()) > 2 / len(labels)

    served(lambda _: classifier, registry.packaged_artifact(), ask)
