"""The layers that the Keras mechanisms are made of: those of Keras, with PyTorch's starts, paddings and statistics.

Sublayers carry the names that the PyTorch modules have, so that weights map by name, see :mod:`saccade.keras.weights`.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

HALVES = ("float16", "bfloat16")


def wide(x: Any) -> Any:
    """Return the tensor in float32, or unchanged if its precision is at least that."""
    return ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in HALVES else x


def wide_policy(layer: keras.layers.Layer) -> keras.DTypePolicy:
    """Return the policy of sublayers that compute in float32 at least, whatever that of `layer`."""
    policy: keras.DTypePolicy = layer.dtype_policy
    return keras.DTypePolicy("float32") if policy.compute_dtype in HALVES else policy


def as_torch(fan_in: int) -> keras.initializers.Initializer:
    """Return PyTorch's start of a layer: uniform within the inverse root of the fan-in."""
    bound = 1 / math.sqrt(fan_in)
    return keras.initializers.RandomUniform(-bound, bound)


def kaiming(mode: str) -> keras.initializers.Initializer:
    """Return a Kaiming normal start, for ``"fan_in"`` or ``"fan_out"``."""
    return keras.initializers.VarianceScaling(2.0, mode, "untruncated_normal")


def dense(
    owner: keras.layers.Layer,
    name: str,
    channels: int,
    out_channels: int,
    *,
    bias: bool = True,
    start: Any = None,
    bias_start: Any = None,
    policy: keras.DTypePolicy | None = None,
) -> keras.layers.Dense:
    """Return a built layer over the last axis: a linear layer, and a 1x1 convolution of maps with channels last.

    Args:
        owner: Layer that it is a part of; gives the precision.
        name: Name, that of the PyTorch layer.
        channels: Length of the last axis of its input.
        out_channels: Length of the last axis of its output.
        bias: If True, it has a bias.
        start: Initializer of the kernel; None means PyTorch's.
        bias_start: Initializer of the bias; None means PyTorch's, or 0 if `start` is given.
        policy: Precision, if it differs from that of `owner`.
    """
    layer = keras.layers.Dense(
        out_channels,
        use_bias=bias,
        kernel_initializer=as_torch(channels) if start is None else start,
        bias_initializer=_start_of_bias(start, bias_start, channels),
        name=name,
        dtype=owner.dtype_policy if policy is None else policy,
    )
    layer.build((None, channels))
    return layer


def conv(
    owner: keras.layers.Layer,
    name: str,
    channels: int,
    out_channels: int,
    size: tuple[int, ...],
    *,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    bias: bool = True,
    start: Any = None,
    bias_start: Any = None,
) -> keras.layers.Layer:
    """Return a built convolution of maps with channels last, padded as in PyTorch: by half of its reach on both sides.

    Args:
        owner: Layer that it is a part of; gives the precision.
        name: Name, that of the PyTorch layer.
        channels: Channels of its input.
        out_channels: Channels of its output.
        size: Sides of the kernel, all odd.
        stride: Step on every axis.
        dilation: Distance between the positions that a kernel weighs.
        groups: Groups of channels that are convolved separately.
        bias: If True, it has a bias.
        start: Initializer of the kernel; None means PyTorch's.
        bias_start: Initializer of the bias; None means PyTorch's, or 0 if `start` is given.
    """
    fan_in = channels // groups * math.prod(size)
    layer = _CONVS[len(size)](
        out_channels,
        size,
        strides=stride,
        # "same" of a larger stride pads before and after by other amounts than PyTorch; see `padded`.
        padding="same" if stride == 1 else "valid",
        data_format="channels_last",
        dilation_rate=dilation,
        groups=groups,
        use_bias=bias,
        kernel_initializer=as_torch(fan_in) if start is None else start,
        bias_initializer=_start_of_bias(start, bias_start, fan_in),
        name=name,
        dtype=owner.dtype_policy,
    )
    layer.build((None,) * (len(size) + 1) + (channels,))
    return layer


