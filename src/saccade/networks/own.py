"""Networks of the user's own, by import path (``my_package.nets:make``), called as timm's functions are."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from saccade.catalog import imported, name_and_options
from saccade.errors import InputError
from saccade.networks.features import Norm, replace_norms

_SIDE = 128  # side of the image that determines the widths of a feature network's maps


@dataclass(frozen=True)
class Levels:
    """The feature maps of a network, in the form of timm's ``feature_info``.

    Args:
        widths: Channels of each map.
    """

    widths: tuple[int, ...]

    def channels(self) -> list[int]:
        """Return the channels of each map."""
        return list(self.widths)


def own_classifier(backbone: str, num_classes: int, *, pretrained: bool | str = False) -> nn.Module:
    """Make a classification network: the function is called with ``num_classes=``.

    Args:
        backbone: Import path of a class or function, with options in brackets: ``"my_package.nets:make[depth=20]"``.
        num_classes: Number of classes.
        pretrained: If True, the function is called with ``pretrained=True`` as well.

    Raises:
        InputError: The import path does not exist or cannot be called, it raised an error, it did not return a module,
            or it does not take `pretrained`.
    """
    path, options = name_and_options(backbone)
    given = {"num_classes": num_classes, **options}
    made = own_network(path, given | _weights(imported(path), path, pretrained))
    made.saccade_network = {"library": "code", "name": path, "options": given}  # type: ignore[assignment]
    return made


def own_features(
    backbone: str,
    *,
    pretrained: bool | str = False,
    norm_layer: Norm = nn.BatchNorm2d,
    output_stride: int | None = None,
    multi_grid: Sequence[int] | None = None,
    **as_published: Any,
) -> nn.Module:
    """Make a feature network for segmentation: the function is called with ``features_only=True``.

    The network returns a list of feature maps (B, C, H, W), the deepest last. Strides and dilations are its own.

    Args:
        backbone: See :func:`own_classifier`.
        pretrained: See :func:`own_classifier`.
        norm_layer: Constructor of a norm, called with its width; replaces every batch norm.
        output_stride: Passed to the function; None calls it without.
        multi_grid: Refused, as it sets dilations of timm's ResNets.
        as_published: Ignored, as it changes timm's ResNets.

    Raises:
        InputError: See :func:`own_classifier`; also an option that the function does not take, or a network that does
            not return a list of feature maps.
    """
    path, options = name_and_options(backbone)
    make = imported(path)
    for option, value in (("output_stride", output_stride), ("multi_grid", multi_grid)):
        if value is not None and (option == "multi_grid" or not _takes(make, option)):
            raise InputError(f"{path}: {option}={value!r} is for networks of timm", f"leave {option} out")
    stride = {} if output_stride is None else {"output_stride": output_stride}
    made = own_network(path, {"features_only": True, **options, **stride, **_weights(make, path, pretrained)})
    if norm_layer is not nn.BatchNorm2d:
        replace_norms(made, norm_layer)
    made.feature_info = Levels(_widths(made, path))  # type: ignore[assignment]
    return made


def own_network(path: str, given: Mapping[str, Any]) -> nn.Module:
    """Call what an import path names with some options.

    Raises:
        InputError: The import path does not exist or cannot be called, it raised an error, or it did not return a
            module.
    """
    make = imported(path)
    call = f"{path}({', '.join(f'{name}={value!r}' for name, value in given.items())})"
    try:
        made = make(**given)
    except InputError:
        raise
    except Exception as cause:  # the user's code may raise anything
        raise InputError(
            f"{call} raised {type(cause).__name__}: {cause}",
            "a backbone of your own is called with num_classes= to classify, with features_only=True to segment",
        ) from cause
    if not isinstance(made, nn.Module):
        raise InputError(f"{call} returned a {type(made).__name__}; expected a torch.nn.Module")
    return made


def _weights(make: Callable[..., Any], path: str, pretrained: bool | str) -> dict[str, bool]:
    if not pretrained:
        return {}
    if pretrained is not True or not _takes(make, "pretrained"):
        what = "--pretrained" if pretrained is True else f"--pretrained {pretrained}"
        raise InputError(f"{what}: {path} does not take trained weights this way", "load them in that function")
    return {"pretrained": True}


def _takes(make: Callable[..., Any], option: str) -> bool:
    parameters = inspect.signature(make).parameters.values()
    return any(p.name == option or p.kind is p.VAR_KEYWORD for p in parameters)


def _widths(net: nn.Module, path: str) -> tuple[int, ...]:
    like = next(net.parameters(), torch.empty(0))
    image, training = torch.zeros(1, 3, _SIDE, _SIDE, device=like.device, dtype=like.dtype), net.training
    try:
        with torch.no_grad():
            maps = net.eval()(image)
    except Exception as cause:  # the user's code may raise anything
        raise InputError(
            f"{path} cannot work on an image of {_SIDE} x {_SIDE} ({type(cause).__name__}: {cause})"
        ) from cause
    net.train(training)
    if not isinstance(maps, (list, tuple)) or not all(isinstance(y, Tensor) and y.dim() == 4 for y in maps):
        kind = f"a tensor of shape {tuple(maps.shape)}" if isinstance(maps, Tensor) else f"a {type(maps).__name__}"
        raise InputError(
            f"{path}: with features_only=True the network must return a list of feature maps (B, C, H, W), the "
            f"deepest last; it returned {kind}"
        )
    return tuple(y.shape[1] for y in maps)
