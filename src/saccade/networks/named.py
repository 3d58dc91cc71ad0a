"""Networks by the names typed on the command line: a segmenter, a named classifier or one of timm; trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saccade.catalog import is_import_path, name_and_options, name_code
from saccade.catalog.imports import named_code
from saccade.errors import InputError, near, require
from saccade.insertion import insert
from saccade.networks.build import build_network
from saccade.networks.classifier import NETWORKS, classifier, list_classifiers
from saccade.networks.segmentation import Segmenter
from saccade.networks.segmenter import list_segmenters, segmenter


def classification_network(
    name: str,
    num_classes: int,
    *,
    mechanism: str | None = None,
    at: str | None = None,
    pretrained: bool | str = False,
) -> nn.Module:
    """Build a network for images of some classes; random weights are drawn by torch's global generator.

    Args:
        name: A name of :func:`saccade.classifier`, with options in brackets (``"se_resnet18[stem=cifar]"``), or one of
            timm, or the import path of a function that makes one (:mod:`saccade.networks.own`). Names that both have
            are those of :func:`saccade.classifier`.
        num_classes: Of the output.
        mechanism: Inserted into a network of timm, as the identity.
        at: Where it goes; by default at its natural places.
        pretrained: True: timm's weights; a path: a file of weights, or what a training run or :func:`saccade.save`
            wrote. An output layer for another number of classes is skipped, everything else must fit.

    Raises:
        InputError: The name is unknown, weights do not fit, or options contradict each other.
    """
    plain, options = name_and_options(name)
    name_code(plain)
    if at is not None and mechanism is None:
        raise InputError("--at says where a mechanism goes, and none was given", "add --mechanism NAME")
    if not is_import_path(plain) and _is_classifier(plain):
        if mechanism is not None:
            raise InputError(
                f"--mechanism {mechanism}: the network {plain} contains its own", "name a timm network instead"
            )
        net = classifier(plain, num_classes, **options)
        if pretrained is True:
            raise InputError(
                f"--pretrained: timm offers no weights of {plain}", "give its authors' file: --pretrained PATH"
            )
        if pretrained:
            _start_from(net, Path(pretrained), lambda width: classifier(plain, width, **options))
        return net
    if is_import_path(plain):
        plain = name
    elif options:
        raise InputError(f"{name!r}: networks of timm take no options here", "those of saccade.classifier do")
    ours = isinstance(pretrained, str) and _is_ours(Path(pretrained))
    net = build_network("classification", plain, num_classes, pretrained=False if ours else pretrained)
    if mechanism is not None:
        insert(net, mechanism, at=[w.strip() for w in at.split(",")] if at and "," in at else at)
    if ours:
        _copy(net, _state_of(Path(str(pretrained))), Path(str(pretrained)), partial=True)
    return net


def is_segmenter(name: str) -> bool:
    """Return whether `name` is a name of :func:`saccade.segmenter`, with or without options."""
    return name_and_options(name)[0] in list_segmenters()


def segmentation_network(
    name: str,
    num_classes: int,
    *,
    backbone: str | None = None,
    mechanism: str | None = None,
    pretrained: bool | str = False,
) -> Segmenter:
    """Build a network that classifies pixels; random weights are drawn by torch's global generator.

    Args:
        name: Of :func:`saccade.segmenter`, with options in brackets (``"danet[output_stride=16]"``).
        num_classes: Of the output.
        backbone: A timm name, or an import path; by default the one of the paper.
        mechanism: Of the network ``head``.
        pretrained: True: timm's weights of the backbone; a path: a file of those, or what a training run or
            :func:`saccade.save` wrote of the whole network, whose output layers may be of other classes.

    Raises:
        InputError: The name is unknown, weights do not fit, or options contradict each other.
    """
    plain, options = name_and_options(name)
    if mechanism is not None:
        if plain != "head":
            raise InputError(
                f"--mechanism {mechanism}: the network {plain} contains its own",
                f"--network head --mechanism {mechanism} puts it into a head",
            )
        options["mechanism"] = mechanism
    ours = isinstance(pretrained, str) and _is_ours(Path(pretrained))
    if not ours:
        options["pretrained"] = pretrained
    net = segmenter(plain, num_classes, backbone=backbone, **options)
    if ours:
        _copy(net, _state_of(Path(str(pretrained))), Path(str(pretrained)), outputs=len(net.weights))
    return net


def _is_classifier(name: str) -> bool:
    """Return whether `name` is a name of `saccade.classifier`; otherwise it is one of timm."""
    if name in NETWORKS:
        return True
    timm: Any = require("timm", extra="train")
    if timm.is_model(name):
        return False
    try:
        classifier(name, 1)
    except InputError as cause:
        known = (*list_classifiers(), *timm.list_models())
        raise InputError(f"unknown network {name!r}", near(name, known)) from cause
    return True


def _is_ours(path: Path) -> bool:
    from saccade.saving.store import is_saved

    return is_saved(path)


def _state_of(path: Path) -> Mapping[str, Tensor]:
    from saccade.saving import load

    return load(path, trust=named_code()).state_dict()


def _start_from(net: nn.Module, path: Path, of_width: Any) -> None:
    """Load weights of a named classifier, under our names or its authors', whatever the number of their classes."""
    if _is_ours(path):
        _copy(net, _state_of(path), path)
        return
    from saccade.official import load_official
    from saccade.official.reading import read_tensors

    tensors = read_tensors(path)
    widths = [len(tensor) for name, tensor in tensors.items() if name.endswith("bias")]
    own = len(list(net.parameters())[-1])
    complaint = None
    for width in dict.fromkeys([own, *widths[-1:]]):
        given = of_width(width)
        try:
            load_official(given, tensors)
        except InputError as cause:
            complaint = complaint or cause
            continue
        _copy(net, given.state_dict(), path)
        return
    raise complaint or InputError(f"{path} contains no weights")


def _copy(net: nn.Module, given: Mapping[str, Tensor], path: Path, *, partial: bool = False, outputs: int = 1) -> None:
    """Copy what fits; the rest must be an output layer or, if `partial`, a newly inserted mechanism."""
    own = net.state_dict()
    head = [name for name in own if name in given and own[name].shape[1:] == given[name].shape[1:]]
    new = [name for name in own if name not in given and not (partial and ".saccade" in name)]
    foreign = [name for name in given if name not in own]
    other = [name for name in own if name in given and name not in head]
    differing = [name for name in head if own[name].shape != given[name].shape]
    if new or foreign or other or len(differing) > 2 * outputs:
        wrong = [*new, *foreign, *other, *differing]
        raise InputError(
            f"{path} was saved from another network: {len(wrong)} tensors do not fit, the first are "
            f"{', '.join(wrong[:3])}",
            "give the file of the same network with the same mechanism",
        )
    net.load_state_dict({name: given[name] for name in head if name not in differing}, strict=False)
