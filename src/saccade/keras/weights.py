"""Weights between the Keras layers and the PyTorch modules of the same mechanism, both ways, and from authors' files.

The sublayers of both have the same names, so one rule for each kind of tensor suffices: kernels change the order of
their axes, norms their names, all else stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from os import PathLike
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from saccade.errors import InputError
from saccade.keras.base import Mechanism
from saccade.keras.layers import LAYERS

if TYPE_CHECKING:
    from torch import nn

    from saccade.official import LoadReport

_NAMES = {
    "kernel": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip
_NORMS = (keras.layers.BatchNormalization, keras.layers.LayerNormalization)
_WIDTH = re.compile(r"(.*\.)?(reduce|layers\.0|value)\.weight")  # tensors whose first axis is the inner width


def named_weights(layer: keras.layers.Layer, prefix: str = "") -> dict[str, keras.Variable]:
    """Return the variables of a built layer by the names that the PyTorch module gives its tensors.

    Example:
        >>> import saccade.keras
        >>> se = saccade.keras.SqueezeExcitation()
        >>> se.build((None, None, None, 64))
        >>> {name: tuple(variable.shape) for name, variable in named_weights(se).items()}
        {'reduce.weight': (64, 4), 'reduce.bias': (4,), 'expand.weight': (4, 64), 'expand.bias': (64,)}
    """
    return dict(_walk(layer, prefix))


def from_torch(module: nn.Module, *, data_format: str | None = None, **layer: Any) -> Mechanism:
    """Return a built Keras layer with the options and the weights of a PyTorch mechanism.

    Args:
        module: Mechanism of :func:`saccade.create`.
        data_format: ``"channels_last"`` or ``"channels_first"``; None means Keras's own setting.
        layer: Arguments of every Keras layer: ``name``, ``dtype``, ``trainable``.

    Raises:
        InputError: The mechanism has no Keras layer, or one of its parts is of another kind than the layer's.
        TypeError: `module` is not a mechanism of saccade.

    Example:
        >>> import saccade, saccade.keras
        >>> cbam = saccade.keras.from_torch(saccade.create("cbam", channels=64, reduction=8))
        >>> cbam.channels, cbam.options["inner_channels"]
        (64, 8)
    """
    from saccade.mechanisms.base import Mechanism as TorchMechanism

    if not isinstance(module, TorchMechanism):
        raise TypeError(f"from_torch: expected a mechanism of saccade.create; received {type(module).__name__}")
    key = next((key for key, made in LAYERS.items() if made.__name__ == type(module).__name__), None)
    if key is None:
        raise InputError(f"{module.label} has no Keras layer", f"known: {', '.join(sorted(LAYERS))}")
    made = LAYERS[key](**options_of(key, module), data_format=data_format, **layer)
    axes = (None,) * made.dims
    last = made.data_format == "channels_last"
    made.build((None, *axes, module.channels) if last else (None, module.channels, *axes))
    set_weights(made, {name: tensor.detach().cpu().numpy() for name, tensor in module.state_dict().items()})
    return made


def to_torch(layer: Mechanism) -> nn.Module:
    """Return a PyTorch mechanism with the options and the weights of a built Keras layer.

    Raises:
        InputError: The layer is not built.
        TypeError: `layer` is not a mechanism of saccade.

    Example:
        >>> import saccade.keras
        >>> eca = saccade.keras.EfficientChannelAttention(k=3)
        >>> eca.build((None, None, None, 32))
        >>> saccade.keras.to_torch(eca).k
        3
    """
    import torch

    import saccade

    variables = named_weights(_built("to_torch", layer))
    module = saccade.create(layer.key, layer.channels, **layer.torch_options())
    own = module.state_dict()
    state = {
        name: torch.from_numpy(_to_torch(variables[name], tuple(tensor.shape))) if name in variables else tensor
        for name, tensor in own.items()
    }
    missing = set(variables) - set(own)
    if missing:
        raise InputError(f"{layer.label}: the PyTorch module has no {', '.join(sorted(missing))}")
    dtypes = {tensor.dtype for name, tensor in state.items() if name in variables and tensor.is_floating_point()}
    module.to(next(iter(dtypes), torch.float32)).load_state_dict(state)
    return module


def load_official(layer: Mechanism, state_dict: Mapping[str, Any] | str | PathLike[str]) -> LoadReport:
    """Load weights under the key names of the mechanism's authors, or of other known code, into a built Keras layer.

    Args:
        layer: Layer to load into; its options are never changed.
        state_dict: See :func:`saccade.load_official`; nothing is unpickled.

    Raises:
        InputError: The layer is not built, or the state dict does not fit it; the layer is left as it was.
        TypeError: `layer` is not a mechanism of saccade.

    Example:
        >>> import torch, saccade.keras
        >>> se = saccade.keras.SqueezeExcitation(bias=False)
        >>> se.build((None, None, None, 32))
        >>> print(load_official(se, {"fc.0.weight": torch.zeros(2, 32), "fc.2.weight": torch.zeros(32, 2)}))
        layout of moskomule/senet.pytorch: 2 tensors loaded
          fc.0.weight -> reduce.weight
          fc.2.weight -> expand.weight
    """
    from saccade.official import load_official as load_into_torch

    module = to_torch(_built("load_official", layer))
    report = load_into_torch(module, state_dict)
    set_weights(layer, {name: tensor.detach().numpy() for name, tensor in module.state_dict().items()})
    return report


def set_weights(layer: keras.layers.Layer, tensors: Mapping[str, np.ndarray]) -> None:
    """Set the variables of a layer from arrays by PyTorch's names; counters of batches have none.

    Raises:
        InputError: A name or a shape differs; nothing is set then.
    """
    variables = named_weights(layer)
    given = {name: array for name, array in tensors.items() if not name.endswith("num_batches_tracked")}
    if set(given) != set(variables):
        raise InputError(
            f"{layer.name}: the weights have other names; missing {sorted(set(variables) - set(given))}, unexpected "
            f"{sorted(set(given) - set(variables))}"
        )
    arrays = {name: to_keras(variables[name], array) for name, array in given.items()}
    for name, array in arrays.items():
        variables[name].assign(array)


def to_keras(variable: keras.Variable, array: np.ndarray) -> np.ndarray:
    """Return a PyTorch tensor in the layout of the Keras variable that holds it, kernels as (..., in, out).

    Raises:
        InputError: It has another size.
    """
    shape = tuple(variable.shape)
    if variable.name == "kernel" and array.ndim >= 2:
        array = np.moveaxis(array, (0, 1), (-1, -2))  # (out, in, ...) to (..., in, out)
    if array.size != np.prod(shape, dtype=int):
        raise InputError(f"{variable.path}: expected a tensor of shape {shape}; received {array.shape}")
    return np.ascontiguousarray(array.reshape(shape))


def options_of(key: str, module: nn.Module) -> dict[str, Any]:
    """Return the options from which the Keras layer of a PyTorch mechanism is made."""
    from saccade.mechanisms.base import Published

    assert isinstance(module, Published)
    layer, state = LAYERS[key], module.state_dict()
    names = layer.option_names()
    found = {name: getattr(module, name) for name in names if _is_value(getattr(module, name, module))}
    fitting = {name: value for name, value in module.fitting(state).items() if name in names}
    width = next((tensor.shape[0] for name, tensor in state.items() if _WIDTH.fullmatch(name)), None)
    if "inner_channels" in names and width is not None:
        fitting = {name: value for name, value in fitting.items() if name not in ("reduction", "ratio")}
        found["inner_channels"] = width
    return {**fitting, **found, **layer.options_of(module)}


def _walk(layer: keras.layers.Layer, prefix: str) -> Iterator[tuple[str, keras.Variable]]:
    is_norm = isinstance(layer, _NORMS)
    # A layer of the PyTorch backend is a module and keeps its parts apart from its other attributes.
    for attribute, value in (vars(layer) | vars(layer).get("_modules", {})).items():
        if attribute.startswith("_") and attribute != "_kernel":
            continue
        if isinstance(value, keras.layers.Layer):
            yield from _walk(value, f"{prefix}{attribute.rstrip('_')}.")
        elif isinstance(value, (list, tuple)):
            for index, part in enumerate(value):
                if isinstance(part, keras.layers.Layer):
                    yield from _walk(part, f"{prefix}{attribute}.{index}.")
        elif isinstance(value, keras.Variable):
            name = attribute.removeprefix("_")
            yield prefix + ("weight" if is_norm and name == "gamma" else _NAMES.get(name, name)), value


def _to_torch(variable: keras.Variable, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(keras.ops.convert_to_numpy(variable.value))
    if variable.name == "kernel" and array.ndim >= 2:
        array = np.moveaxis(array, (-1, -2), (0, 1))
    return np.ascontiguousarray(array.reshape(shape))


def _is_value(value: Any) -> bool:
    """Return whether an attribute of a module is the value of an option, not a layer or a method of its name."""
    return value is None or isinstance(value, (str, bool, int, float, tuple))


def _built(caller: str, layer: Any) -> Mechanism:
    if not isinstance(layer, Mechanism):
        raise TypeError(f"{caller}: expected a layer of saccade.keras; received {type(layer).__name__}")
    if not layer.built:
        raise InputError(
            f"{layer.label}: the layer is not built, so it has no weights",
            "call it once, or layer.build((None, H, W, C))",
        )
    return layer
