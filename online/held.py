"""Held: a model's arrays as one object.

At every call of a kernel numba looks at each array of a tuple: 17 µs for a model of eighty, as
long as some interactions take to learn. A `Held` is one pointer; the kernel finds the tuple inside.
It has to be made anew when the model is another tuple, because something has grown.
"""

from __future__ import annotations

from typing import Any

from numba import types
from numba.experimental import structref

from online.kernels import kernel


@structref.register
class HeldType(types.StructRef):  # type: ignore[misc]
    """Its type in kernels; the field is `model`."""


class Held(structref.StructRefProxy):  # type: ignore[misc]
    """A model on its way into kernels; make one with `hold`."""


structref.define_constructor(Held, HeldType, ["model"])
structref.define_boxing(HeldType, Held)


@kernel()
def hold(model: Any) -> Held:
    """The model, as one object."""
    return Held(model)
