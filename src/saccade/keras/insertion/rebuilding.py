"""Build a Keras network again with layers put into its graph or taken out of it, and with the weights it had."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from saccade.errors import InputError, SaccadeWarning
from saccade.keras.attachment import Attachment
from saccade.keras.insertion.walking import (
    as_new,
    filled,
    first_argument,
    freeze_as,
    graph_of,
    has_graph,
    keeps_constructor,
    layers_in,
    new_input,
    nodes_of,
    rename,
)

Edits = Mapping[tuple[str, str], list[Attachment]]
"""Layers to put in, by path and side of the layer at their place."""


def rebuild(model: Any, edits: Edits, *, drop: bool = False) -> Any:
    """Return a network with the graph, names, weights and flags of another, and with the edits.

    Every layer is made from its config, as `keras.models.clone_model` does it, so that the given network stays as it
    is. A sub-model called several times is rebuilt once.

    Args:
        model: A functional or built Sequential network.
        edits: Layers to put in.
        drop: If True, attachments are left out.

    Raises:
        InputError: A layer cannot be made from its config.
    """
    rebuilder = _Rebuilder(edits, drop)
    made = rebuilder.network(model, "", frozen=False)
    for new, old, path, frozen in rebuilder.pairs:
        _take_over(new, old, path, frozen)
    return made


class _Rebuilder:
    def __init__(self, edits: Edits, drop: bool) -> None:
        self.edits, self.drop = edits, drop
        self.pairs: list[tuple[Any, Any, str, bool]] = []
        self._made: dict[int, Any] = {}

    def network(self, model: Any, prefix: str, *, frozen: bool) -> Any:
        """Return the network, whose layers are also frozen by a network around it if `frozen`."""
        edited = any(path.startswith(prefix) for path, _ in self.edits)
        # A frozen network keeps all its layers frozen, but not those that are put in.
        frozen_below = edited and (frozen or not model.trainable)
        if isinstance(model, keras.Sequential):
            made = self._sequential(model, prefix, frozen_below)
        else:
            made = self._functional(model, prefix, frozen_below)
        self._made[id(model)] = made
        freeze_as(made, model, frozen and not edited)
        if edited:
            made._trainable = True
        return made

    def _sequential(self, model: Any, prefix: str, frozen: bool) -> Any:
        graph = graph_of(model, "insert")
        layers: list[Any] = [new_input(graph.inputs[0])]
        for layer in model.layers:
            if isinstance(layer, Attachment) and self.drop:
                continue
            path = f"{prefix}{layer.name}"
            layers += [*self.edits.get((path, "before"), ()), self._layer(layer, path, frozen)]
            layers += self.edits.get((path, "after"), ())
        if type(model) is not keras.Sequential:
            _warn_of_class(model, "Sequential")
        return keras.Sequential(layers, name=model.name)

    def _functional(self, model: Any, prefix: str, frozen: bool) -> Any:
        inputs = keras.tree.map_structure(new_input, model.input)
        tensors = {id(x): y for x, y in zip(model.inputs, keras.tree.flatten(inputs), strict=True)}
        for node in nodes_of(model):
            operation = node.operation
            args, kwargs = filled(node, tensors)
            if isinstance(operation, Attachment) and self.drop:
                outputs = [args[0]]
            else:
                path = f"{prefix}{operation.name}"
                before = self.edits.get((path, "before"), ())
                if before and first_argument(node) is not None:
                    args = (_through(before, args[0]), *args[1:])
                outputs = keras.tree.flatten(self._layer(operation, path, frozen)(*args, **kwargs))
                after = self.edits.get((path, "after"), ())
                if after:
                    outputs = [_through(after, outputs[0])]
            tensors |= {id(x): y for x, y in zip(node.outputs, outputs, strict=True)}
        outputs = keras.tree.map_structure(lambda x: tensors[id(x)], model.output)
        if keeps_constructor(model):
            return type(model)(inputs, outputs, name=model.name)
        _warn_of_class(model, "Model")
        return keras.Model(inputs, outputs, name=model.name)

    def _layer(self, operation: Any, path: str, frozen: bool) -> Any:
        if id(operation) in self._made:
            return self._made[id(operation)]
        if has_graph(operation):
            return self.network(operation, f"{path}/", frozen=frozen)
        if not isinstance(operation, keras.layers.Layer):
            made = as_new(operation)
        else:
            made = _from_config(operation, path)
            self.pairs.append((made, operation, path, frozen))
        self._made[id(operation)] = made
        return made


def _through(layers: Sequence[Attachment], x: Any) -> Any:
    for layer in layers:
        x = layer(x)
    return x


def _from_config(layer: Any, path: str) -> Any:
    """Return a new layer made like another one, without weights.

    Raises:
        InputError: Its class does not make it from its config.
    """
    kind = type(layer)
    try:
        if kind is keras.layers.Lambda:  # its function is at hand, and need not be written and read
            return kind(layer.function, output_shape=layer._output_shape, mask=layer.mask, arguments=layer.arguments,
                        name=layer.name, dtype=layer.dtype_policy)  # fmt: skip
        with keras.saving.custom_object_scope({kind.__name__: kind}):
            return kind.from_config(layer.get_config())
    except (NotImplementedError, TypeError, ValueError, KeyError, AttributeError) as cause:
        said = (str(cause).strip() or type(cause).__name__).splitlines()[-1].removeprefix("Exception encountered: ")
        raise InputError(
            f"{path} ({kind.__name__}): insertion builds the network again, and this layer cannot be made "
            f"from its config: {said}",
            "give its class a get_config that returns all arguments of its constructor, or put the layer into the "
            "network's code by hand: saccade.keras.layer('cbam')",
        ) from cause


def _take_over(new: Any, old: Any, path: str, frozen: bool) -> None:
    """Give a layer the weights, the names of weights and the flags of another.

    Raises:
        InputError: It was made with other weights.
    """
    pairs = list(zip(new.variables, old.variables, strict=False))
    shapes = [[tuple(variable.shape) for variable in layer.variables] for layer in (new, old)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"{path} ({type(old).__name__}): made again from its config it has weights of the shapes {shapes[0]}; "
            f"expected {shapes[1]}",
            "give its class a get_config that returns all arguments of its constructor",
        )
    for mine, theirs in pairs:
        mine.assign(theirs)
        if mine.path != theirs.path:
            rename(mine, theirs.path)
    for mine, theirs in zip(layers_in(new), layers_in(old), strict=True):
        freeze_as(mine, theirs, frozen)


def _warn_of_class(model: Any, plain: str) -> None:
    warnings.warn(
        f"{model.name}: the network returned is a plain keras.{plain} with the same layers; {type(model).__name__} has "
        "a constructor of its own, and its methods are left behind",
        SaccadeWarning,
        stacklevel=6,
    )
