"""Check what is installed, whether it works, and how to repair it."""

from __future__ import annotations

import importlib
import os
import platform
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from saccade.distribution import DISTRIBUTION, install_command, requirements
from saccade.version import __version__

_PAIR = "pip install --upgrade --force-reinstall 'torch>=2.14' 'torchvision>=0.29' (both from the same index)"
_MODULES = {  # others: by their own name
    "scikit-learn": "sklearn", "scikit-image": "skimage", "pillow": "PIL", "pytest-xdist": "xdist", "pyyaml": "yaml",
    "opencv-python-headless": "cv2",
}  # fmt: skip
_EXTRAS = ("train", "demo", "formats", "pose", "dev")
_MIN_FREE_GIB = 1.0
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

State = Literal["ok", "missing", "broken"]


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report.

    Args:
        name: The component checked.
        state: ``"missing"`` components are optional; ``"broken"`` ones are required, or installed and do not work.
        found: Result of the check.
        repair: Advice on the repair; empty if all is well.
    """

    name: str
    state: State
    found: str
    repair: str = ""


@dataclass(frozen=True)
class Requirement:
    """A package that saccade requires: ``timm>=1.0.20``."""

    package: str
    floor: str

    @property
    def module(self) -> str:
        """Name of the module that the package is imported as."""
        return _MODULES.get(self.package, self.package.replace("-", "_"))

    def state(self) -> tuple[State, str]:
        """State of the package (installed, new enough, importable), and its version or what is wrong."""
        try:
            version = metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "missing", self.package
        if _numbers(version) < _numbers(self.floor):
            return "broken", f"{self.package} {version} is older than {self.floor}"
        try:
            importlib.import_module(self.module)
        except Exception as cause:  # a broken installation may raise anything
            return "broken", f"{self.package} {version} cannot be imported: {type(cause).__name__}: {cause}"
        return "ok", f"{self.package} {version}"


def check_installation() -> list[Check]:
    """Check everything saccade may use. Packages are really imported, which takes some seconds."""
    return [
        _python(),
        _saccade(),
        _packages("core", _requirements(None), install_command(upgrade=True)),
        _torchvision(),
        *_extras(),
        _gpu(),
        _tool("Chromium", CHROMIUM_NAMES, "only for browser tests: apt-get install chromium"),
        _compiler(),
        _disk(),
    ]


def _python() -> Check:
    return Check("Python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}")


def _saccade() -> Check:
    if requirements():
        return Check("saccade", "ok", f"{DISTRIBUTION} {__version__}")
    found = f"{__version__} from source that is not installed, so its packages cannot be checked"
    return Check("saccade", "missing", found, install_command())


def _requirements(extra: str | None) -> list[Requirement]:
    """Return requirements of the installed saccade; with `extra` only those that the extra adds."""
    found = []
    for line in requirements():
        wanted = re.search(r"extra\s*==\s*['\"](\w+)['\"]", line)
        if (wanted.group(1) if wanted else None) == extra:
            name, floor = re.match(r"([\w.-]+)(?:\[.*?\])?\s*(?:>=\s*([\w.]+))?", line).groups("")  # type: ignore[union-attr]
            if name != DISTRIBUTION:
                found.append(Requirement(name, floor))
    return found


def _extras() -> Iterator[Check]:
    """Yield a check of each extra by what it adds to those before it."""
    known: set[Requirement] = set()
    for extra in _EXTRAS:
        added = [needed for needed in _requirements(extra) if needed not in known]
        known.update(added)
        yield _packages(f"extra {extra}", added, install_command(extra, upgrade=True))


def _packages(name: str, needed: Iterable[Requirement], repair: str) -> Check:
    by_state: dict[State, list[str]] = {"ok": [], "missing": [], "broken": []}
    for requirement in needed:
        state, found = requirement.state()
        by_state[state].append(found)
    if name == "core":  # saccade does not work without these
        by_state["broken"] += [f"{package} is not installed" for package in by_state.pop("missing")]
    for state in ("broken", "missing"):
        if by_state.get(state):
            return Check(name, state, "; ".join(by_state[state]), repair)
    return Check(name, "ok", ", ".join(by_state["ok"]))


def _torchvision() -> Check:
    """Call an operator that exists only if torchvision was built for this very torch."""
    name = "torch and torchvision"
    try:
        torchvision: Any = importlib.import_module("torchvision")
        torch: Any = importlib.import_module("torch")
        boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 1.9]])
        kept = torchvision.ops.nms(boxes, torch.tensor([1.0, 0.5]), 0.5).tolist()
    except ModuleNotFoundError as cause:
        return Check(name, "missing", f"{cause.name} is not installed", install_command("train"))
    except Exception as cause:  # an operator that is not registered is a RuntimeError, a lost library an OSError
        return Check(name, "broken", f"they do not fit: {type(cause).__name__}: {cause}", _PAIR)
    if kept != [0]:
        return Check(name, "broken", f"nms kept the boxes {kept} instead of [0]", _PAIR)
    return Check(name, "ok", f"{torch.__version__} and {torchvision.__version__} fit together: nms was called")


def _gpu() -> Check:
    try:
        torch: Any = importlib.import_module("torch")
        if torch.cuda.is_available():
            names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
            return Check("GPU", "ok", ", ".join(names))
        if torch.backends.mps.is_available():
            return Check("GPU", "ok", "Apple (mps)")
    except Exception as cause:  # a driver that does not fit, or no torch at all
        return Check("GPU", "missing", f"{type(cause).__name__}: {cause}", "see the line on core")
    built = f"this torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "this torch has no CUDA"
    return Check("GPU", "missing", "none that torch can use", f"not needed; if you have one: {built}, see its driver")


def _tool(name: str, commands: Iterable[str], repair: str) -> Check:
    for command in commands:
        if path := shutil.which(command):
            return Check(name, "ok", path)
    return Check(name, "missing", "not found", repair)


def _compiler() -> Check:
    chosen = os.environ.get("CXX")
    names = (chosen,) if chosen else ("c++", "g++", "clang++")
    return _tool("C++ compiler", names, "only for torch.compile on a CPU: apt-get install g++")


def _disk() -> Check:
    free = shutil.disk_usage(".").free / 2**30
    found = f"{free:.1f} GiB free in this folder"
    if free >= _MIN_FREE_GIB:
        return Check("disk", "ok", found)
    return Check(
        "disk", "broken", found, f"free {_MIN_FREE_GIB:.0f} GiB: a comparison writes checkpoints and pictures here"
    )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the release number of a version, to compare: 1.0.20 and 2.15.0+cpu give (1, 0, 20) and (2, 15, 0)."""
    release = re.match(r"[\d.]*", version.split("+")[0])
    return tuple(int(part) for part in (release.group() if release else "").split(".") if part)
