"""Names of what Keras layers and operations compute, in the words of the traced operations of PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from saccade.insertion.trace import Window
from saccade.keras.insertion.walking import layers_in

_LAYOUTS = {"channels_last": "NHWC", "channels_first": "NCHW"}


@dataclass(frozen=True)
class Described:
    """One step of a layer.

    Args:
        name: Name of the operation.
        window: Kernel, stride and dilation of a convolution or pooling.
        layout: Order of the axes that the layer was made for; None if it works in any.
        dims: New order of the axes.
    """

    name: str
    window: Window | None = None
    layout: str | None = None
    dims: tuple[int, ...] = ()


# Classes of layers and operations, subclasses included, and the word for what they compute.
_WORDS = {
    "BatchNormalization": "native_batch_norm", "LayerNormalization": "native_layer_norm",
    "GroupNormalization": "native_group_norm", "UnitNormalization": "native_layer_norm",
    "RMSNormalization": "rms_norm", "Normalization": "mul", "Rescaling": "mul",
    "Add": "add", "Subtract": "sub", "Multiply": "mul", "Divide": "div", "TrueDivide": "div", "Concatenate": "cat",
    "Maximum": "maximum", "Minimum": "minimum", "Average": "average", "Dot": "bmm",
    "Dense": "mm", "EinsumDense": "einsum", "Matmul": "matmul", "Einsum": "einsum",
    "ZeroPadding1D": "constant_pad_nd", "ZeroPadding2D": "constant_pad_nd", "ZeroPadding3D": "constant_pad_nd",
    "Pad": "constant_pad_nd", "Cropping2D": "slice", "Cropping1D": "slice", "Cropping3D": "slice", "GetItem": "slice",
    "Resizing": "upsample_bilinear2d", "Resize": "upsample_bilinear2d",
    "Reshape": "view", "Flatten": "flatten", "Squeeze": "squeeze", "ExpandDims": "unsqueeze",
    "BaseGlobalPooling": "mean", "Mean": "mean", "Sum": "sum", "Max": "amax",
    "MultiHeadAttention": "scaled_dot_product_attention", "GroupedQueryAttention": "scaled_dot_product_attention",
    "Attention": "scaled_dot_product_attention", "DotProductAttention": "scaled_dot_product_attention",
    "RNN": "recurrence", "Bidirectional": "recurrence",
    "Softmax": "softmax", "Sigmoid": "sigmoid", "HardSigmoid": "hardsigmoid", "Tanh": "tanh", "Relu6": "hardtanh",
    "Clip": "clamp",
}  # fmt: skip
_CONVOLUTIONS = frozenset(("BaseConv", "BaseDepthwiseConv", "BaseSeparableConv"))
_PASSING = frozenset(
    ("Dropout", "SpatialDropout", "GaussianNoise", "GaussianDropout", "AlphaDropout", "ActivityRegularization",
     "Identity", "StochasticDepth", "DropPath")
)  # fmt: skip
_NO_ACTIVATION = ("linear", "identity")
_ACTIVATIONS = {"hard_sigmoid": "hardsigmoid", "relu6": "hardtanh", "log_softmax": "_log_softmax"}


def is_passing(operation: Any) -> bool:
    """Return whether a layer passes its input on outside of training: dropout, or no activation at all."""
    names = _parents(operation)
    if "Activation" in names:
        return _activation(operation) is None
    return any(name.rstrip("123D") in _PASSING for name in names)


def describe(operation: Any, args: Any) -> list[Described]:
    """Return the steps of a layer or operation.

    Args:
        operation: A layer, or an operation of `keras.ops` in the graph.
        args: Its arguments.
    """
    names = _parents(operation)
    layout = _LAYOUTS.get(getattr(operation, "data_format", None) or "")
    activation = _activation(operation) if isinstance(operation, keras.layers.Layer) else None
    after = [Described(activation)] if activation else []
    if "Activation" in names:
        return after or [Described("alias")]
    if "BaseConvTranspose" in names:
        return [Described("conv_transpose", None, layout), *after]
    if _CONVOLUTIONS.intersection(names):
        return [Described("convolution", _window(operation), layout), *after]
    if names[0] in ("Conv", "DepthwiseConv", "SeparableConv"):
        return [Described("convolution", _of_kernel(operation, args), layout)]
    if "BasePooling" in names or names[0] in ("MaxPool", "AveragePool"):
        return [Described("max_pool2d" if "Max" in names[0] else "avg_pool2d", _pool(operation), layout)]
    if "ReLU" in names:
        return [Described("relu" if operation.max_value is None else "hardtanh")]
    if "UpSampling2D" in names:
        kind = "nearest" if operation.interpolation == "nearest" else "bilinear"
        return [Described(f"upsample_{kind}2d", None, layout)]
    if "Permute" in names:
        return [Described("permute", dims=(0, *operation.dims))]
    if names[0] in ("Transpose", "Moveaxis", "Swapaxes"):
        return [Described("permute", dims=_order(operation, args))]
    word = next((_WORDS[name] for name in names if name in _WORDS), None)
    if word:
        return [Described(word), *after]
    return composite(operation)


def is_known(operation: Any) -> bool:
    """Return whether the class of a layer or operation says what it computes."""
    names = _parents(operation)
    own = {"Activation", "BasePooling", "ReLU", "UpSampling2D", "Permute", "BaseConvTranspose", *_CONVOLUTIONS}
    return not isinstance(operation, keras.layers.Layer) or not (own | set(_WORDS)).isdisjoint(names)


def composite(operation: Any) -> list[Described]:
    """Return the steps of a layer with a call of its own: the largest convolution inside it, and something unknown."""
    unknown = Described(type(operation).__name__.lower())
    if not isinstance(operation, keras.layers.Layer):
        return [unknown]
    inside = layers_in(operation)[1:]
    convolutions = [part for part in inside if _CONVOLUTIONS.intersection(_parents(part))]
    if not convolutions:
        return [unknown]
    largest = max(convolutions, key=lambda part: max(part.kernel_size))
    layout = _LAYOUTS.get(getattr(largest, "data_format", None) or "")
    return [Described("convolution", _window(largest), layout), unknown]


def _parents(operation: Any) -> list[str]:
    return [parent.__name__ for parent in type(operation).__mro__]


def _activation(operation: Any) -> str | None:
    """Return the word for a layer's activation; None if it has none."""
    given = getattr(operation, "activation", None)
    if given is None:
        return None
    name = str(getattr(given, "__name__", None) or type(given).__name__).lower()
    return None if name in _NO_ACTIVATION else _ACTIVATIONS.get(name, name)


