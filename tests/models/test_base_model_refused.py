"""Base models that are not here, or that we cannot compute, are refused in one line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from tokenizers import Tokenizer

from models import registry
from models.base_model import chosen, trunk_of
from models.encoder import load_tokenizer
from models.errors import TrunkMissingError
from models.shape import read_trunk

NOWHERE = Path("nowhere")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "gpt2"}, "of the type gpt2: only encoders of BERT's own shape"),
        ({"model_type": None}, "of the type None"),
        ({"is_decoder": True}, "is a decoder"),
        ({"position_embedding_type": "relative_key"}, "positions of the kind relative_key"),
        ({"hidden_act": "relu"}, "relu in place of gelu"),
        ({"auto_map": {"AutoModel": "code.Model"}}, "needs code of its own"),
        ({"quantization_config": {"quant_method": "awq"}}, "is quantised"),
        ({"num_hidden_layers": 4}, r"no encoder\.layer\.3\.attention\.self\.query\.weight"),
        ({"vocab_size": 70}, r"no embeddings\.word_embeddings\.weight of the size \(70, 64\)"),
        ({"num_attention_heads": "two"}, "cannot be read"),
    ],
)
def test_what_cannot_be_served_is_refused_before_it_is_trained(
    changes: dict[str, object], said: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bases["bert"], tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text("utf-8")) | changes
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(TrunkMissingError, match=said):
        chosen(str(folder), NOWHERE)


def test_a_folder_that_lacks_something_is_told(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bases["bert"], tmp_path / "bert"))
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens(["more"])
    tokenizer.save(str(folder / "tokenizer.json"))
    with pytest.raises(
        TrunkMissingError, match=r"has .* tokens, and its model .*: it is another's"
    ):
        load_tokenizer(folder, 80)
    (folder / "tokenizer.json").write_text("{")
    with pytest.raises(TrunkMissingError, match=r"tokenizer\.json cannot be read"):
        load_tokenizer(folder, 80)
    (folder / "model.safetensors").write_bytes(b"x")
    with pytest.raises(TrunkMissingError, match="cannot be read"):
        chosen(str(folder), NOWHERE)
    (folder / "model.safetensors").unlink()
    with pytest.raises(TrunkMissingError, match=r"has no model\.safetensors.*save_pretrained"):
        chosen(str(folder), NOWHERE)


def test_a_name_of_the_hub_is_looked_for_in_its_cache(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        TrunkMissingError, match=r"hf download org/small config\.json .* or name its"
    ):
        chosen("org/small", NOWHERE)
    with pytest.raises(TrunkMissingError, match="no name of a hub's"):
        chosen("/no/such/folder", NOWHERE)
    repository = tmp_path / "models--org--small"
    shutil.copytree(bases["bert"], repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    folder, said = chosen("org/small", NOWHERE)
    assert folder == repository / "snapshots" / COMMIT
    assert said is not None and said.at == f"org/small@{COMMIT}"
    assert said.name.startswith("small-")
    # The branch goes on; the artifact stays with its own commit.
    (repository / "refs" / "main").write_text("f" * 40)
    manifest = registry.read_manifest(registry.packaged_artifact())
    manifest = msgspec.structs.replace(manifest, base_model=said)
    assert trunk_of(manifest, NOWHERE) == folder
    assert len(read_trunk(folder)[1]) == 5 + 3 * 16


def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "own.csv"
    data.write_text("text,label\ngood,positive\nbad,negative\n")
    command = [sys.executable, "-m", "streams.cli", "train", "sentiment", "--data", str(data)]
    ended = subprocess.run(
        [*command, "--base-model", "org/that-nobody-has"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "hf download org/that-nobody-has" in ended.stderr.splitlines()[-1]
    assert "Traceback" not in ended.stderr
