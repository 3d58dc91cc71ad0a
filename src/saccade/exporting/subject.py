"""The network to be exported, as a function of one tensor, and what its file says of it."""

from __future__ import annotations

import copy
import os
import platform
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from saccade.errors import InputError
from saccade.mechanisms.base import Mechanism
from saccade.networks.statistics import IMAGENET, Statistics, expected_by
from saccade.runs.open import Opened, open_run
from saccade.tasks.base import Task
from saccade.tasks.trees import leaves, named
from saccade.training.inputs import standardised
from saccade.version import __version__

FORMAT = 1
OUTPUT = "output"
"""Name of what a network returns, in its files."""
_PREDICTIONS = "predictions"
_SIZE = (224, 224)


@dataclass(frozen=True)
class Subject:
    """A network and what is known of it.

    Args:
        net: The network in evaluation mode on the CPU, with its steps before and after.
        name: Name of the run or network.
        task: Its task, if known.
        channels: Channels of its input.
        size: Height and width of its example.
        pre: True if it standardises uint8 images itself.
        statistics: Mean and standard deviation that its images are standardised by.
        post: True if it returns predictions too.
        outputs: Names of what it returns, the output of the network itself last.
        trained: False if its weights are random.
        folder: Folder of the training data, if it is recorded and there.
        about: What its file says of it, as plain values.
    """

    net: nn.Module
    name: str
    task: Task | None
    channels: int
    size: tuple[int, int]
    pre: bool = False
    statistics: Statistics = IMAGENET
    post: bool = False
    outputs: tuple[str, ...] = (OUTPUT,)
    trained: bool = True
    folder: Path | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def joints(self) -> int:
        """Number of joints that it returns heat maps of; 0 for other networks."""
        return len(self.task.classes) if self.task is not None and self.task.called == "joints" else 0

    def example(self, batch: int, size: tuple[int, int] | None = None) -> Tensor:
        """Return a drawn input: smooth patches with noise, as uint8 with `pre`, else standardised."""
        height, width = size or self.size
        draw = torch.Generator().manual_seed(batch + height)
        coarse = torch.rand(batch, self.channels, 4, 4, generator=draw)
        smooth = nn.functional.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
        noisy = (smooth + 0.1 * torch.rand(smooth.shape, generator=draw)).clamp(0, 1)
        return self.fed((255 * noisy).round().to(torch.uint8))

    def fed(self, images: Tensor) -> Tensor:
        """Return images, uint8 (B, 3, H, W), as the network reads them."""
        if self.pre:
            return images
        return standardised(images, self.statistics) if self.channels == 3 else (images.float() - 128) / 64


class WithSteps(nn.Module):
    """A network with its standardisation before it, and its predictions after it.

    With predictions it returns these and, last, the output of the network, from which protocols and scores start.

    Args:
        net: The network.
        task: Its task, for predictions; None returns what the network returns.
        pre: If True, images are uint8 and standardised here.
        half: If True, the network computes in half precision; inputs and outputs stay float32.
        statistics: Mean and standard deviation that images are standardised by.
    """

    def __init__(
        self, net: nn.Module, task: Task | None, *, pre: bool, half: bool, statistics: Statistics = IMAGENET
    ) -> None:
        super().__init__()
        self.net, self.task, self.pre, self.half_precision = net, task, pre, half
        self.statistics = statistics

    def forward(self, x: Tensor) -> Any:
        tree, found = self.predicted(x)
        return found if self.task is None else (*leaves(tree), found)

    def predicted(self, x: Tensor) -> tuple[Any, Tensor]:
        """Return the predictions, None without a task, and the output of the network that they follow from."""
        size = (x.shape[2], x.shape[3])
        if self.pre:
            x = standardised(x, self.statistics)
        found = self.net(x.half() if self.half_precision else x)
        if self.half_precision:
            found = found.float()
        return None if self.task is None else self.task.predict(found, size), found


