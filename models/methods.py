"""Ways to fine-tune the trunk: which weights move, and what of them an artifact keeps.

`lora` (2106.09685) is the measured one. `adalora` (2303.10512) gives each matrix as many of 24
directions as its gradients call for, 16 on average. `prefix` (2101.00190) puts 16 trained keys and
values before the text in every layer. `full` moves every layer's weights, at 43 MB an artifact;
the embeddings stay, four fifths of the trunk, or rare words would drift apart from frequent ones.
`head` leaves the trunk alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

from models.errors import ModelError
from models.registry import Adapter

if TYPE_CHECKING:
    import torch

Method = Literal["lora", "adalora", "prefix", "full", "head"]
METHODS: tuple[Method, ...] = get_args(Method)
RATES: Mapping[str, float] = {"lora": 8e-4, "adalora": 2e-3, "prefix": 1e-2, "full": 1e-4}

LORA = Adapter(rank=16, alpha=32, targets=("query", "key", "value", "dense"))
WIDEST, STARTING, SETTLED = 24, 0.1, 0.3  # of AdaLoRA: directions, and shares of the steps
ORTHOGONAL = 0.1  # how hard AdaLoRA's directions are held apart
PREFIX_TOKENS = 16
WARM_UP_SHARE = 0.08


def prepared(trunk: Any, method: Method, frozen_layers: int = 0) -> Any:
    """The trunk as this method trains it, from layer `frozen_layers` on.

    It stays in evaluation mode, as loaded: its own dropout is off.

    Raises:
        ModelError: no layer is left to train.
    """
    depth = trunk.config.num_hidden_layers
    if method not in {"prefix", "head"} and frozen_layers >= depth:  # peft would train all of them
        raise ModelError(f"{frozen_layers} frozen layers of {depth}: leave one to train")
    if method == "full":
        for layer in trunk.encoder.layer[frozen_layers:]:
            layer.requires_grad_(True)
    if method in {"full", "head"}:
        return trunk
    from peft import PrefixTuningConfig, get_peft_model

    if method == "prefix":
        config: Any = PrefixTuningConfig(
            task_type="FEATURE_EXTRACTION", num_virtual_tokens=PREFIX_TOKENS
        )
    else:
        config = _low_rank(method, depth, frozen_layers)
    return get_peft_model(trunk, config)


def _low_rank(method: Method, layers: int, frozen_layers: int) -> Any:
    from peft import AdaLoraConfig, LoraConfig

    shared: dict[str, Any] = {
        "lora_alpha": LORA.alpha,
        "lora_dropout": 0.0,
        "target_modules": list(LORA.targets),
        "layers_to_transform": list(range(frozen_layers, layers)) if frozen_layers else None,
        "layers_pattern": "layer" if frozen_layers else None,
        "bias": "none",
    }
    if method == "lora":
        return LoraConfig(r=LORA.rank, **shared)
    # The steps are known once the rows are in batches: see `begin`.
    return AdaLoraConfig(init_r=WIDEST, target_r=LORA.rank, total_step=1, **shared)


def begin(trunk: Any, method: Method, steps: int) -> None:
    """Tell AdaLoRA how many steps it has to find the directions that matter."""
    if method == "adalora":
        config = trunk.peft_config["default"]
        config.total_step = steps
        config.tinit, config.tfinal = int(STARTING * steps), int(SETTLED * steps)
        trunk.base_model.rankallocator.set_total_step(steps)


def stepped(trunk: Any, method: Method, step: int) -> None:
    """After a step of the optimiser, before its gradients are cleared."""
    if method == "adalora":
        trunk.base_model.update_and_allocate(step)


def penalty(trunk: Any, method: Method) -> torch.Tensor | float:
    """What joins the loss: AdaLoRA's ‖AAᵀ - I‖ + ‖BᵀB - I‖, mean over the matrices."""
    if method != "adalora":
        return 0.0
    import torch

    gaps = []
    for name, each in trunk.named_parameters():
        if "lora_A" in name or "lora_B" in name:
            product = each @ each.T if "lora_A" in name else each.T @ each
            gaps.append((product - torch.eye(len(product), device=product.device)).norm())
    return ORTHOGONAL * torch.stack(gaps).mean()


def kept(trunk: Any, method: Method) -> tuple[Adapter | None, dict[str, torch.Tensor]]:
    """What the artifact says of the adapter, and the tensors that it keeps.

    Names of tensors: peft's for LoRA, `prefix` for the prefix [tokens · layers · 2, hidden], the
    trunk's own for full fine-tuning.
    """
    own = {name: each for name, each in trunk.named_parameters() if each.requires_grad}
    if method == "lora":
        return LORA, {name.replace(".default.", "."): each for name, each in own.items()}
    if method == "adalora":
        # The matrices of `_as_lora` carry their scale: alpha / rank is 1.
        return Adapter(1, 1, LORA.targets), _as_lora(trunk, own)
    if method == "prefix":
        # Rows of one key or value each: in eight bits every row has a scale of its own.
        rows = next(iter(own.values())).detach()
        return None, {"prefix": rows.reshape(-1, trunk.config.hidden_size)}
    return None, own


def _as_lora(trunk: Any, own: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """AdaLoRA's B · diag(E) · A as LoRA's B · A, without the directions that were given up."""
    found = {}
    for name in [each for each in own if "lora_E" in each]:
        module = trunk.get_submodule(name.removesuffix(".lora_E.default"))
        sizes = own[name].detach()
        live = sizes[:, 0] != 0
        if not bool(live.any()):
            continue
        scale = module.scaling["default"] / float(module.ranknum["default"])
        down, up = (own[name.replace("lora_E", matrix)].detach() for matrix in ("lora_A", "lora_B"))
        key = name.removesuffix(".lora_E.default")
        found[f"{key}.lora_A.weight"] = scale * (sizes * down)[live]
        found[f"{key}.lora_B.weight"] = up[:, live].contiguous()
    return found


def warm_up_then_down(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step: up in 8 % of the steps, then down to 0."""
    warm = max(1, int(WARM_UP_SHARE * steps))
    return lambda step: min((step + 1) / warm, max(0.0, (steps - step) / (steps - warm + 1)))
