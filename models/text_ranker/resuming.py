"""What a training keeps after every pass, so that one that was interrupted goes on.

One safetensors file: parameters, the best ones so far and AdamW's moments, with the state in its
header. It belongs to one plan, one set of pairs and one set of texts.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import torch
from msgspec import Struct
from torch import Tensor

from models.registry import save_tensors
from models.text_ranker.evaluation import Quality

FILE = "resume.safetensors"
HEADER = "springtide"
MOMENTS = ("exp_avg", "exp_avg_sq")


class State(Struct, frozen=True):
    """How far it is: passes done, the best one, the validation at first, and at the best."""

    mark: str
    before: Quality
    validation: Quality
    passes: int = 0
    best: int = 0
    seconds: float = 0.0


def write(
    folder: Path,
    state: State,
    parameters: list[torch.nn.Parameter],
    best: list[Tensor],
    optimiser: torch.optim.Optimizer,
) -> None:
    """Keep it; the file is whole at any moment."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors: dict[str, Tensor] = {}
    for number, (each, then) in enumerate(zip(parameters, best, strict=True)):
        tensors |= {f"now.{number}": each.detach().clone(), f"best.{number}": then.clone()}
        moments = optimiser.state[each]
        tensors |= {f"{name}.{number}": moments[name].clone() for name in (*MOMENTS, "step")}
    partial = folder / f"{FILE}.partial"
    save_tensors(partial, tensors, {HEADER: msgspec.json.encode(state).decode()})
    partial.replace(folder / FILE)


def read(
    folder: Path,
    mark: str,
    parameters: list[torch.nn.Parameter],
    optimiser: torch.optim.Optimizer,
) -> tuple[State, list[Tensor]] | None:
    """Put parameters and moments back; the state, and the best parameters. None: nothing fits."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(folder / FILE, "pt") as file:
            state = msgspec.json.decode((file.metadata() or {})[HEADER], type=State)
            if state.mark != mark:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, msgspec.MsgspecError):
        return None
    for number, each in enumerate(parameters):
        each.data.copy_(tensors[f"now.{number}"])
        optimiser.state[each] = {
            name: tensors[f"{name}.{number}"].to("cpu" if name == "step" else each.device)
            for name in (*MOMENTS, "step")
        }
    return state, [tensors[f"best.{number}"] for number in range(len(parameters))]


def remove(folder: Path) -> None:
    """The training is over."""
    (folder / FILE).unlink(missing_ok=True)
