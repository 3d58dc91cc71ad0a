"""The layers that the Keras mechanisms are made of: those of Keras, with PyTorch's starts, paddings and statistics.

Sublayers carry the names that the PyTorch modules have, so that weights map by name, see :mod:`saccade.keras.weights`.
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
from keras import ops

from saccade.keras.modes import exported

HALVES = ("float16", "bfloat16")


def wide(x: Any) -> Any:
    """Return the tensor in float32, or unchanged if its precision is at least that."""
    return ops.cast(x, "float32") if keras.backend.standardize_dtype(x.dtype) in HALVES else x


def mean_over(x: Any, axes: tuple[int, ...], *, keepdims: bool = False) -> Any:
    """Return the mean over axes, of float32 or better, where Keras computes that of float64 in float32."""
    count = math.prod(size for axis in axes if (size := x.shape[axis]) is not None)
    for axis in axes:
        if x.shape[axis] is None:
            count = ops.cast(ops.shape(x)[axis], x.dtype) * count
    return ops.sum(x, axis=axes, keepdims=keepdims) / count


def multiply(first: Any, second: Any) -> Any:
    """Return the product over the last axis of (..., K) with (K, M), or of (..., N, K) with (..., K, M).

    That of Keras computes in float32 for float64 on the PyTorch backend, but its sum of products does not.
    """
    if keras.backend.standardize_dtype(first.dtype) != "float64":
        return ops.matmul(first, second)
    return ops.einsum("...k,km->...m" if len(second.shape) == 2 else "...nk,...km->...nm", first, second)


def softmax(x: Any, axis: int) -> Any:
    """Return the softmax over an axis; over an axis of 1, of which Keras warns, ones.

    What is written to a file keeps it: Keras may trace a network of free sizes on a map of one position.
    """
    if x.shape[axis] != 1:
        return ops.softmax(x, axis=axis)
    if not exported():
        return ops.ones_like(x)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "You are using a softmax over axis")
        return ops.softmax(x, axis=axis)


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
) -> Dense:
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
    layer = Dense(
        (channels, out_channels),
        as_torch(channels) if start is None else start,
        _start_of_bias(start, bias_start, channels) if bias else None,
        name=name,
        dtype=owner.dtype_policy if policy is None else policy,
    )
    layer.build()
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
) -> Conv:
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
    inputs = channels // groups
    fan_in = inputs * math.prod(size)
    layer = Conv(
        (*size, inputs, out_channels),
        as_torch(fan_in) if start is None else start,
        _start_of_bias(start, bias_start, fan_in) if bias else None,
        stride=stride,
        dilation=dilation,
        name=name,
        dtype=owner.dtype_policy,
    )
    layer.build()
    return layer


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
) -> LayerNorm:
    """Return a built layer normalisation over the last axis, with PyTorch's epsilon."""
    layer = LayerNorm(epsilon=eps, name=name, dtype=owner.dtype_policy if policy is None else policy)
    layer.build((None, channels))
    return layer


class Kernel(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """A kernel of a convolution that its mechanism applies in a form of its own."""

    def __init__(self, shape: tuple[int, ...], start: Any, **layer: Any) -> None:
        super().__init__(**layer)
        self.kernel_shape, self.start = shape, start

    def build(self, input_shape: Any = None) -> None:
        self.kernel = self.add_weight(shape=self.kernel_shape, initializer=self.start, name="kernel")


class Biased(Kernel):
    """A kernel, and a bias of its last axis if `bias_start` is not None."""

    def __init__(self, shape: tuple[int, ...], start: Any, bias_start: Any, **layer: Any) -> None:
        super().__init__(shape, start, **layer)
        self.bias_start = bias_start

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.bias = None
        if self.bias_start is not None:
            self.bias = self.add_weight(shape=self.kernel_shape[-1:], initializer=self.bias_start, name="bias")

    def biased(self, y: Any) -> Any:
        """Return the sum with the bias."""
        return y if self.bias is None else y + ops.cast(self.bias, y.dtype)


class Dense(Biased):
    """A linear layer over the last axis: Keras's own, but for float64, in which that one computes in float32."""

    def call(self, x: Any) -> Any:
        """Multiply."""
        return self.biased(multiply(x, ops.cast(self.kernel, x.dtype)))


class Conv(Biased):
    """A convolution of maps with channels last, padded by half of its reach on both sides, as in PyTorch.

    Keras's own layers pad for a stride above 1 by other amounts before and after, and refuse such a stride together
    with a dilation.
    """

    def __init__(
        self, shape: tuple[int, ...], start: Any, bias_start: Any, *, stride: int, dilation: int, **layer: Any
    ) -> None:
        super().__init__(shape, start, bias_start, **layer)
        self.stride, self.dilation = stride, dilation

    def call(self, x: Any) -> Any:
        """Convolve."""
        sides = self.kernel_shape[:-2]
        # Laid out as PyTorch's kernels are: in float64 its backward pass refuses a view of another order.
        forth, back = (len(sides) + 1, len(sides), *range(len(sides))), (*range(2, len(sides) + 2), 1, 0)
        kernel = ops.transpose(ops.cast(self.kernel, x.dtype), forth)
        kernel = ops.transpose(ops.reshape(ops.reshape(kernel, (-1,)), kernel.shape), back)
        strided = self.stride > 1 and self.dilation == 1
        if strided:
            x = ops.pad(x, [(0, 0), *((side // 2, side // 2) for side in sides), (0, 0)])
        y = ops.conv(
            x,
            kernel,
            strides=self.stride if strided else 1,
            padding="valid" if strided else "same",
            dilation_rate=self.dilation,
            data_format="channels_last",
        )
        if self.stride > 1 and not strided:
            step = slice(None, None, self.stride)
            y = y[(slice(None), *(step for _ in sides))]
        return self.biased(y)


@keras.saving.register_keras_serializable(package="saccade")
class BatchNorm(keras.layers.BatchNormalization):  # type: ignore[misc]  # Keras has no types
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
            mean = mean_over(x, axes)
            centred = x - mean
            variance = mean_over(ops.square(centred), axes)
            count = ops.cast(ops.prod(ops.cast(ops.stack(ops.shape(x)[:-1]), "int32")), x.dtype)
            unbiased = variance * (count / ops.maximum(count - 1, 1))
            for kept, new in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
                kept.assign(kept * self.momentum + ops.cast(new, kept.dtype) * (1 - self.momentum))
        else:
            centred = x - ops.cast(self.moving_mean, x.dtype)
            variance = ops.cast(self.moving_variance, x.dtype)
        y = centred * (gamma * ops.rsqrt(variance + self.epsilon)) + beta
        return ops.cast(y, self.compute_dtype)


class LayerNorm(keras.layers.LayerNormalization):  # type: ignore[misc]  # Keras has no types
    """Layer normalisation over the last axis: Keras's own, but for float64, in which that one computes in float32."""

    def call(self, inputs: Any) -> Any:
        """Normalise."""
        x = wide(inputs)
        centred = x - mean_over(x, (-1,), keepdims=True)
        variance = mean_over(ops.square(centred), (-1,), keepdims=True)
        gamma, beta = (ops.cast(weight, x.dtype) for weight in (self.gamma, self.beta))
        return ops.cast(centred * ops.rsqrt(variance + self.epsilon) * gamma + beta, self.compute_dtype)


def _start_of_bias(start: Any, bias_start: Any, fan_in: int) -> Any:
    if bias_start is not None:
        return bias_start
    return as_torch(fan_in) if start is None else "zeros"
