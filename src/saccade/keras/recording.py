"""Record what the mechanisms of a Keras network attend to, with the views of the PyTorch mechanisms."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from saccade.errors import InputError
from saccade.keras.attachment import Attachment, attachments
from saccade.keras.base import Mechanism
from saccade.keras.insertion.walking import layers_in
from saccade.keras.watching import WATCHERS
from saccade.keras.weights import to_torch

if TYPE_CHECKING:
    from saccade.inspection.records import Records


@contextmanager
def record(model: keras.Model) -> Iterator[Records]:
    """Record the input of every mechanism of a Keras network, inserted or built in, until the with block ends.

    Each record is a :class:`saccade.inspection.records.Record`, as `saccade.record` yields it: gates, weights of chosen
    positions, channel weights, with channels first, as tensors of PyTorch on the CPU. They are computed by the PyTorch
    mechanism with the layer's weights of the moment of the call. A layer of another class has only its input.

    Args:
        model: Any Keras network with mechanisms, subclassed ones included. It must be called directly,
            ``model(images)``: inside `predict` or `fit` the maps are symbols, which is an error.

    Yields:
        Records by place: the layer a mechanism is attached to (``"conv5_block3_3_bn"``, ``"backbone/conv1"``), with
        ``#2`` after it for the second one there; for a mechanism built into the network, the path of its layer; for
        parts of a mechanism, that name and the part's (``"conv5_block3_out.position"``).

    Raises:
        InputError: The network has no mechanism, or runs in a compiled function.

    Example:
        >>> import keras, saccade.keras
        >>> image = keras.Input((16, 16, 3))
        >>> x = keras.layers.Conv2D(8, 3, name="conv")(image)
        >>> model = saccade.keras.insert(keras.Model(image, keras.layers.Conv2D(8, 3)(x)), "se", at="conv")
        >>> with saccade.keras.record(model) as maps:
        ...     _ = model(keras.ops.ones((2, 16, 16, 3)))
        >>> maps["conv"].gate.shape
        torch.Size([2, 8])
    """
    from saccade.inspection.records import Records

    if not isinstance(model, keras.Model):
        raise InputError(
            f"record: expected a network of Keras; received {type(model).__module__}.{type(model).__qualname__}",
            "for networks of PyTorch there is saccade.record",
        )
    names = _names(model)
    if not names:
        raise InputError(
            f"record: {model.name} contains no mechanism",
            "insert one first: saccade.keras.plan(model, 'cbam') shows where it would go",
        )
    maps, thread = Records(), threading.get_ident()

    def keep(layer: Any, x: Any, training: bool) -> None:
        if id(layer) in names and threading.get_ident() == thread and not isinstance(x, keras.KerasTensor):
            maps.update(_records(names[id(layer)], layer, _as_array(x, model.name), training))

    WATCHERS.append(keep)
    try:
        yield maps
    finally:
        WATCHERS.remove(keep)


def _names(model: Any) -> dict[int, str]:
    """Return the names of the outermost mechanisms of a network by the `id` of their layers."""
    found: dict[int, str] = {}
    inner: set[int] = set()
    count: dict[str, int] = {}
    every = [*attachments(model).values(), *layers_in(model)[1:]]  # the first in the order of the forward pass
    for layer in dict.fromkeys(every):
        if not isinstance(layer, (Attachment, Mechanism)) or id(layer) in inner:
            continue
        inner.update(id(part) for part in layers_in(layer)[1:])
        name = layer.path.removeprefix(f"{model.name}/")
        if isinstance(layer, Attachment):
            place = layer.place
            name = place["name"] if place.get("side") == "after" else f"before:{place['name']}"
            count[name] = count.get(name, 0) + 1
            name = name if count[name] == 1 else f"{name}#{count[name]}"
        found[id(layer)] = name
    return found


def _as_array(x: Any, network: str) -> Any:
    try:
        return keras.ops.convert_to_numpy(keras.ops.stop_gradient(x))
    except Exception as cause:  # each backend refuses to give the numbers of a symbol in its own way
        raise InputError(
            f"record: {network} runs in a compiled function, in which maps have no numbers yet",
            "call the network itself in the with block: model(images), not predict, fit or a jitted function",
        ) from cause


def _records(name: str, layer: Any, x: Any, training: bool) -> dict[str, Any]:
    """Return the records of a mechanism and of its parts."""
    import torch
    from torch import nn

    from saccade.insertion.attach import Attachment as TorchAttachment
    from saccade.inspection.recording import record as record_torch
    from saccade.inspection.records import Record
    from saccade.mechanisms.base import Mechanism as TorchMechanism

    inserted = isinstance(layer, Attachment)
    mechanism = layer.mechanism if inserted else layer
    first = layer.place.get("layout") == "NCHW" if inserted else layer.data_format == "channels_first"
    read = torch.from_numpy(np.ascontiguousarray(x if first else np.moveaxis(x, -1, 1)))
    module = to_torch(mechanism) if isinstance(mechanism, Mechanism) else nn.Identity()
    twin = None
    if inserted:
        twin = TorchAttachment(module, side=layer.place["side"], wrapped=layer.wrapped, added=layer.added)
        if twin.g is not None:
            twin.g.data.copy_(torch.from_numpy(np.array(keras.ops.convert_to_numpy(layer.g))))
    module.train(training)
    like = next(module.parameters(), read)
    own = Record(name, module, twin, copy=False)
    own.keep(read.to(like.dtype))
    found = {name: own}
    if any(isinstance(part, TorchMechanism) for part in module.modules() if part is not module):
        with torch.no_grad(), record_torch(module) as parts:
            module(own.input)
        for path, part in parts.items():
            if path:
                part.name = f"{name}.{path}"
                found[part.name] = part
    return found
