"""Global context block: one summary of the map, transformed and given to every position.

Y. Cao, J. Xu, S. Lin, F. Wei, H. Hu, "GCNet: Non-local Networks Meet Squeeze-Excitation Networks and Beyond", ICCVW
2019, arXiv:1904.11492.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from saccade.errors import SaccadeWarning
from saccade.keras.context import Context
from saccade.keras.pieces import as_torch, dense, kaiming, layer_norm
from saccade.keras.reading import spread
from saccade.mechanisms.rules import choose, several
from saccade.mechanisms.widths import context_width


@keras.saving.register_keras_serializable(package="saccade")
class GlobalContext(Context):
    """Add to each position, or scale it by, numbers computed from a weighted mean of all.

    The Keras layer of :class:`saccade.mechanisms.gc.GlobalContext`, which states equation, options and sources.
    """

    key, label = "gc", "GC"

    def __init__(
        self,
        *,
        ratio: float | None = None,
        pooling: str = "att",
        fusion: Sequence[str] | str | None = None,
        variant: str = "official",
        inner_channels: int | None = None,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        options = {
            "ratio": ratio, "pooling": pooling, "fusion": fusion, "variant": variant, "inner_channels": inner_channels,
        }  # fmt: skip
        super().__init__(options, data_format, layer, dims)
        choose(self.label, "variant", variant, ("official", "timm"))
        choose(self.label, "pooling", pooling, ("att", "avg"))
        default = ("mul",) if variant == "timm" else ("add",)
        given = default if fusion is None else fusion
        self.fusion = tuple(sorted(several(self.label, "fusion", given, ("add", "mul"))))
        self._width(1)

    def assemble(self, channels: int) -> None:
        width, timm = self._width(channels), self.options["variant"] == "timm"
        start = kaiming("fan_in")
        self.mask = None
        if self.options["pooling"] == "att":
            self.mask = self.mask_of(channels, start, None if not timm else as_torch(channels))
        parts = {name: Transform(channels, width, timm, name == "add", name=name, dtype=self.dtype_policy)
                 for name in self.fusion}  # fmt: skip
        self.add, self.mul = parts.get("add"), parts.get("mul")
        for part in parts.values():
            part.build()
        if width == 1:
            warnings.warn(
                f"GC: {channels} channels leave one hidden channel, whose norm is a constant: the context has no "
                "effect; give a larger ratio",
                SaccadeWarning,
                stacklevel=3,
            )

    @property
    def starts_as_identity(self) -> bool:
        return bool(self.options["variant"] == "official" and self.fusion == ("add",))

    def start_open(self) -> None:
        for transform in (self.add, self.mul):
            if transform is not None:
                start = as_torch(transform.width)
                expand: Any = transform.expand  # built with a bias
                for weight in (expand.kernel, expand.bias):
                    weight.assign(start(weight.shape, dtype=weight.dtype))

    def compute(self, x: Any, training: bool) -> Any:
        context = ops.cast(self.context(x), x.dtype)
        y = x if self.mul is None else x * spread(ops.sigmoid(self.mul(context)), x)
        return y if self.add is None else y + spread(self.add(context), x)

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the channel gate, (B, C), if the block multiplies; nothing if it only adds."""
        x = self.view(x)
        return {} if self.mul is None else {"channel": ops.sigmoid(self.mul(ops.cast(self.context(x), x.dtype)))}

    def _width(self, channels: int) -> int:
        given = self.options
        return context_width(self.label, channels, given["ratio"], given["inner_channels"], given["variant"])


class Transform(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Compute one number per channel from the context, through a narrow normalised layer."""

    def __init__(self, channels: int, width: int, timm: bool, added: bool, **layer: Any) -> None:
        super().__init__(**layer)
        self.channels, self.width, self.timm, self.added = channels, width, timm, added

    def build(self, input_shape: Any = None) -> None:
        self.reduce = dense(self, "reduce", self.channels, self.width)
        self.norm = layer_norm(self, "norm", self.width, eps=1e-6 if self.timm else 1e-5)
        zero = "zeros" if self.added or not self.timm else None
        random = as_torch(self.width) if self.timm else None  # timm leaves the bias as it starts
        self.expand = dense(self, "expand", self.width, self.channels, start=zero, bias_start=random)

    def call(self, context: Any) -> Any:
        """Compute the numbers."""
        return self.expand(ops.relu(self.norm(self.reduce(context))))
