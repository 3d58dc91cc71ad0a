"""Versions and machine, as far as results depend on them, and the state of the user's repository."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from typing import Any

import torch

from saccade.version import __version__


def environment(device: str, **more: Any) -> dict[str, Any]:
    """Return versions and machine, as far as results depend on them."""
    versions: dict[str, str | None] = {}
    for package in ("torch", "torchvision", "timm", "numpy", "accelerate"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(), **versions, "saccade": __version__, "platform": platform.platform(),
        "cpu": _cpu(), "gpu": _gpu(device), "device": device, **more,
    }  # fmt: skip


def _gpu(device: str) -> str | None:
    return torch.cuda.get_device_name(torch.device(device)) if torch.device(device).type == "cuda" else None


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as opened:
            for line in opened:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def git_state() -> dict[str, Any] | None:
    """Return commit and state of the repository that contains the working directory; None outside of one."""
    try:
        commit = _git("rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_git("status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout.strip()