def _window(layer: Any) -> Window:
    kernel = _tuple(layer.kernel_size)
    return Window(kernel, _tuple(layer.strides, len(kernel)), _tuple(layer.dilation_rate, len(kernel)))


def _pool(operation: Any) -> Window:
    kernel = _tuple(operation.pool_size, 2)
    return Window(kernel, _tuple(operation.strides, len(kernel)), (1,) * len(kernel))


def _of_kernel(operation: Any, args: Any) -> Window:
    shape = tuple(args[1].shape) if len(args) > 1 else (3, 3, 1, 1)
    kernel = shape[:-2]
    strides = _tuple(getattr(operation, "strides", 1), len(kernel))
    return Window(kernel, strides, _tuple(getattr(operation, "dilation_rate", 1), len(kernel)))


def _order(operation: Any, args: Any) -> tuple[int, ...]:
    rank = len(args[0].shape)
    kind = type(operation).__name__
    order = list(range(rank))
    if kind == "Transpose":
        axes = operation.axes
        return tuple(axis % rank for axis in axes) if axes else tuple(reversed(order))
    if kind == "Swapaxes":
        a, b = operation.axis1 % rank, operation.axis2 % rank
        order[a], order[b] = order[b], order[a]
        return tuple(order)
    source, target = _tuple(operation.source), _tuple(operation.destination)
    rest = [axis for axis in order if axis not in [s % rank for s in source]]
    for to, of in sorted(zip((t % rank for t in target), (s % rank for s in source), strict=True)):
        rest.insert(to, of)
    return tuple(rest)


def _tuple(value: Any, count: int = 1) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value)