def subject_of(asked: Any) -> Subject:
    """Open, make or take the network of the options.

    Args:
        asked: :class:`saccade.exporting.options.ExportOptions`.

    Raises:
        InputError: There is no such network, or it has no task that its predictions follow from.
    """
    net, name, task, trained, source, reading = _network(asked)
    folder = _data_of(source) if source is not None else None
    if asked.with_post and task is None:
        raise InputError(
            f"{name}: --with-post needs the task of the network, which its file does not say", "leave it out"
        )
    channels, size = 3, task.shape if task is not None else _SIZE
    if asked.example_input is not None:
        channels, size = asked.example_input.shape[1], tuple(asked.example_input.shape[2:])
    if asked.with_pre and channels != 3:
        raise InputError(f"{name}: --with-pre is for images of 3 channels; received {channels}", "leave it out")
    wrapped: nn.Module = net
    statistics = task.statistics if task is not None else expected_by(net)
    halved = asked.half and asked.to in ("onnx", "torch-export", "torchscript")
    if asked.with_pre or asked.with_post or halved:
        inner = copy.deepcopy(net).half() if halved else net
        wrapped = WithSteps(
            inner, task if asked.with_post else None, pre=asked.with_pre, half=halved, statistics=statistics
        ).eval()
    about = {
        "format": FORMAT,
        "saccade": __version__,
        "name": name,
        "source": None if source is None else str(source),
        "trained": trained,
        "task": None if task is None else task.to_json(),
        "classes": [] if task is None else list(task.classes),
        "reading": reading,
        "channels": channels,
        "mechanisms": mechanisms_of(net),
        "pre": asked.with_pre,
        "statistics": statistics.to_json(),
        "post": asked.with_post,
        "precision": "int8" if asked.int8 is not None else "half" if asked.half else "float32",
        "versions": {"torch": torch.__version__, "python": platform.python_version()},
        "licence": {"saccade": "Apache-2.0", "weights": _licence(net)},
    }
    return Subject(
        wrapped, name, task, channels, size, pre=asked.with_pre, statistics=statistics, post=asked.with_post,
        trained=trained, folder=folder, about=about,
    )  # fmt: skip


def names_of_outputs(net: nn.Module, x: Tensor) -> tuple[str, ...]:
    """Return the names of what a network returns for an input: of the parts of its predictions, if any, and its own."""
    if not isinstance(net, WithSteps):
        net(x)
        return (OUTPUT,)
    tree, _ = net.predicted(x)
    parts = {} if tree is None else named(_PREDICTIONS, tree)
    return (*(name.removeprefix(f"{_PREDICTIONS}-") for name in parts), OUTPUT)


def mechanisms_of(net: nn.Module) -> list[str]:
    """Return the classes of the mechanisms in a network, each with its number: ``CBAM x 8``."""
    names = [str(getattr(module, "label", "")) for module in net.modules() if isinstance(module, Mechanism)]
    return [f"{name} x {names.count(name)}" for name in dict.fromkeys(names)]


def modules_of_mechanisms(net: nn.Module) -> dict[str, list[str]]:
    """Return the classes of the mechanisms in a network, each with the names of its modules.

    Those inside of other mechanisms are parts of these.
    """
    found: dict[str, list[str]] = {}
    outer: set[str] = set()
    for name, module in net.named_modules():
        inside = any(name.startswith(f"{one}.") for one in outer) or "" in outer
        if isinstance(module, Mechanism) and not inside:
            outer.add(name)
            found.setdefault(str(getattr(module, "label", "")) or type(module).__name__, []).append(name)
    return found


def at_their_start(net: nn.Module) -> int:
    """Return the number of factors of attention that are still 0: what they multiply is in no output."""
    ends = ("gamma", "g")
    return sum(
        parameter.numel() == 1 and not parameter.any()
        for name, parameter in net.named_parameters()
        if name.rpartition(".")[2] in ends
    )


def _network(asked: Any) -> tuple[nn.Module, str, Task | None, bool, Path | None, dict[str, Any] | None]:
    model = asked.model
    if isinstance(model, nn.Module):
        from saccade.insertion.wrappers import unwrapped

        net = copy.deepcopy(unwrapped(model)).cpu().eval()
        return net, type(net).__name__, None, True, None, None
    if not isinstance(model, (str, os.PathLike)):
        raise InputError(f"export: expected a network, a folder or a name; received a {type(model).__name__}")
    path = Path(os.path.expanduser(model))
    if path.exists() or not isinstance(model, str) or "/" in model:
        opened: Opened = open_run(path, asked.trust)
        if opened.exported:
            raise InputError(f"{path} is an exported file already", "give the folder of the training")
        return opened.net, opened.name, opened.known, True, opened.file.resolve(), opened.reading.plain()
    from saccade.networks.make import make_network

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = make_network(model, asked.classes, backbone=asked.backbone, mechanism=asked.mechanism)
    return net.eval(), model, None, False, None, None


def _data_of(source: Path) -> Path | None:
    """Return the folder of the data of a training, if it is recorded and still there."""
    from saccade.runs.names import RESULT
    from saccade.runs.records import RunOutcome, read_record

    for place in [source, *source.absolute().parents][:4]:
        if (place / RESULT).is_file():
            try:
                folder = Path(read_record(place / RESULT, RunOutcome).data)
            except InputError:  # of another kind of run, which records none
                return None
            return folder if folder.is_dir() else None
    return None


def _licence(net: nn.Module) -> str:
    for module in net.modules():
        config = getattr(module, "pretrained_cfg", None)
        found = config.get("license") if isinstance(config, dict) else getattr(config, "license", None)
        if found:
            return str(found)
    return "not recorded"
