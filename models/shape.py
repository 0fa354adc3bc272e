"""What a trunk is like, by its own `config.json`, and its weights as the forward passes read them.

A trunk is an encoder of BERT's shape (1810.04805) in a Hugging Face folder. RoBERTa and XLM-R
differ from it in names, and in where the table of positions begins: behind the padding's row. Both
are put right here, once, so that nothing else has to know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from models.errors import TrunkMissingError

if TYPE_CHECKING:
    import torch

CONFIG, WEIGHTS = "config.json", "model.safetensors"
PLAIN, SHIFTED = ("bert",), ("roberta", "xlm-roberta", "camembert")
WORDS, POSITIONS, KINDS = TABLES = tuple(
    f"embeddings.{table}_embeddings.weight" for table in ("word", "position", "token_type")
)
FLOATS = {"F16", "BF16", "F32"}


class Shape(Struct, frozen=True, rename={"layers": "num_hidden_layers"}):
    """What `config.json` says of the trunk."""

    model_type: str
    layers: int
    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    layer_norm_eps: float
    vocab_size: int
    type_vocab_size: int
    max_position_embeddings: int
    pad_token_id: int

    @property
    def first_position(self) -> int:
        """Row of the table of positions that is the first token's."""
        return self.pad_token_id + 1 if self.model_type in SHIFTED else 0

    @property
    def positions(self) -> int:
        """Tokens that a text may have."""
        return self.max_position_embeddings - self.first_position


def read_shape(folder: Path) -> Shape:
    """What a trunk is like.

    Raises:
        TrunkMissingError: it cannot be read, or it is no encoder of BERT's shape.
    """
    try:
        told = msgspec.json.decode((folder / CONFIG).read_bytes(), type=dict[str, Any])
        if other := _other(told):
            raise TrunkMissingError(
                f"{folder} {other}: only encoders of BERT's own shape can be trained and served "
                f"({', '.join(PLAIN + SHIFTED)})"
            )
        return msgspec.convert(told, Shape)
    except (OSError, msgspec.MsgspecError) as error:
        raise _unreadable(folder, error) from None


def _other(told: dict[str, Any]) -> str:
    """In what a model is another than we can compute; empty: in nothing."""
    kind = told.get("model_type")
    if kind not in PLAIN + SHIFTED:
        return f"is of the type {kind}"
    if told.get("is_decoder") or told.get("add_cross_attention"):
        return "is a decoder"
    if (places := told.get("position_embedding_type") or "absolute") != "absolute":
        return f"has positions of the kind {places}"
    if (bends := told.get("hidden_act", "gelu")) != "gelu":
        return f"computes with {bends} in place of gelu"
    if told.get("auto_map"):
        return "needs code of its own"
    return "is quantised" if told.get("quantization_config") else ""


def read_trunk(folder: Path) -> tuple[Shape, dict[str, torch.Tensor]]:
    """Shape and weights of a trunk, in the precision of its file, under the names of `BertModel`.

    The table of positions begins with the first token's.

    Raises:
        TrunkMissingError: a file is absent or of another format, as in `read_shape` and `check`.
    """
    shape, names = check(folder)
    with _opened(folder) as file:
        found = {own: file.get_tensor(name) for own, name in names.items()}
    found[POSITIONS] = found[POSITIONS][shape.first_position :]
    return shape, found


def check(folder: Path) -> tuple[Shape, dict[str, str]]:
    """Whether the weights are what the shape says; it, and each tensor's name here and there.

    Heads, a pooler and whatever else the file holds are left alone.

    Raises:
        TrunkMissingError: one is absent, of another size, or no floating-point numbers.
    """
    shape = read_shape(folder)
    with _opened(folder) as file:
        there = {_plain(name): name for name in file.keys()}  # noqa: SIM118
        before = next((each.removesuffix(WORDS) for each in there if each.endswith(WORDS)), "")
        names = {}
        for own, size in _sizes(shape):
            name = there.get(before + own, "")
            piece = file.get_slice(name) if name else None
            if piece is None or tuple(piece.get_shape()) != size or piece.get_dtype() not in FLOATS:
                raise TrunkMissingError(
                    f"{folder / WEIGHTS} has no {own} of the size {size}, which {CONFIG} calls for"
                )
            names[own] = name
    return shape, names


def _opened(folder: Path) -> Any:
    from safetensors import SafetensorError, safe_open

    try:
        return safe_open(folder / WEIGHTS, "pt")
    except (OSError, SafetensorError) as error:
        raise _unreadable(folder, error) from None


def _unreadable(folder: Path, error: Exception) -> TrunkMissingError:
    return TrunkMissingError(
        f"{folder} cannot be read ({error}): bring it again (the packaged trunk is made again once "
        "its folder is removed)"
    )


def _plain(name: str) -> str:
    """As transformers reads files of its first years."""
    return name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
        "LayerNorm.beta", "LayerNorm.bias"
    )


def _sizes(shape: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Every tensor of a trunk and its size."""
    width, inner = shape.hidden_size, shape.intermediate_size
    rows = shape.vocab_size, shape.max_position_embeddings, shape.type_vocab_size
    yield from ((table, (each, width)) for table, each in zip(TABLES, rows, strict=True))
    linear = {f"attention.self.{each}": (width, width) for each in ("query", "key", "value")}
    linear |= {"attention.output.dense": (width, width)}
    linear |= {"intermediate.dense": (inner, width), "output.dense": (width, inner)}
    norms = ["embeddings.LayerNorm"]
    for layer in range(shape.layers):
        prefix = f"encoder.layer.{layer}"
        norms += [f"{prefix}.attention.output.LayerNorm", f"{prefix}.output.LayerNorm"]
        for name, size in linear.items():
            yield f"{prefix}.{name}.weight", size
            yield f"{prefix}.{name}.bias", size[:1]
    for name in norms:
        yield f"{name}.weight", (width,)
        yield f"{name}.bias", (width,)
