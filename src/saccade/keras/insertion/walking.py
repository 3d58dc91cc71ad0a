"""Read the graphs of functional and Sequential Keras networks: the only file that uses what Keras keeps to itself."""

from __future__ import annotations

from typing import Any

import keras

from saccade.errors import InputError


def graph_of(model: Any, label: str) -> Any:
    """Return the functional graph of a network: its own, or that of a Sequential network.

    Raises:
        InputError: It is not a Keras network, one without a graph, or a Sequential one that is not built.
    """
    if not isinstance(model, keras.Model):
        raise InputError(*_no_keras(model, label))
    if isinstance(model, keras.Sequential):
        if model._functional is None:
            raise InputError(
                f"{label}: {model.name} (Sequential) has no shapes yet, so that its layers have no weights",
                "begin it with keras.Input((height, width, channels)), or call build((None, height, width, channels))",
            )
        return model._functional
    if not is_functional(model):
        raise InputError(
            f"{label}: expected a functional or Sequential network; received {type(model).__name__}, a subclassed "
            "model, whose layers are connected in Python code that cannot be rebuilt",
            "put the layer into its call by hand: self.attention = saccade.keras.layer('cbam'), then "
            "x = self.attention(x); or insert into the functional network inside it",
        )
    return model


def is_functional(model: Any) -> bool:
    """Return whether a network is built from a graph of layers."""
    return isinstance(model, keras.Model) and not isinstance(model, keras.Sequential) and hasattr(model, "_nodes")


def has_graph(operation: Any) -> bool:
    """Return whether an operation is a network with a graph that can be rebuilt."""
    if isinstance(operation, keras.Sequential):
        return operation._functional is not None
    return is_functional(operation)


def nodes_of(graph: Any) -> list[Any]:
    """Return the calls of a graph in the order of the forward pass, without its inputs."""
    by_depth = graph._nodes_by_depth
    nodes = [node for depth in sorted(by_depth, reverse=True) for node in by_depth[depth]]
    return [node for node in nodes if node.operation is not None and not node.is_input]


def filled(node: Any, tensors: dict[int, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the arguments of a call, with the tensors of another graph in the place of its own."""
    arguments: tuple[tuple[Any, ...], dict[str, Any]] = node.arguments.fill_in(tensors)
    return arguments


def inside_of(layer: Any, args: Any, kwargs: Any) -> Any:
    """Return the graph of what a layer's own call does with its arguments; None if it cannot be followed.

    Its inputs are the symbolic tensors among the arguments, each once. Nothing stays recorded in its sublayers.
    """
    given: dict[int, Any] = {}

    def renewed(x: Any) -> Any:
        if not isinstance(x, keras.KerasTensor):
            return x
        return given.setdefault(id(x), keras.KerasTensor(x.shape, x.dtype))

    args, kwargs = keras.tree.map_structure(renewed, (args, kwargs))
    lengths = {id(part): len(part._inbound_nodes) for part in layers_in(layer)}
    try:
        outputs = layer.call(*args, **kwargs)
        graph = keras.Function(list(given.values()), outputs)
    except Exception:  # a call may do anything with its tensors, and symbolic ones refuse much of it
        graph = None
    for part in layers_in(layer):
        del part._inbound_nodes[lengths[id(part)] :]
    connected = graph is not None and all(node.operation is not layer for node in nodes_of(graph))
    return graph if connected else None


def first_argument(node: Any) -> Any:
    """Return the symbolic tensor given as first positional argument; None if that is anything else."""
    first = node.arguments.args[0] if node.arguments.args else None
    return first if isinstance(first, keras.KerasTensor) else None


def new_input(x: Any) -> Any:
    """Return a symbolic input like another one, under its name."""
    layer = x._keras_history.operation
    return type(layer).from_config(layer.get_config()).output


def as_new(operation: Any) -> Any:
    """Return an operation other than a layer without the calls that are recorded in it."""
    import copy

    made = copy.copy(operation)
    made._inbound_nodes, made._outbound_nodes = [], []
    return made


def keeps_constructor(model: Any) -> bool:
    """Return whether a network of its class is made from inputs and outputs alone."""
    from keras.src.models.functional import functional_like_constructor

    return bool(functional_like_constructor(type(model)))


def freeze_as(new: Any, old: Any, frozen: bool) -> None:
    """Give a layer and its variables the `trainable` flags of another, or freeze it."""
    new._trainable = old._trainable and not frozen
    for mine, theirs in zip(own_variables(new), own_variables(old), strict=True):
        mine.trainable = theirs.trainable and not frozen


def own_variables(layer: Any) -> list[Any]:
    """Return the variables of a layer itself, not of its sublayers."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def layers_in(layer: Any) -> list[Any]:
    """Return a layer and all its sublayers."""
    return list(layer._flatten_layers())


def rename(variable: Any, path: str) -> None:
    """Give a variable a path."""
    variable._path = path


def _no_keras(model: Any, label: str) -> tuple[str, str]:
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    parents = {f"{parent.__module__}.{parent.__qualname__}" for parent in type(model).__mro__}
    said = f"{label}: expected a network of Keras 3 (functional or Sequential); received {kind}"
    if "torch.nn.modules.module.Module" in parents and not kind.startswith("keras."):
        return said, "for networks of PyTorch there are saccade.plan, saccade.insert, saccade.verify and saccade.save"
    if any(parent.startswith(("tf_keras.", "keras.engine.", "tensorflow.python.keras")) for parent in parents):
        return (
            said,
            "that is Keras 2: save it there and load it with Keras 3, or build it from layers of keras",
        )
    if isinstance(model, keras.layers.Layer):
        return said, "connect the layer: keras.Model(inputs, outputs), or keras.Sequential([keras.Input(shape), layer])"
    if isinstance(model, str):
        return said, "load the file first: keras.saving.load_model(path)"
    return said, "give the network itself, such as keras.applications.ResNet50(weights=None)"
