"""``saccade look``: what each point of an image attends to, as a page that opens from disk."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from saccade.cli.answer import Answer, Given
from saccade.cli.options import PRETRAINED, default, within
from saccade.errors import InputError, near
from saccade.networks.order import Match
from saccade.ranges import LARGEST_SIDE, Whole

if TYPE_CHECKING:
    from saccade.look.networks import Inspected

_TIMM = "timm"


def look(
    *images: Annotated[Path, Parameter(name="IMAGES")],
    model: Path | None = None,
    trust: list[str] | None = None,
    mechanism: str | None = None,
    backbone: str | None = None,
    pretrained: Annotated[PRETRAINED, default("random weights")] = None,
    match: Match = "names",
    at: Annotated[str | None, default("its natural places")] = None,
    query: Annotated[list[str] | None, Parameter(metavar="Y,X|JOINT")] = None,
    place: Annotated[str | None, default("the last that weighs positions")] = None,
    size: Annotated[int | None, default("as in training"), within(Whole(8, LARGEST_SIDE))] = None,
    png: bool = False,
    out: Path = Path("saccade-look"),
    settings: Given,
) -> Answer:
    """Show what each point of an image attends to: one page per image, which opens from disk and needs no network.

    Move over the picture, or click, and see at every place what that point looks at.

    - `saccade look street.jpg --model saccade-compare/demo/runs/non_local/0`
    - `saccade look street.jpg --mechanism cbam --backbone resnet50 --pretrained`

    Args:
        images: Photographs or other image files.
        model: A trained network: the folder of a training or of an arm of a comparison, or a file that `saccade.save`
            wrote.
        trust: The import path of code of your own that the model needs and that may be imported for it, such as
            `my_package.blocks:MyBlock`; may be given several times.
        mechanism: A mechanism to put into a backbone instead of a trained network, such as `"cbam[reduction=8]"`, or
            one of your own, `my_package.blocks:MyBlock`.
        backbone: The network that the mechanism goes into: of timm, `torchvision/resnet18`, `notes` (the demo's), or
            one of your own, `my_package.nets:make`.
        pretrained: Give the backbone trained weights: without PATH those of timm, which are downloaded; with PATH those
            of a file.
        match: Which tensor of a file of weights is which: `names`, or `order` for a file with other names whose tensors
            have the order and shapes of the network's.
        at: Places of the mechanism, see `saccade plan`.
        query: A point of the image whose weights are computed exactly, in pixels from 0, y first; or the name of a key
            point, where the network finds it. May be given several times.
        place: The place that is shown large at first.
        size: Longer side, in pixels, that images are reduced to for the network.
        png: Write pictures too: the weights of each `--query` at each place, gates, and weights between channels.
        out: Folder for the pages.
    """
    if not images:
        raise InputError("look: no image was given", "saccade look IMAGE --model RUN")
    network = _network(model, mechanism, backbone, pretrained, match, at, trust or ())
    queries = [_query(text, network) for text in query or ()]
    from saccade.look.look import look as look_at

    progress = _progress(settings.quiet or settings.json or len(images) < 2)
    found = look_at(images, network, out, queries=queries, place=place, size=size, png=png, on_progress=progress)
    data = [
        {
            "image": str(one.image),
            "page": str(one.page),
            "pictures": [str(p) for p in one.pictures],
            "places": one.places,
        }
        for one in found
    ]
    lines = [str(path) for one in found for path in (one.page, *one.pictures)]
    if network.trained != "run":
        which = "those of the mechanism" if network.trained == "backbone" else "all"
        lines.append(f"untrained weights: {which} are random")
    return Answer(data, "\n".join(lines))


def _network(
    model: Path | None,
    mechanism: str | None,
    backbone: str | None,
    pretrained: str | None,
    match: Match,
    at: str | None,
    trust: Sequence[str],
) -> Inspected:
    others = (mechanism, backbone, pretrained, at)
    if model is not None and (any(option is not None for option in others) or match != "names"):
        raise InputError(
            "look: --model names a whole network", "leave --mechanism, --backbone, --pretrained, --match and --at out"
        )
    if model is None and (mechanism is None or backbone is None):
        raise InputError("look: no network was given", "give --model RUN, or both --mechanism NAME and --backbone NAME")
    from saccade.look.networks import make_network, open_model

    if model is not None:
        return open_model(model, trust)
    assert mechanism is not None
    assert backbone is not None
    weights = pretrained == _TIMM or pretrained or False
    return make_network(mechanism, backbone, at=at, pretrained=weights, match=match)


def _query(text: str, network: Inspected) -> tuple[int, int] | str:
    found = re.fullmatch(r"\s*(-?\d+)\s*,\s*(-?\d+)\s*", text)
    if found is not None:
        return int(found[1]), int(found[2])
    if text.strip() in network.joints:
        return text.strip()
    if network.joints:
        raise InputError(f"--query: {text!r} is neither a point Y,X nor a key point", near(text, network.joints))
    raise InputError(f"--query: expected Y,X such as 120,64; received {text!r}", "y first, in pixels from 0")


def _progress(quiet: bool) -> Callable[[int, int, str], None]:
    """Print a line before each image: (done, total, what)."""
    if quiet:
        return lambda done, total, what: None
    from rich.console import Console

    console = Console(stderr=True)
    return lambda done, total, what: console.print(f"{done + 1} of {total}: {what}", markup=False)
