"""Devices by name, as options give them."""

from __future__ import annotations

import shutil
from collections.abc import Collection

import torch

from saccade.errors import InputError


def find_device(asked: str, kinds: Collection[str] = ("cpu", "cuda", "mps")) -> torch.device:
    """Find a device.

    Args:
        asked: ``"auto"`` takes a GPU if there is one, else the CPU; ``"cpu"``, ``"cuda"``, one GPU such as
            ``"cuda:1"``, or ``"mps"``.
        kinds: Kinds of devices that the caller can use.

    Raises:
        InputError: There is no such device, or the caller cannot use its kind.
    """
    if asked == "auto":
        asked = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(asked)
    except RuntimeError:
        device = None
    if device is None or device.type not in kinds:
        raise InputError(f"unknown device {asked!r}", "use auto, cpu, cuda, or one GPU such as cuda:1")
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {asked!r}: torch sees no GPU here", "use --device cpu, or see saccade doctor")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InputError(
            f"device {asked!r}: torch sees {torch.cuda.device_count()} GPUs here, counted from 0",
            "use --device cuda, or a smaller number",
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise InputError(f"device {asked!r}: torch finds no GPU of Apple here", "use --device cpu")
    return device


def has_compiler(device: torch.device) -> bool:
    """Return True if :func:`torch.compile` finds what it needs: on a CPU, a C++ compiler."""
    return device.type != "cpu" or any(map(shutil.which, ("c++", "g++", "clang++", "cl")))


def check_compiler(device: torch.device) -> None:
    """Refuse compiling where there is no compiler.

    Raises:
        InputError: Saying what to install.
    """
    if not has_compiler(device):
        raise InputError("--compile: torch needs a C++ compiler on a CPU, and found none", "install g++ or clang")
