"""Change a Keras network: insert mechanisms and remove them; a network with the change is returned."""

from __future__ import annotations

from typing import Any

import keras

from saccade.insertion.report import Plan, Report
from saccade.insertion.select import At
from saccade.keras.attachment import Attachment
from saccade.keras.insertion.making import make_attachment
from saccade.keras.insertion.planning import Given, Options, plan
from saccade.keras.insertion.rebuilding import rebuild
from saccade.keras.insertion.verifying import check_called
from saccade.keras.insertion.walking import graph_of, has_graph, nodes_of

_REPORT = "saccade_report"


def insert(
    model: keras.Model,
    mechanism: Given,
    *,
    at: At | None = None,
    within: str | None = None,
    every: int | None = None,
    start: str = "identity",
    options: Options | None = None,
    example_input: Any = None,
) -> keras.Model:
    """Return a Keras network with a mechanism inserted; the given network stays as it is.

    With ``start="identity"`` the outputs are the same bit by bit, in inference and in training, until training changes
    them. Every layer and every weight keeps its name, its path, its value and its `trainable` flag; the new layers are
    called after their place, ``conv4_block6_3_bn_saccade``. A mechanism inserted at an occupied place follows the one
    there. ``model.saccade_report`` lists what is inserted where. The network returned is not compiled.

    Args:
        model: Network to start from; see :func:`saccade.keras.plan` for all arguments.
        mechanism: Name with options, or your own class or function.
        at: Places.
        within: Parts of the network to search.
        every: Step between used places.
        start: ``"identity"`` or ``"paper"``.
        options: Further options of the mechanism.
        example_input: Input whose sizes are used.

    Raises:
        InputError: See :func:`saccade.keras.plan`; also for a layer that its class does not make from its config.

    Example:
        >>> import keras, numpy as np, saccade.keras
        >>> image = keras.Input((32, 32, 3))
        >>> x = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="first")(image)
        >>> y = keras.layers.Conv2D(16, 3, padding="same", activation="relu", name="second")(x)
        >>> before = keras.Model(image, keras.layers.Add()([x, y]))
        >>> after = saccade.keras.insert(before, "cbam")
        >>> [layer.name for layer in after.layers][-3:-1]
        ['second', 'second_saccade']
        >>> images = np.random.default_rng(0).random((2, 32, 32, 3), dtype="float32")
        >>> bool(np.array_equal(before.predict(images, verbose=0), after.predict(images, verbose=0)))
        True
    """
    planned = plan(
        model, mechanism, at=at, within=within, every=every, start=start, options=options, example_input=example_input
    )
    edits: dict[tuple[str, str], list[Attachment]] = {}
    taken = _names(model)
    policies = dict(_policies(model, ""))
    for step in planned.steps:
        name = _free(step.place.name.rpartition("/")[2], step.place.side, taken)
        key = _end(model, step.place.name, step.place.side)
        edits.setdefault(key, []).append(make_attachment(step, name, policies[step.place.name]))
    made = rebuild(model, edits)
    check_called(made, planned)
    _note(made, Report((*_plans(model), planned)))
    return made


def remove(model: keras.Model) -> keras.Model:
    """Return a Keras network without its inserted mechanisms, with the weights as trained.

    Example:
        >>> import keras, saccade.keras
        >>> image = keras.Input((16, 16, 3))
        >>> x = keras.layers.Conv2D(8, 3, name="conv")(image)
        >>> model = saccade.keras.insert(keras.Model(image, keras.layers.Conv2D(8, 3)(x)), "se", at="conv")
        >>> list(saccade.keras.attachments(saccade.keras.remove(model)))
        []
    """
    graph_of(model, "remove")
    return rebuild(model, {}, drop=True)


def _note(model: Any, report: Report) -> None:
    model.saccade_report = report


def _plans(model: Any) -> tuple[Plan, ...]:
    report = getattr(model, _REPORT, None)
    return report.plans if isinstance(report, Report) else ()


def _names(model: Any) -> set[str]:
    graph = graph_of(model, "insert")
    names = {node.operation.name for node in nodes_of(graph)} | {x.name for x in graph.inputs}
    inner = [node.operation for node in nodes_of(graph) if has_graph(node.operation)]
    return names.union(*(_names(part) for part in inner))


def _policies(model: Any, prefix: str) -> Any:
    for node in nodes_of(graph_of(model, "insert")):
        layer = node.operation
        yield f"{prefix}{layer.name}", getattr(layer, "dtype_policy", None) or keras.config.dtype_policy()
        if has_graph(layer):
            yield from _policies(layer, f"{prefix}{layer.name}/")


def _free(layer: str, side: str, taken: set[str]) -> str:
    stem = f"{layer}_saccade" if side == "after" else f"{layer}_saccade_before"
    number, name = 1, stem
    while name in taken:
        number += 1
        name = f"{stem}_{number}"
    taken.add(name)
    return name


def _end(model: Any, path: str, side: str) -> tuple[str, str]:
    """Return path and side of the last attachment at a place; those of the place itself if it is free."""
    *parts, name = path.split("/")
    graph = graph_of(model, "insert")
    for part in parts:
        graph = graph_of(next(n.operation for n in nodes_of(graph) if n.operation.name == part), "insert")
    nodes = nodes_of(graph)
    if side == "before":  # what precedes the layer is read by it alone, so that the next one follows by itself
        return path, side
    current = next(node for node in nodes if node.operation.name == name)
    while True:
        readers = [n for n in nodes if any(x is current.outputs[0] for x in n.input_tensors)]
        following = [n for n in readers if isinstance(n.operation, Attachment)]
        if len(readers) != 1 or not following or following[0].operation.place["name"] != path:
            return "/".join([*parts, current.operation.name]), side
        current = following[0]
