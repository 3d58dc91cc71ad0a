"""Networks by the names typed on the command line: a segmenter, a named classifier, one of timm, your own, the demo's.

Code that trains, compares or shows a network makes it here, so that a name means the same network everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saccade.catalog import is_import_path, name_and_options, name_code
from saccade.catalog.imports import named_code
from saccade.errors import InputError, near, require
from saccade.insertion import insert
from saccade.networks.backbone_files import build_classifier
from saccade.networks.classifier import NETWORKS, classifier, find_classifier, list_classifiers
from saccade.networks.order import Match, check_match
from saccade.networks.pose_estimator import PoseEstimator, list_pose_estimators, pose_estimator
from saccade.networks.segmentation import Segmenter
from saccade.networks.segmenter import list_segmenters, segmenter

DEMO = "notes"
"""The network of the first embedded demo."""

PLAIN_SEGMENTER = "fcn"
"""The segmentation network without attention, into which mechanisms are inserted."""


def make_network(
    network: str,
    num_classes: int,
    *,
    backbone: str | None = None,
    mechanism: str | None = None,
    at: str | None = None,
    pretrained: bool | str = False,
    match: Match = "names",
) -> nn.Module:
    """Make any network by name; random weights are drawn by torch's global generator.

    Args:
        network: A name of :func:`classification_network` or of :func:`segmentation_network`, or ``"notes"``, the
            network of the demo.
        num_classes: Number of classes.
        backbone: A timm name or an import path, for segmentation networks.
        mechanism: Mechanism to insert, as the identity, into a network without attention.
        at: Places of the mechanism, see :func:`places_in`; by default its natural places.
        pretrained: True: timm's weights; a path: a file of weights.
        match: ``"order"`` if tensors of a file with other names are those of the network in order and shape.

    Raises:
        InputError: The name is unknown, weights do not fit, or options contradict each other.
    """
    if is_segmenter(network):
        return segmentation_network(
            network, num_classes, backbone=backbone, mechanism=mechanism, at=at, pretrained=pretrained, match=match
        )
    if backbone is not None:
        raise InputError(
            f"--backbone {backbone}: the network {network} has no head to be put on one",
            f"give it as the network: --network {backbone}",
        )
    if network not in DEMO_NETWORKS:
        return classification_network(
            network, num_classes, mechanism=mechanism, at=at, pretrained=pretrained, match=match
        )
    if pretrained:
        raise InputError(f"--pretrained: {network}, a demo's network, has no trained weights", "leave it out")
    net = DEMO_NETWORKS[network](num_classes)
    _insert(net, mechanism, at)
    return net


def demo_network(num_classes: int) -> nn.Module:
    """Make the small segmentation network of the embedded demo, with random weights."""
    from saccade.networks.notes import NotesNet

    return NotesNet(num_classes)


def chips_network(num_keypoints: int) -> nn.Module:
    """Make the small network for key points of the demo "chips", with random weights."""
    from saccade.networks.chips import ChipsNet

    return ChipsNet(num_keypoints)


DEMO_NETWORKS: Mapping[str, Callable[[int], nn.Module]] = {DEMO: demo_network, "chips": chips_network}
"""Networks of the embedded demos, by the number of classes or key points."""


def places_in(at: str | None) -> str | list[str] | None:
    """Split places that were typed with commas between them, for :func:`saccade.insert`."""
    return [word.strip() for word in at.split(",")] if at and "," in at else at


def _insert(net: nn.Module, mechanism: str | None, at: str | None) -> None:
    if mechanism is not None:
        insert(net, mechanism, at=places_in(at))
    elif at is not None:
        raise InputError("--at gives the places of a mechanism, but none was given", "add --mechanism NAME")


def classification_network(
    name: str,
    num_classes: int,
    *,
    mechanism: str | None = None,
    at: str | None = None,
    pretrained: bool | str = False,
    match: Match = "names",
) -> nn.Module:
    """Make a network for images of some classes; random weights are drawn by torch's global generator.

    Args:
        name: A name of :func:`saccade.classifier`, with options in brackets (``"se_resnet18[stem=cifar]"``), or one of
            timm, or the import path of a function that makes one (:mod:`saccade.networks.own`). A name in both tables
            is that of :func:`saccade.classifier`.
        num_classes: Number of classes.
        mechanism: Mechanism to insert into a network of timm, as the identity.
        at: Places of the mechanism; by default its natural places.
        pretrained: True: timm's weights; a path: a file of weights, or what a training run or :func:`saccade.save`
            wrote. An output layer for another number of classes is skipped, everything else must fit.
        match: ``"order"`` if tensors of a file with other names are those of the network in order and shape.

    Raises:
        InputError: The name is unknown, weights do not fit, or options contradict each other.
    """
    plain, options = name_and_options(name)
    name_code(plain)
    if not is_import_path(plain) and is_classifier(plain):
        if mechanism is not None or at is not None:
            raise InputError(
                f"--{f'mechanism {mechanism}' if mechanism else f'at {at}'}: the network {plain} contains its own",
                "name a timm network instead",
            )
        net = classifier(plain, num_classes, **options)
        _check_match(match, pretrained, isinstance(pretrained, str) and _is_ours(Path(pretrained)))
        if pretrained is True:
            raise InputError(
                f"--pretrained: timm offers no weights of {plain}", "give its authors' file: --pretrained PATH"
            )
        if pretrained:
            _start_from(net, Path(pretrained), lambda width: classifier(plain, width, **options), match)
        return net
    if is_import_path(plain):
        plain = name
    else:
        _check_timm(plain, options)
    ours = isinstance(pretrained, str) and _is_ours(Path(pretrained))
    _check_match(match, pretrained, ours)
    net = build_classifier(plain, num_classes, pretrained=False if ours else pretrained, match=match)
    _insert(net, mechanism, at)
    if ours:
        _copy(net, _state_of(Path(str(pretrained))), Path(str(pretrained)), partial=True)
    return net


def _check_timm(name: str, options: Mapping[str, Any]) -> None:
    timm: Any = require("timm", extra="train")
    if not timm.is_model(name):
        known = (*list_segmenters(), *list_pose_estimators(), *list_classifiers(), *timm.list_models())
        raise InputError(f"unknown network {name!r}", near(name, known))
    if options:
        raise InputError(f"{name}: networks of timm take no options here", "use a name of saccade.classifier")


def is_segmenter(name: str) -> bool:
    """Return whether `name` is a name of :func:`saccade.segmenter`, with or without options."""
    return name_and_options(name)[0] in list_segmenters()


def segmentation_network(
    name: str,
    num_classes: int,
    *,
    backbone: str | None = None,
    mechanism: str | None = None,
    at: str | None = None,
    pretrained: bool | str = False,
    match: Match = "names",
) -> Segmenter:
    """Make a network that classifies pixels; random weights are drawn by torch's global generator.

    Args:
        name: A name of :func:`saccade.segmenter`, with options in brackets (``"danet[output_stride=16]"``).
        num_classes: Number of classes.
        backbone: A timm name, or an import path; by default that of the paper.
        mechanism: Mechanism to insert into the network ``fcn``, in backbone and head, as the identity; or between the
            convolutions of the network ``head``.
        at: Places of the mechanism in ``fcn``; by default its natural places.
        pretrained: True: timm's weights of the backbone; a path: a file of the backbone's weights, or of the whole
            network as written by a training run or :func:`saccade.save`, whose output layers may have other classes.
        match: ``"order"`` if tensors of a file with other names are those of the network in order and shape.

    Raises:
        InputError: The name is unknown, weights do not fit, or options contradict each other.
    """
    plain, options = name_and_options(name)
    inserts = plain == PLAIN_SEGMENTER
    if not inserts and at is not None:
        raise InputError(
            f"--at {at}: {plain} has its mechanism in its head",
            f"--network {PLAIN_SEGMENTER} takes a mechanism at any place",
        )
    if not inserts and mechanism is not None:
        if plain != "head":
            raise InputError(
                f"--mechanism {mechanism}: the network {plain} contains its own",
                f"--network head --mechanism {mechanism} puts it into a head, "
                f"--network {PLAIN_SEGMENTER} --mechanism {mechanism} into its natural places",
            )
        options["mechanism"] = mechanism
    ours = isinstance(pretrained, str) and _is_ours(Path(pretrained))
    _check_match(match, pretrained, ours)
    if not ours:
        options |= {"pretrained": pretrained} | ({"match": match} if match != "names" else {})
    net = segmenter(plain, num_classes, backbone=backbone, **options)
    if inserts:
        _insert(net, mechanism, at)
    if ours:
        path = Path(str(pretrained))
        _copy(net, _state_of(path), path, partial=mechanism is not None and inserts, outputs=len(net.weights))
    return net


def pose_network(
    name: str,
    num_keypoints: int,
    *,
    backbone: str | None = None,
    mechanism: str | None = None,
    at: str | None = None,
    pretrained: bool | str = False,
    match: Match = "names",
    maps_per_joint: int = 1,
) -> PoseEstimator:
    """Make a network for key points; random weights are drawn by torch's global generator.

    Args:
        name: A name of :func:`saccade.pose_estimator`, with options in brackets (``"udp_hrnet[head=offset]"``).
        num_keypoints: Number of joints.
        backbone: A timm name; by default that of the paper.
        mechanism: Mechanism inside the blocks, where PSA's authors have it.
        at: Places of a mechanism, at which it is inserted as the identity instead.
        pretrained: True: timm's weights of the backbone; a path: a file of the backbone's weights, or of the whole
            network as written by a training run or :func:`saccade.save`, whose output layer may have other joints.
        match: ``"order"`` if tensors of a file with other names are those of the network in order and shape.
        maps_per_joint: Maps that the codec has for each joint; 3 gives the network an offset head.

    Raises:
        InputError: The name is unknown, weights do not fit, or options contradict each other.
    """
    plain, options = name_and_options(name)
    if maps_per_joint > 1:
        options.setdefault("head", "offset")
    ours = isinstance(pretrained, str) and _is_ours(Path(pretrained))
    inside = mechanism if at is None else None
    _check_match(match, pretrained, ours)
    net = pose_estimator(
        plain, num_keypoints, backbone=backbone, mechanism=inside, pretrained=False if ours else pretrained,
        match=match, **options,
    )  # fmt: skip
    if at is not None:
        _insert(net, mechanism, at)
    if ours:
        _copy(net, _state_of(Path(str(pretrained))), Path(str(pretrained)), partial=mechanism is not None)
    return net


def is_classifier(name: str) -> bool:
    """Return whether `name` is a name of :func:`saccade.classifier`, with or without options; timm's are not."""
    plain = name_and_options(name)[0]
    timm: Any = require("timm", extra="train")
    if plain not in NETWORKS and timm.is_model(plain):
        return False
    try:
        find_classifier(plain)
    except InputError:
        return False
    return True


