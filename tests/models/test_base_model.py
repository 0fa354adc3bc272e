"""A base model of the user's, from training to service: BERT and XLM-R, small, random, real files.

What serves must answer as plain transformers does, whose own class computes the model's own file.
"""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import numpy as np
import pytest
import torch

from infra.settings import UserError
from models import registry, versions
from models.base_model import PACKAGED, BaseModel, trunk_of
from models.card import CARD
from models.classifier import Classifier
from models.encoder import load_trunk, pooled
from models.errors import ArtifactError, TrunkMissingError
from models.export import export
from models.peer_pipeline import pipeline, plain_logits
from streams.cli import load
from streams.commands.classifier_options import trunk_for
from tests.classifier_process import classifier_process
from tests.models import base_models

NOWHERE = Path("nowhere")
TEXTS = ["房间很大，服务也好", "Great hotel! 太贵了", "no", "a long one, and then some more " * 20]
Train = Callable[..., Path]


@pytest.fixture(scope="module")
def data(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rows") / "own.csv"
    with path.open("w", newline="", encoding="utf-8") as lines:
        csv.writer(lines).writerows([("text", "label"), *base_models.comments(shared_dir, 150)])
    return path


@pytest.fixture(scope="module")
def train(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Train:
    """Trains by the command; the artifact."""

    def trained(base: Path | str, *arguments: str) -> Path:
        out = tmp_path_factory.mktemp("out") / "model"
        command = ["sentiment", "--data", str(data), "--base-model", str(base), "--out", str(out)]
        usual = ["--epochs", "1", "--threads", "1", "--no-probe", "--json"]
        load("train").main(args=[*command, *usual, *arguments], standalone_mode=False)
        return out

    return trained


@pytest.fixture(scope="module")
def of_bert(bases: dict[str, Path], train: Train) -> Path:
    return train(bases["bert"], "--method", "full")


@pytest.fixture(scope="module")
def of_xlm(bases: dict[str, Path], train: Train) -> Path:
    return train(bases["xlm"], "--text-prefix", "query: ")


def ids_of(classifier: Classifier) -> list[list[int]]:
    return [row.ids for row in classifier.prepare(TEXTS)]


@pytest.mark.parametrize("name", ["bert", "xlm"])
def test_what_serves_answers_as_plain_transformers(
    name: str, bases: dict[str, Path], request: pytest.FixtureRequest
) -> None:
    artifact: Path = request.getfixturevalue(f"of_{name}")
    assert trunk_for(artifact, NOWHERE) == bases[name]
    expected = None
    for packed in (False, True):
        served = Classifier(
            bases[name], artifact, device="cpu", dtype="float32", threads=1, packed=packed
        )
        ids = ids_of(served)
        assert max(map(len, ids)) == served.manifest.max_tokens == 80
        expected = plain_logits(bases[name], artifact, ids) if expected is None else expected
        assert np.abs(served.logits(ids) - expected).max() < 1e-3
    whole = load_trunk(bases[name])
    found = Classifier(bases[name], artifact, device="cpu", dtype="float32").logits(ids)
    with torch.no_grad():
        untrained = pooled(whole, torch.tensor([ids[0]]), torch.ones(1, len(ids[0])))
    weight = registry.read_tensors(artifact / registry.HEADS)["sentiment.weight"]
    assert np.abs((untrained @ weight.T).numpy() - found[0]).max() > 1e-2, "training changed it"
    # In bf16 two heads of 32 are our own code's, four of 16 are torch's.
    quick = Classifier(bases[name], artifact, device="cpu", dtype="bfloat16", threads=1)
    assert np.abs(quick.logits(ids) - expected).max() < 0.1
    labels = [each.label for each in served.predict(TEXTS[:3])]
    assert len(labels) == 3
    if served.ngrams is None:
        assert pipeline(bases[name], artifact)(TEXTS[:3], 3) == labels


@pytest.mark.parametrize(
    ("name", "method"), [("bert", "prefix"), ("xlm", "prefix"), ("bert", "head")]
)
def test_every_method_trains_it(
    name: str, method: str, bases: dict[str, Path], train: Train
) -> None:
    artifact = train(bases[name], "--method", method)
    padded, packed = (
        Classifier(bases[name], artifact, device="cpu", dtype="float32", packed=each)
        for each in (False, True)
    )
    ids = ids_of(padded)
    assert np.abs(padded.logits(ids) - packed.logits(ids)).max() < 1e-3


def test_the_manifest_says_which_it_is_and_another_is_refused(
    bases: dict[str, Path], of_xlm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    trunk: Path,
) -> None:  # fmt: skip
    manifest = registry.read_manifest(of_xlm)
    said = manifest.base_model
    assert said is not None and said.at == str(bases["xlm"])
    assert said.sha256["model.safetensors"] == registry.sha256(bases["xlm"] / "model.safetensors")
    assert manifest.trunk == said.name and manifest.trunk.startswith("xlm-")
    assert (manifest.text_prefix, manifest.pooling) == ("query: ", "mean")
    card = (of_xlm / CARD).read_text("utf-8")
    assert manifest.trunk in card and "`query: `" in card and "multilingual-e5" not in card
    assert "The base model's licence" in card

    moved = Path(shutil.copytree(bases["xlm"], tmp_path / "moved"))
    away = msgspec.structs.replace(manifest, base_model=BaseModel("/away", said.sha256))
    with pytest.raises(TrunkMissingError, match=r"/away.*SPRINGTIDE_TRUNK"):
        trunk_of(away, NOWHERE)
    monkeypatch.setenv("SPRINGTIDE_TRUNK", str(moved))
    assert trunk_for(of_xlm, NOWHERE) == moved
    assert trunk_for(None, trunk.parent) == trunk, "the packaged artifact has the packaged trunk"
    expected = Classifier(bases["xlm"], of_xlm, dtype="float32").predict(TEXTS)
    assert Classifier(moved, of_xlm, dtype="float32").predict(TEXTS) == expected
    for name in said.sha256:
        kept = (moved / name).read_bytes()
        (moved / name).write_bytes(kept + b" ")
        with pytest.raises(ArtifactError, match=f"{name} is another.*SPRINGTIDE_TRUNK"):
            Classifier(moved, of_xlm)
        (moved / name).write_bytes(kept)
    with pytest.raises(ArtifactError, match="is another"):
        Classifier(trunk, of_xlm)
    with pytest.raises(ArtifactError, match="made on the trunk multilingual-e5"):
        Classifier(moved)


def test_a_user_types_no_control_token(bases: dict[str, Path], of_xlm: Path) -> None:
    classifier = Classifier(bases["xlm"], of_xlm, dtype="float32")
    tokens = json.loads((bases["xlm"] / "tokenizer.json").read_text("utf-8"))["added_tokens"]
    control = {each["id"] for each in tokens}
    for text in ("a <|user|> b", "</s> and <s>", "<mask>"):
        [prepared] = classifier.prepare([text])
        assert control & set(prepared.ids[1:-1]) <= {3}, "unknown characters alone"


def test_a_running_server_goes_over_to_another_base_model(
    bases: dict[str, Path], of_bert: Path, of_xlm: Path, tmp_path: Path
) -> None:
    kept = tmp_path / "versions"
    first = versions.promote(kept, str(of_bert))
    with classifier_process("--model", str(kept)) as url:
        check_served(url, first, bases["bert"], of_bert)
        promoted = ["promote", str(of_xlm), "--registry", str(kept)]
        load("models").main(args=promoted, standalone_mode=False)
        second = registry.version_of(of_xlm)
        since = time.monotonic()
        while httpx.get(f"{url}/info").json()["model_version"] != second:
            assert time.monotonic() - since < 60
            time.sleep(0.1)
        check_served(url, second, bases["xlm"], of_xlm)


def check_served(url: str, version: str, base: Path, artifact: Path) -> None:
    here = Classifier(base, artifact, device="cpu", dtype="float32", threads=1)
    answer = httpx.post(f"{url}/predict", json={"inputs": [[text] for text in TEXTS]})
    assert answer.headers["x-model-version"] == version
    for row, expected in zip(answer.json(), here.predict(TEXTS), strict=True):
        scores = {each["label"]: each["score"] for each in row}
        assert abs(scores["negative"] - expected.negative) < 0.03  # bf16 there
    info = httpx.get(f"{url}/info").json()
    assert info["trunk"] == here.manifest.trunk
    assert info["embedding_prefix"] == here.manifest.text_prefix
    vectors = httpx.post(f"{url}/embed", json={"inputs": TEXTS[:2]})
    assert vectors.headers["x-model-version"] == here.embedding_version
    direct = here.embed(here.prepare_embedding(TEXTS[:2]))
    assert (np.sum(np.array(vectors.json()) * direct, axis=1) > 0.99).all()


@pytest.mark.parametrize("name", ["bert", "xlm"])
def test_exports_are_read_by_others(
    name: str, bases: dict[str, Path], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    import openvino
    from transformers import AutoModel, AutoTokenizer

    artifact: Path = request.getfixturevalue(f"of_{name}")
    classifier = Classifier(bases[name], artifact, device="cpu", dtype="float32")
    ids = ids_of(classifier)[1:2]
    expected = classifier.vectors(ids).numpy()
    plain = export(artifact, bases[name], tmp_path / "fp32", "fp32")
    model = AutoModel.from_pretrained(plain, add_pooling_layer=False)
    assert model.config.model_type == {"bert": "bert", "xlm": "xlm-roberta"}[name]
    before = classifier.manifest.text_prefix
    tokens = AutoTokenizer.from_pretrained(plain)([before + TEXTS[1]], return_tensors="pt")
    assert tokens["input_ids"].tolist() == ids
    with torch.no_grad():
        found = pooled(model, tokens["input_ids"], tokens["attention_mask"]).numpy()
    assert np.abs(found - expected).max() < 1e-3
    assert (f"[{before!r} + text" in (plain / "README.md").read_text("utf-8")) == bool(before)
    small = export(artifact, bases[name], tmp_path / "int8", "int8")
    compiled = openvino.compile_model(small / "model.xml", "CPU")
    quick = compiled((np.array(ids), np.ones_like(ids)))[0]
    assert np.sum(quick * expected) / np.linalg.norm(quick) / np.linalg.norm(expected) > 0.99


def test_commands_find_its_trunk_by_themselves(
    of_xlm: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(command: str, *arguments: str) -> dict[str, object]:
        args = [*arguments, "--model", str(of_xlm), "--threads", "1", "--json"]
        load(command).main(args=args, standalone_mode=False)
        found: dict[str, object] = json.loads(capsys.readouterr().out.splitlines()[-1])
        return found

    version = registry.read_manifest(of_xlm).version
    assert told("evaluate", "sentiment", "--data", str(data))["model_version"] == version
    faq = ["--index", str(data), "--queries", str(data), "--label", "label", "--each", "3"]
    assert told("evaluate", "retrieval", *faq)["prefix"] == "query: "
    out, topics = tmp_path / "topics", tmp_path / "topics.csv"
    topics.write_text(
        "text,label\n" + "".join(f"{n} on cooking,food\n{n} on law,law\n" for n in range(60))
    )
    told("train", "topic", "--data", str(topics), "--out", str(out))
    both = registry.read_manifest(out)
    assert set(both.topics) == {"topics"} and both.base_model is not None
    with pytest.raises(UserError, match="is another"):
        told("train", "topic", "--data", str(topics), "--out", str(out), "--base-model", PACKAGED)


def test_a_student_learns_from_a_teacher_on_another_trunk(
    bases: dict[str, Path], of_bert: Path, train: Train
) -> None:
    student = train(
        bases["xlm"], "--teacher", str(of_bert), "--layers", "2", "--frozen-layers", "1"
    )
    manifest = registry.read_manifest(student)
    assert manifest.teacher == registry.read_manifest(of_bert).version
    assert manifest.layers == (0, 2)
    served = Classifier(bases["xlm"], student, device="cpu", dtype="float32")
    ids = ids_of(served)
    assert np.abs(served.logits(ids) - plain_logits(bases["xlm"], student, ids)).max() < 1e-3
