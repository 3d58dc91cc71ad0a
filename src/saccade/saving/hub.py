"""Networks with attention on the Hugging Face Hub, and in folders laid out as there, by huggingface_hub's mixin."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from saccade.catalog.imports import Trust
from saccade.errors import InputError, require
from saccade.files import at_home
from saccade.insertion.verifying import reports
from saccade.saving.store import load, save

WEIGHTS, CONFIG = "model.safetensors", "config.json"
_LIBRARY = "saccade"


def save_pretrained(model: nn.Module, folder: str | PathLike[str], *, network: Mapping[str, Any] | None = None) -> Path:
    """Write a network into a folder in the layout of the Hub: ``model.safetensors``, ``config.json`` and a model card.

    The weights file is that of :func:`saccade.save`. An existing card stays as it is.

    Args:
        model: Network with or without mechanisms.
        folder: Folder to write into, created if there is none.
        network: Recipe of the network, see :func:`saccade.save`.

    Returns:
        The folder.

    Raises:
        InputError: See :func:`saccade.save`; also a ``config.json`` in the folder that another program wrote.
        MissingExtraError: huggingface_hub is not installed.
    """
    folder = at_home(folder)
    _check_config(folder / CONFIG)
    _held(model, network).save_pretrained(folder, config=_config(model))
    return folder


def push_to_hub(
    model: nn.Module,
    repo_id: str,
    *,
    network: Mapping[str, Any] | None = None,
    private: bool | None = None,
    token: str | None = None,
    branch: str | None = None,
    create_pr: bool | None = None,
    commit_message: str = "Push a network with attention",
) -> str:
    """Upload a network to the Hub as :func:`save_pretrained` writes it, in one commit.

    Args:
        model: Network with or without mechanisms.
        repo_id: Name of the repository, ``"user/name"``, created if there is none.
        network: Recipe of the network, see :func:`saccade.save`.
        private: Visibility of a new repository; None follows the account.
        token: Access token; None takes that of ``hf auth login``.
        branch: Branch to commit to; None means main.
        create_pr: If True, open a pull request instead.
        commit_message: Title of the commit.

    Returns:
        The address of the commit.

    Raises:
        InputError: See :func:`saccade.save`; also an upload that the Hub refused, with its words.
        MissingExtraError: huggingface_hub is not installed.
    """
    held = _held(model, network)
    with _said_by_the_hub(repo_id):
        return str(
            held.push_to_hub(
                repo_id, config=_config(model), private=private, token=token, branch=branch, create_pr=create_pr,
                commit_message=commit_message,
            )
        )  # fmt: skip


def from_pretrained(
    source: str | PathLike[str],
    *,
    model: nn.Module | None = None,
    trust: Trust = (),
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | PathLike[str] | None = None,
    force_download: bool = False,
    local_files_only: bool = False,
) -> nn.Module:
    """Load a network from the Hub, or from a folder that :func:`save_pretrained` wrote.

    One file is fetched, ``model.safetensors``. It is read as :func:`saccade.load` reads it: nothing is unpickled, and
    no code is imported unless `trust` names it.

    Args:
        source: Name of a repository, ``"user/name"``, or path of a folder.
        model: Network to load into, as for :func:`saccade.load`; weights of other programs need it.
        trust: See :func:`saccade.load`.
        revision: Branch, tag or commit.
        token: Access token; None takes that of ``hf auth login``, False sends none.
        cache_dir: Folder for downloads; None means huggingface_hub's.
        force_download: If True, download again what the cache holds.
        local_files_only: If True, take the cache alone.

    Raises:
        InputError: There is no such repository or file, or see :func:`saccade.load`.
        MissingExtraError: huggingface_hub is not installed.

    Example:
        >>> import saccade, torchvision, tempfile
        >>> model = saccade.insert(torchvision.models.resnet18(), "se")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     again = saccade.from_pretrained(saccade.save_pretrained(model, folder))
        >>> len(again.saccade_report.places)
        8
    """
    folder = at_home(source)
    if folder.is_dir():
        return load(folder / WEIGHTS, model=model, trust=trust)
    hub: Any = require("huggingface_hub", extra="hub")
    with _said_by_the_hub(str(source)):
        path = hub.hf_hub_download(
            str(source), WEIGHTS, revision=revision, token=token, cache_dir=cache_dir, force_download=force_download,
            local_files_only=local_files_only,
        )  # fmt: skip
    return load(path, model=model, trust=trust)


def _held(model: nn.Module, network: Mapping[str, Any] | None) -> Any:
    """Return an object of huggingface_hub's mixin that stores the network."""
    hub: Any = require("huggingface_hub", extra="hub")

    class Held(hub.ModelHubMixin, library_name=_LIBRARY, tags=["attention", "computer-vision"]):  # type: ignore[misc, call-arg]
        def _save_pretrained(self, save_directory: Path) -> None:
            save(model, save_directory / WEIGHTS, network=network)

    return Held()


def _config(model: nn.Module) -> dict[str, Any]:
    """Describe a network for readers of its repository; loading reads the weights file alone."""
    steps = [(prefix, step) for prefix, _, report in reports(model) for step in report.steps]
    return {
        "library_name": _LIBRARY,
        "architectures": [type(model).__name__],
        "mechanisms": {f"{prefix}{step.place}": str(step.mechanism) for prefix, step in steps},
    }


def _check_config(path: Path) -> None:
    """Refuse to replace a file of another program, since the mixin replaces it unasked.

    Raises:
        InputError: The file does not name saccade as its library.
    """
    if not path.exists():
        return
    try:
        written = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        written = None
    if not isinstance(written, dict) or written.get("library_name") != _LIBRARY:
        raise InputError(f"{path} exists, and saccade did not write it", "choose another folder, or move the file")


@contextmanager
def _said_by_the_hub(name: str) -> Iterator[None]:
    """Translate what huggingface_hub raises into an error that says what to do."""
    try:
        yield
    except InputError:
        raise
    except (OSError, ValueError) as cause:  # its errors of connections, of repositories and of names
        said = next((line.strip() for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise InputError(
            f"{name}: {said}", 'give "user/name" of a repository that exists, a folder, or log in with hf auth login'
        ) from cause
