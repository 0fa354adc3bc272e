"""Exports: trunk with the adapter merged, for other programs, in fp32, bf16 or int8.

The n-gram expert, the temperature and topic heads stay behind: they are not part of the network.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal, get_args

from models import registry
from models.data import LABELS
from models.errors import ArtifactError
from models.peer_pipeline import of_transformers
from models.shape import CONFIG, WEIGHTS
from models.tuned import read_tuned
from models.versions import resolved

Kind = Literal["fp32", "bf16", "int8"]
KINDS: tuple[Kind, ...] = get_args(Kind)
DTYPES = {"fp32": "float32", "bf16": "bfloat16"}
TOKENIZER = ("tokenizer.json", "tokenizer_config.json")

TOKENS = """    tokens = AutoTokenizer.from_pretrained(".")(
        {texts}, padding=True, truncation=True, max_length={most}, return_tensors="pt"
    )
"""
PLAIN = """    model = AutoModel.from_pretrained(".", add_pooling_layer=False)
    hidden = model(**tokens).last_hidden_state
    mask = tokens["attention_mask"].unsqueeze(-1)
    vectors = (hidden * mask).sum(1) / mask.sum(1)
"""
OPENVINO = """    model = openvino.compile_model("model.xml", "CPU")
    vectors = model((tokens["input_ids"], tokens["attention_mask"]))[0]
"""
README = """# {version}, {kind}

{code}
Logits of {labels}: `vectors @ weight.T + bias`, both in `heads.safetensors` under `sentiment.`.
"""


def export(artifact: Path | None, trunk: Path, out: Path, kind: Kind) -> Path:
    """Write the network of an artifact to the folder `out`; returns it.

    fp32 and bf16: a folder for transformers' `AutoModel`. int8: OpenVINO's `model.xml`, matrices in
    eight bits with a scale a row, (ids, mask) → vectors. Either with tokenizer, head and a README.

    Raises:
        ArtifactError: the artifact is absent or altered, has a prefix, or `out` is not empty.
        EngineMissingError: int8 without OpenVINO.
    """
    folder = resolved(artifact)
    manifest = registry.read_manifest(folder)
    read = read_tuned(folder, manifest, trunk)
    if read.prefix is not None:
        raise ArtifactError(f"{folder} has a prefix, which an export cannot hold")
    out.mkdir(parents=True, exist_ok=True)
    if any(out.iterdir()):
        raise ArtifactError(f"{out} is not empty: name another folder")
    if kind == "int8":
        from models.openvino_engine import save

        save(read, out / "model.xml")
    else:
        _save(of_transformers(trunk, manifest, read), out, DTYPES[kind])
    for name in TOKENIZER:
        if (trunk / name).is_file():
            shutil.copyfile(trunk / name, out / name)
    registry.save_tensors(out / registry.HEADS, registry.read_tensors(folder / registry.HEADS))
    (out / "README.md").write_text(
        README.format(
            version=manifest.version,
            kind=kind,
            code=TOKENS.format(texts=_texts(manifest.text_prefix), most=manifest.max_tokens)
            + (OPENVINO if kind == "int8" else PLAIN),
            labels=", ".join(LABELS),
        ),
        encoding="utf-8",
    )
    return out


def _texts(prefix: str) -> str:
    return f"[{prefix!r} + text for text in texts]" if prefix else "texts"


def _save(model: Any, out: Path, dtype: str) -> None:
    import torch

    kind = getattr(torch, dtype)
    tensors = {name: each.to(kind).contiguous() for name, each in model.state_dict().items()}
    registry.save_tensors(out / WEIGHTS, tensors, {"format": "pt"})
    model.config.dtype, model.config.architectures = dtype, [type(model).__name__]
    model.config.to_json_file(out / CONFIG)
