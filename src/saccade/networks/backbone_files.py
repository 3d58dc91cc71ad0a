"""Networks of timm with their weights: random, fetched by timm, or from a file, which must fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from saccade.catalog import is_import_path
from saccade.errors import InputError, require
from saccade.networks.features import feature_network, without_values
from saccade.networks.order import Match, check_match, in_order


def build_classifier(
    name: str, num_classes: int, *, pretrained: bool | str = False, match: Match = "names"
) -> nn.Module:
    """Make a classification network of timm; random weights are drawn by torch's global generator.

    Args:
        name: A timm name that exists, or the import path of your own network, which must have been named by the user,
            see :mod:`saccade.networks.own`.
        num_classes: Number of classes.
        pretrained: True: timm's weights (downloaded once); a path: a local file of that network.
        match: What decides where a tensor of the file goes: its name, or its place in the order (``"order"``).

    Raises:
        InputError: The weights cannot be fetched, or the file does not fit.
    """
    if is_import_path(name):
        from saccade.networks.own import own_classifier

        return own_classifier(name, num_classes, pretrained=pretrained)
    timm = require("timm", extra="train")
    with _fetching(name, pretrained):
        net: nn.Module = timm.create_model(name, num_classes=num_classes, pretrained=pretrained is True)
    if isinstance(pretrained, str):
        load_backbone_file(net, Path(pretrained), name, match)
    return net


def build_features(
    backbone: str, *, pretrained: bool | str = False, match: Match = "names", **options: Any
) -> nn.Module:
    """Make a feature network of timm, or of the user's own, for segmentation.

    Args:
        backbone: A timm name, or an import path.
        pretrained: See :func:`build_classifier`.
        match: See :func:`build_classifier`.
        options: Options of :func:`saccade.networks.features.feature_network`.

    Raises:
        InputError: See :func:`build_classifier`; also a backbone that does not support the options.
    """
    if is_import_path(backbone):
        from saccade.networks.own import own_features

        return own_features(backbone, pretrained=pretrained, **options)
    with _fetching(backbone, pretrained):
        made = feature_network(backbone, pretrained=pretrained is True, **options)
    if isinstance(pretrained, str):
        load_backbone_file(made, Path(pretrained), backbone, match)
    return made


@contextmanager
def _fetching(backbone: str, pretrained: bool | str) -> Iterator[None]:
    """Translate a failed download of timm's weights into an error that says what to do."""
    try:
        yield
    except (OSError, RuntimeError) as cause:
        if pretrained is not True and isinstance(cause, RuntimeError):  # such as a tag after a dot that it lacks
            raise InputError(f"timm cannot make {backbone} ({cause})", "choose another network") from cause
        if pretrained is not True:
            raise
        raise InputError(
            f"the pretrained weights of {backbone} could not be fetched ({type(cause).__name__})",
            "give a file: --pretrained PATH, with this backbone's weights as safetensors or of torch.save",
        ) from cause


def load_backbone_file(network: nn.Module, path: Path, name: str, match: Match = "names") -> None:
    """Load weights of `name` from a file; a classifier of another width is skipped, everything else must fit.

    Args:
        network: timm's classification network or its feature network; their key names differ.
        path: File with timm's key names of the classification network; additional tensors are ignored.
        name: timm's name of the backbone.
        match: ``"names"``, or ``"order"`` for a file with other names, in the order of the classification network.

    Raises:
        InputError: The file is missing, does not hold plain weights, or has tensors that do not fit.
    """
    from saccade.official.reading import read_in_order, read_tensors

    check_match(match)
    plain = without_values(require("timm", extra="train"), name)
    if match == "order":
        heads = [key for key in plain.state_dict() if _is_head(key, plain)]
        given = read_in_order(path, plain.state_dict(), outputs=heads)
    else:
        given = read_tensors(path, lambda tensors: _check_file(tensors, plain, path, name))
    by_name = {_plain_name(key): tensor for key, tensor in given.items()}
    own = network.state_dict()
    fits = {
        key: by_name[_plain_name(key)]
        for key, tensor in own.items()
        if _plain_name(key) in by_name and by_name[_plain_name(key)].shape == tensor.shape
    }
    random = [key for key in own if key not in fits and not _optional(key, plain)]
    if random:
        raise InputError(
            f"{name} at stride 8 has {len(random)} tensors that its file cannot have, the first is {random[0]}",
            "choose another backbone, such as resnet18, resnet50 or regnety_008",
        )
    network.load_state_dict(fits, strict=False)


def _check_file(given: Mapping[str, Tensor], plain: nn.Module, path: Path, name: str) -> None:
    expected = plain.state_dict()
    missing = [
        key
        for key, tensor in expected.items()
        if (key not in given or given[key].shape != tensor.shape) and not _optional(key, plain)
    ]
    # A file of a larger network of the same family holds all that is expected, and more: refuse it.
    # Additional tensors, such as an auxiliary classifier or an index, do no harm.
    heads, kinds = ({key.split(".")[place] for key in expected} for place in (0, -1))
    foreign = [
        key
        for key in given.keys() - expected.keys()
        if key.split(".")[0] in heads and key.split(".")[-1] in kinds and not _optional(key, plain)
    ]
    for wrong, total, what in (
        (missing, expected, "are missing or of another shape"),
        (sorted(foreign), given, "are not its own"),
    ):
        if wrong:
            raise InputError(
                f"{path} does not hold the weights of {name}: {len(wrong)} of {len(total)} tensors {what}, "
                f"the first are {', '.join(wrong[:3])}",
                "its tensors fit in order and shape: --match order takes them so"
                if _fits_in_order(given, plain)
                else "give a file with timm's key names for this backbone",
            )


def _fits_in_order(given: Mapping[str, Tensor], plain: nn.Module) -> bool:
    try:
        in_order(given, plain.state_dict(), "", outputs=[key for key in plain.state_dict() if _is_head(key, plain)])
    except InputError:
        return False
    return True


def _plain_name(key: str) -> str:
    """Return the name shared by a classification network and its feature network (stages_0, model.stages.0)."""
    return key.removeprefix("model.").replace(".", "_")


def _optional(key: str, plain: nn.Module) -> bool:
    """Return whether a file may lack `key`: a counter, or part of the classifier."""
    return key.endswith("num_batches_tracked") or _is_head(key, plain)


def _is_head(key: str, plain: nn.Module) -> bool:
    """Return whether a tensor belongs to the classifier."""
    config: Any = plain.pretrained_cfg
    heads = config.get("classifier") or "fc"
    prefixes = (heads,) if isinstance(heads, str) else tuple(heads)
    return key.startswith(tuple(f"{prefix}." for prefix in prefixes))
