"""Recipes to rebuild a network, found by building candidates without memory and comparing them with it."""

from __future__ import annotations

import inspect
import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from saccade.errors import InputError, near, require

LIBRARIES = ("timm", "torchvision", "saccade", "code")
"""Sources of networks; ``"code"`` is the user's own, by import path."""
_FACTORIES = frozenset((torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn))
_HEADS = 8  # layers at the end whose width may be the number of classes


def find_recipe(network: nn.Module) -> dict[str, Any] | None:
    """Return a library, a name and options that build this network without its mechanisms; None if there are none."""
    wanted = fingerprint(network)
    for recipe in _candidates(network):
        try:
            if fingerprint(build(recipe, hollow=True)) == wanted:
                return recipe
        except Exception:  # a library may refuse a guess in any way
            continue
    return None


def build(recipe: Mapping[str, Any], *, hollow: bool = False) -> nn.Module:
    """Build the network of a recipe with random weights; if `hollow`, without memory for them.

    Raises:
        InputError: An unknown library or name, or code that may not be imported.
    """
    library, name, options = recipe["library"], recipe["name"], _tuples(recipe["options"])
    with _Hollow() if hollow else torch.random.fork_rng(devices=[]):
        if library == "timm":
            timm: Any = require("timm", extra="train")
            if not timm.is_model(name):
                raise InputError(f"timm has no network called {name!r}", near(name, timm.list_models()))
            made: nn.Module = timm.create_model(name, **options)
        elif library == "torchvision":
            models: Any = require("torchvision.models", extra="train")
            if name not in models.list_models():
                raise InputError(f"torchvision has no network called {name!r}", near(name, models.list_models()))
            if "weights_backbone" in inspect.signature(models.get_model_builder(name)).parameters:
                options["weights_backbone"] = None
            made = models.get_model(name, weights=None, **options)
        elif library == "saccade" and name == "notes":
            from saccade.networks.make import demo_network

            made = demo_network(**options)
        elif library == "saccade" and name == "chips":
            from saccade.networks.make import chips_network

            made = chips_network(**options)
        elif library == "saccade":
            made = _named_network(name, options)
        elif library == "code":
            from saccade.networks.own import own_network

            made = own_network(name, options)
        else:
            raise InputError(f"unknown library {library!r}", f"known: {', '.join(LIBRARIES)}")
    return made


def _named_network(name: str, options: dict[str, Any]) -> nn.Module:
    from saccade.networks.classifier import classifier
    from saccade.networks.pose_estimator import list_pose_estimators, pose_estimator
    from saccade.networks.segmenter import list_segmenters, segmenter

    if name in list_pose_estimators():
        return pose_estimator(name, **options)
    return segmenter(name, **options) if name in list_segmenters() else classifier(name, **options)


def class_of(module: nn.Module) -> type[nn.Module]:
    """Return the class of a module, for one that `fully_shard` changed the class that it had before."""
    kind = type(module)
    sharded = len(kind.__bases__) > 1 and kind.__bases__[0].__name__ == "FSDPModule"
    return kind.__bases__[1] if sharded else kind


def fingerprint(network: nn.Module) -> list[tuple[Any, ...]]:
    """Return what two networks built alike have in common: modules, their classes and plain settings, tensor shapes."""
    found = []
    for path, module in network.named_modules():
        if re.search(r"(^|\.)saccade(_before)?($|\.)", path):
            continue
        settings = {key: value for key, value in vars(module).items() if key[0] != "_" and _is_plain(value)}
        settings.pop("training", None)
        tensors = {**module._parameters, **module._buffers}
        shapes = {key: None if tensor is None else tuple(tensor.shape) for key, tensor in tensors.items()}
        kind = class_of(module)
        found.append((path, f"{kind.__module__}.{kind.__qualname__}", settings, shapes))
    return found


def _candidates(network: nn.Module) -> Iterator[dict[str, Any]]:
    own = vars(network).get("saccade_network")
    home = class_of(network).__module__
    if isinstance(own, Mapping):
        yield {"library": own.get("library", "saccade"), "name": own["name"], "options": dict(own["options"])}
    if home == "saccade.networks.notes":
        yield from ({"library": "saccade", "name": "notes", "options": {"num_classes": n}} for n in _widths(network))
    stated = getattr(network, "pretrained_cfg", None) or getattr(network, "default_cfg", None)
    if isinstance(stated, Mapping) and stated.get("architecture"):
        for options in _timm_options(network):
            yield {"library": "timm", "name": stated["architecture"], "options": options}
    if home.startswith("torchvision.models"):
        for options, name in itertools.product(_torchvision_options(network), _torchvision_names(home)):
            yield {"library": "torchvision", "name": name, "options": options}


def _timm_options(network: Any) -> Iterator[dict[str, Any]]:
    """Yield options that can be read off a network of timm, from its defaults to all that may differ."""
    channels = next((m.in_channels for m in network.modules() if isinstance(m, nn.Conv2d)), 3)
    levels: Any = getattr(network, "feature_info", None)
    if hasattr(levels, "out_indices"):
        first: dict[str, Any] = {"features_only": True, "out_indices": tuple(levels.out_indices)}
    else:
        first = {"num_classes": getattr(network, "num_classes", 1000)}
    rate = getattr(network, "drop_rate", None)
    extras: list[dict[str, Any]] = [{}, {"output_stride": 16}, {"output_stride": 8}, {"drop_rate": rate}]
    for extra, own in itertools.product(extras, ({}, {"in_chans": channels})):
        yield {**first, **extra, **own}


def _torchvision_names(home: str) -> list[str]:
    models: Any = require("torchvision.models", extra="train")
    names: list[str] = [n for n in models.list_models() if models.get_model_builder(n).__module__ == home]
    if names:
        return names
    # Detectors and segmenters share a class: generalized_rcnn, _utils.
    package = home.rpartition(".")[0]
    return [n for n in models.list_models() if models.get_model_builder(n).__module__.startswith(f"{package}.")]


def _torchvision_options(network: nn.Module) -> Iterator[dict[str, Any]]:
    auxiliary = {"aux_loss": True} if getattr(network, "aux_classifier", None) is not None else {}
    yield from ({"num_classes": width, **auxiliary} for width in _widths(network))


def _widths(network: nn.Module) -> list[int]:
    """Return the widths of the last layers, the likely numbers of classes, last first."""
    found = [m.weight.shape[0] for m in network.modules() if isinstance(m, (nn.Linear, nn.Conv2d))]
    return list(dict.fromkeys(found[-_HEADS:][::-1]))


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_plain(part) for part in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    """Convert lists, the only sequences of JSON, to the tuples that options are."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


class _Hollow(TorchFunctionMode):
    """Create tensors on the meta device, except those given by their values, which constructors may read."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _FACTORIES:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
