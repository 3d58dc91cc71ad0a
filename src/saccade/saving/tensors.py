"""Files of tensors as saccade writes them: safetensors, with JSON and a digest of everything in the header.

safetensors checks that a file is whole, not that its bits are those that were written. The digest does: it covers the
names, dtypes, shapes and values of all tensors, and the JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from saccade.errors import InputError

HEADER = "saccade"
"""Key of a file's metadata that holds all of saccade's."""

_DIGEST = "digest"
_KNOWN = frozenset((HEADER, _DIGEST, "format"))


class Damaged(InputError):
    """A file that saccade wrote cannot be read, or is not what was written."""


def metadata(
    tensors: Mapping[str, Tensor], header: Mapping[str, Any] | None, *, strict: bool = False
) -> dict[str, str]:
    """Return the metadata of a file.

    Args:
        tensors: Tensors of the file, prepared by :func:`saccade.saving.store.as_stored`.
        header: Plain values to keep with them.
        strict: Refuse NaN and infinities in the header.

    Raises:
        TypeError: The header holds something else than plain values.
        ValueError: The header holds a NaN or an infinity, and `strict` is True.
    """
    text = None if header is None else json.dumps(header, allow_nan=not strict)
    found = {} if text is None else {HEADER: text}
    return found | {_DIGEST: _digest(tensors, text)}


def read(path: Path, *, tensors: bool = True) -> tuple[Any, dict[str, Tensor]]:
    """Read a file; one that has no digest, which earlier versions wrote, is taken as it is.

    Args:
        path: The file.
        tensors: If False, read the header alone, which is then not held to the digest.

    Returns:
        The content of the header, unchecked; None where there is none. The tensors by name.

    Raises:
        Damaged: The file is not in the format of safetensors, was cut short, or its content differs from its digest.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            kept = opened.metadata() or {}
            found = {name: opened.get_tensor(name) for name in opened.keys() if tensors}  # noqa: SIM118 (no mapping)
        text = kept.get(HEADER)
        header = None if text is None else json.loads(text)
    except (SafetensorError, OSError, ValueError, RecursionError) as cause:
        raise Damaged(
            f"{path}: cannot be read as safetensors ({cause})", "it may be truncated, or of another format"
        ) from cause
    written = kept.get(_DIGEST)
    unknown = HEADER in kept and not kept.keys() <= _KNOWN  # the word digest itself may have been hit
    if unknown or (tensors and written is not None and written != _digest(found, text)):
        raise Damaged(
            f"{path}: its content is not what was written; bits of it have changed",
            "restore it from a copy, or take another file of the run, such as a checkpoint",
        )
    return header, found


def _digest(tensors: Mapping[str, Tensor], text: str | None) -> str:
    found = hashlib.blake2b(json.dumps(text).encode(), digest_size=16)
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
