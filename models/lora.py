"""LoRA on the trunk (2106.09685), by peft, and how its learning rate goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from models.registry import Adapter

LORA = Adapter(rank=16, alpha=32, targets=("query", "key", "value", "dense"))
WARM_UP_SHARE = 0.08


def with_lora(trunk: Any, frozen_layers: int = 0) -> Any:
    """The trunk with LoRA matrices from layer `frozen_layers` on; they alone are trained."""
    from peft import LoraConfig, get_peft_model

    layers = list(range(frozen_layers, trunk.config.num_hidden_layers))
    # The trunk stays in evaluation mode, as loaded: its own dropout is off.
    config = LoraConfig(
        r=LORA.rank,
        lora_alpha=LORA.alpha,
        lora_dropout=0.0,
        target_modules=list(LORA.targets),
        layers_to_transform=layers if frozen_layers else None,
        layers_pattern="layer" if frozen_layers else None,
        bias="none",
    )
    return get_peft_model(trunk, config)


def warm_up_then_down(steps: int) -> Callable[[int], float]:
    """Factor of the learning rate at a step: up in 8 % of the steps, then down to 0."""
    warm = max(1, int(WARM_UP_SHARE * steps))
    return lambda step: min((step + 1) / warm, max(0.0, (steps - step) / (steps - warm + 1)))
