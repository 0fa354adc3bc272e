"""The real trunk and the committed artifact, loaded once."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file, save_file

from models import registry
from models.classifier import Classifier
from models.data import LABELS, LabelledSet, load_sets
from models.trunk import default_cache_dir, trunk_folder
from tests.models import base_models
from tests.models.small import ROWS


@pytest.fixture(scope="session")
def trunk() -> Path:
    return trunk_folder(default_cache_dir())


@pytest.fixture(scope="session")
def classifier(trunk: Path) -> Classifier:
    loaded = Classifier(trunk, threads=1)
    loaded.warm_up()
    return loaded


@pytest.fixture(scope="session")
def small_trunk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trunk of four layers, 32 wide, random, whose tokenizer knows the words of `ROWS`."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import BertConfig, BertModel

    folder = tmp_path_factory.mktemp("small") / "small-trunk"
    words = sorted({word for row in ROWS for word in row.text.split()})
    known = {word: number for number, word in enumerate(["<pad>", "<unk>", *words])}
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(known),
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=96,
        initializer_range=0.2,
    )
    BertModel(config, add_pooling_layer=False).half().save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel(known, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
    return folder


@pytest.fixture(scope="session")
def bases(shared_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two base models of the kind that users bring, and a name that no header can hold."""
    texts = [text for text, _ in base_models.comments(shared_dir, 150)]
    folder = tmp_path_factory.mktemp("bases")
    return {
        "bert": base_models.bert(folder / "小 bert", texts),
        "xlm": base_models.xlm_roberta(folder / "xlm", texts),
    }


@pytest.fixture(scope="session")
def known_sets(shared_dir: Path) -> list[LabelledSet]:
    return load_sets(shared_dir / "data")


@pytest.fixture
def remade(tmp_path: Path) -> Callable[[str], Path]:
    """Makes the packaged artifact anew under another version: the longer its name, the gloomier."""

    def make(name: str) -> Path:
        folder = Path(shutil.copytree(registry.packaged_artifact(), tmp_path / name))
        heads = load_file(folder / registry.HEADS)
        heads["sentiment.bias"][LABELS.index("positive")] -= len(name)
        save_file(heads, folder / registry.HEADS)
        manifest = registry.read_manifest(registry.packaged_artifact())
        digests = manifest.sha256 | {registry.HEADS: registry.sha256(folder / registry.HEADS)}
        registry.write_manifest(folder, msgspec.structs.replace(manifest, sha256=digests))
        return folder

    return make
