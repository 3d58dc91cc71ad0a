"""Selective kernels: branches of different reach, mixed by a softmax for each channel.

X. Li, W. Wang, X. Hu, J. Yang, "Selective Kernel Networks", CVPR 2019, arXiv:1903.06586.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.pieces import conv, dense, norm, softmax
from saccade.keras.reading import mean, spread
from saccade.mechanisms.rules import choose, positive
from saccade.mechanisms.widths import kernels


@keras.saving.register_keras_serializable(package="saccade")
class SelectiveKernel(Mechanism):
    """Convolve with kernels of different reach, and mix the results channel by channel.

    The Keras layer of :class:`saccade.mechanisms.sk.SelectiveKernel`, which states equation, options and sources.
    """

    key, label = "sk", "SK"

    def __init__(
        self,
        *,
        groups: int | None = None,
        branches: int = 2,
        stride: int = 1,
        second: str | None = None,
        variant: str = "official",
        split: bool | None = None,
        out_channels: int | None = None,
        inner_channels: int | None = None,
        data_format: str | None = None,
        dims: int = 2,
        **layer: Any,
    ) -> None:
        options = {
            "groups": groups, "branches": branches, "stride": stride, "second": second, "variant": variant,
            "split": split, "out_channels": out_channels, "inner_channels": inner_channels,
        }  # fmt: skip
        super().__init__(options, data_format, layer, dims)
        choose(self.label, "variant", variant, ("official", "popular", "timm"))
        positive(self.label, branches=branches, stride=stride)
        if out_channels is not None:
            positive(self.label, out_channels=out_channels)
        if branches < 2:
            raise InputError(f"{self.label}: `branches` must be at least 2, to select from; received {branches}")
        self._decided(1)

    def assemble(self, channels: int) -> None:
        given, decided, out = self.options, self._decided(channels), self._out(channels)
        popular, branches = given["variant"] == "popular", given["branches"]
        width = self._width_of_a_branch(channels)
        self.convs = []
        for index in range(branches):
            grouped = decided.second == "grouped"
            reach = 1 if grouped else index + 1
            side = 2 * reach + 1 if decided.second == "5x5" else 3
            self.convs.append(
                conv(
                    self, f"convs_{index}", width, out, (side,) * self.dims, stride=given["stride"],
                    dilation=reach if decided.second == "dilated" else 1,
                    groups=1 if grouped and index == 0 else decided.groups, bias=popular,
                )
            )  # fmt: skip
        start = keras.initializers.RandomNormal(stddev=0.01) if given["variant"] == "official" else None
        self.norms = [norm(self, f"norms_{index}", out) for index in range(branches)]
        self.reduce = dense(self, "reduce", out, decided.inner_channels, bias=popular, start=start)
        self.reduce_norm = None if popular else norm(self, "reduce_norm", decided.inner_channels)
        widths = [out] * branches if popular else [out * branches]
        self.select = [
            dense(self, f"select_{i}", decided.inner_channels, width, bias=popular, start=start)
            for i, width in enumerate(widths)
        ]

    def compute(self, x: Any, training: bool) -> Any:
        maps = self._maps(x, training)
        shares = self._shares(maps, training)
        return ops.cast(sum(spread(shares[:, i], u) * u for i, u in enumerate(maps)), x.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        first = self.data_format == "channels_first"
        batch, *rest = input_shape
        channels, sizes = (rest[0], rest[1:]) if first else (rest[-1], rest[:-1])
        stride = self.options["stride"]
        sizes = [None if size is None else (size - 1) // stride + 1 for size in sizes]
        out = self._out(channels)
        return (batch, out, *sizes) if first else (batch, *sizes, out)

    def shares(self, x: Any) -> Any:
        """Return the weights of each channel over the branches, (B, branches, C); they sum to 1."""
        return self._shares(self._maps(self.view(x), False), False)

    def gates(self, x: Any) -> dict[str, Any]:
        """Return the fraction of each channel that comes from the wider branches, not from the plain 3x3: (B, C)."""
        return {"channel": ops.minimum(ops.sum(self.shares(x)[:, 1:], axis=1), 1.0)}

    def check(self, shape: tuple[int | None, ...], training: bool) -> None:
        if not training or shape[0] != 1:
            return
        if self.options["variant"] != "popular":
            raise InputError(
                f"{self.label}: in training the norm on z needs more than one sample; received shape {shape}",
                "take a larger batch, training=False, or variant='popular', which has no such norm",
            )
        if all(size is not None and size <= self.options["stride"] for size in shape[1:-1]):
            raise InputError(
                f"{self.label}: in training its norms need more than one position; received shape {shape}",
                "take a larger batch or map, or training=False",
            )

    def _out(self, channels: Any) -> Any:
        return self.options["out_channels"] or channels

    def _decided(self, channels: int) -> Any:
        names = ("groups", "second", "variant", "split", "inner_channels")
        return kernels(self.label, self._out(channels), **{name: self.options[name] for name in names})

    def _width_of_a_branch(self, channels: int) -> int:
        """Return the number of channels each branch reads; refuse a width that cannot be divided so."""
        decided, out, branches = self._decided(channels), self._out(channels), self.options["branches"]
        if decided.split and channels % branches:
            raise InputError(
                f"{self.label}: {channels} channels do not split into {branches} branches",
                "split=False gives every branch all channels",
            )
        width = channels // branches if decided.split else channels
        if out % decided.groups or width % decided.groups:
            raise InputError(
                f"{self.label}: `groups` must divide the channels each branch reads and writes; received groups="
                f"{decided.groups}, channels {width} and {out}",
                "give groups=1, or another divisor",
            )
        return width

    def _maps(self, x: Any, training: bool) -> list[Any]:
        branches = self.options["branches"]
        split = self._decided(self.channels or 1).split
        read = ops.split(x, branches, axis=-1) if split else [x] * branches
        return [
            ops.relu(normalise(convolve(part), training=training))
            for convolve, normalise, part in zip(self.convs, self.norms, read, strict=True)
        ]

    def _shares(self, maps: list[Any], training: bool) -> Any:
        z = self.reduce(ops.cast(mean(sum(maps)), maps[0].dtype))
        if self.reduce_norm is not None:
            z = ops.relu(self.reduce_norm(z, training=training))
        logits = ops.concatenate([layer(z) for layer in self.select], axis=1)
        return softmax(ops.reshape(logits, (-1, self.options["branches"], self._out(self.channels))), axis=1)