def padded(x: Any, layer: keras.layers.Layer) -> Any:
    """Return the map with the zeros that the convolution needs around it: none if it pads by itself."""
    if layer.padding == "same":
        return x
    reach = [rate * (side // 2) for side, rate in zip(layer.kernel_size, layer.dilation_rate, strict=True)]
    return ops.pad(x, [(0, 0), *((side, side) for side in reach), (0, 0)])


def norm(
    owner: keras.layers.Layer, name: str, channels: int, *, momentum: float = 0.1, eps: float = 1e-5, start: float = 1.0
) -> BatchNorm:
    """Return a built batch normalisation over the last axis.

    Args:
        owner: Layer that it is a part of; gives the precision.
        name: Name, that of the PyTorch layer.
        channels: Length of the last axis.
        momentum: Fraction by which new statistics replace the old, PyTorch's momentum: 1 minus that of Keras.
        eps: Number added to the variance.
        start: Initial weight.
    """
    layer = BatchNorm(
        momentum=1 - momentum,
        epsilon=eps,
        gamma_initializer=keras.initializers.Constant(start),
        name=name,
        dtype=owner.dtype_policy,
    )
    layer.build((None, channels))
    return layer


def layer_norm(
    owner: keras.layers.Layer, name: str, channels: int, *, eps: float = 1e-5, policy: keras.DTypePolicy | None = None
) -> keras.layers.LayerNormalization:
    """Return a built layer normalisation over the last axis, with PyTorch's epsilon."""
    dtype = owner.dtype_policy if policy is None else policy
    layer = keras.layers.LayerNormalization(epsilon=eps, name=name, dtype=dtype)
    layer.build((None, channels))
    return layer


class Kernel(keras.layers.Layer):
    """A kernel of a convolution that its mechanism applies in a form of its own."""

    def __init__(self, shape: tuple[int, ...], start: Any, **layer: Any) -> None:
        super().__init__(**layer)
        self.shape, self.start = shape, start

    def build(self, input_shape: Any = None) -> None:
        self.kernel = self.add_weight(shape=self.shape, initializer=self.start, name="kernel")


@keras.saving.register_keras_serializable(package="saccade")
class BatchNorm(keras.layers.BatchNormalization):
    """Batch normalisation over all axes but the last, whose moving variance is the unbiased one, as in PyTorch.

    Keras normalises by the biased variance and keeps that; PyTorch normalises by it too and keeps
    :math:`n / (n - 1)` times it.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        self.input_spec = None  # any number of axes

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalise; in training also update the moving statistics."""
        x = wide(inputs)
        gamma, beta = (ops.cast(weight, x.dtype) for weight in (self.gamma, self.beta))
        if training and self.trainable:
            axes = tuple(range(len(x.shape) - 1))
            mean = ops.mean(x, axis=axes)
            centred = x - mean
            variance = ops.mean(ops.square(centred), axis=axes)
            count = ops.cast(ops.prod(ops.cast(ops.stack(ops.shape(x)[:-1]), "int32")), x.dtype)
            unbiased = variance * (count / ops.maximum(count - 1, 1))
            for kept, new in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
                kept.assign(kept * self.momentum + ops.cast(new, kept.dtype) * (1 - self.momentum))
        else:
            centred = x - ops.cast(self.moving_mean, x.dtype)
            variance = ops.cast(self.moving_variance, x.dtype)
        y = centred * (gamma * ops.rsqrt(variance + self.epsilon)) + beta
        return ops.cast(y, self.compute_dtype)


_CONVS = {1: keras.layers.Conv1D, 2: keras.layers.Conv2D, 3: keras.layers.Conv3D}


def _start_of_bias(start: Any, bias_start: Any, fan_in: int) -> Any:
    if bias_start is not None:
        return bias_start
    return as_torch(fan_in) if start is None else "zeros"