def _check_match(match: Match, pretrained: bool | str, ours: bool) -> None:
    """Refuse an order where names decide.

    Raises:
        InputError: No file of another program is given.
    """
    check_match(match)
    if match != "names" and (ours or not isinstance(pretrained, str)):
        raise InputError(
            f"--match {match} is for a file of weights under other names",
            "leave it out: saccade's own files carry the network's names"
            if ours
            else "give the file: --pretrained PATH",
        )


def _is_ours(path: Path) -> bool:
    from saccade.saving.store import is_saved

    return is_saved(path)


def _state_of(path: Path) -> Mapping[str, Tensor]:
    from saccade.finite import check_finite
    from saccade.saving import load

    state = load(path, trust=named_code()).state_dict()
    check_finite(state, str(path))
    return state


def _start_from(net: nn.Module, path: Path, of_width: Any, match: Match) -> None:
    """Load weights of a named classifier, under our names or its authors', whatever the number of their classes."""
    if _is_ours(path):
        _copy(net, _state_of(path), path)
        return
    from saccade.official import load_official
    from saccade.official.reading import read_in_order, read_tensors

    if match == "order":
        state = net.state_dict()
        outputs = [name for name, _ in list(net.named_parameters())[-2:]]
        _copy(net, read_in_order(path, state, outputs=outputs), path)
        return
    own = len(list(net.parameters())[-1])
    found: dict[int, Mapping[str, Tensor]] = {}

    def fitting(tensors: Mapping[str, Tensor]) -> None:
        widths = [len(tensor) for name, tensor in tensors.items() if name.endswith("bias") and tensor.dim()]
        complaint = None
        for width in dict.fromkeys([own, *widths[-1:]]):
            given = of_width(width)
            try:
                load_official(given, tensors)
            except InputError as cause:
                complaint = complaint or cause
            else:
                found[id(tensors)] = given.state_dict()
                return
        raise complaint or InputError(f"{path} contains no weights")

    _copy(net, found[id(read_tensors(path, fitting))], path)


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
