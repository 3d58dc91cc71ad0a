"""Shards with a mask for each image."""

from __future__ import annotations

from pathlib import Path

from saccade.data.layouts import Item
from saccade.data.reading import Reading
from saccade.data.shards import divided, image_of, left_out, list_shards, mask_of, refuse_incomplete
from saccade.tasks.base import Files

MASK_SHARDS = "mask-shards"


def find_mask_shards(path: Path, reading: Reading) -> Files:
    """List the images of shards with their masks; where no shard is for validation, split them by the seed.

    Args:
        path: A folder with shards, or their names.
        reading: How they are to be read.

    Raises:
        InputError: See :func:`saccade.data.shards.list_shards`; or a sample without image or mask.
    """
    shards = list_shards(path)
    refuse_incomplete(path, shards, "mask")
    items = [[Item(image_of(path, one, each), mask_of(path, one, each)) for each in one.samples] for one in shards]
    division = divided(path, shards, items, reading)
    note = f"segmentation, from {len(shards)} shard{'s' if len(shards) > 1 else ''}, {division.origin}"
    return Files(
        (), division.train, division.val, note, drawn=division.drawn, layout=MASK_SHARDS, origin=division.origin,
        left_out=left_out(shards, division, {}), problems=division.problems, allow_copies=reading.allow_copies,
    )  # fmt: skip
