"""Remarks on pictures that are read otherwise than expected: first frames, bands left out, colour profiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from saccade.data.decoding import UnreadableError, opened, orientation, pillow
from saccade.data.depth import spread_over
from saccade.data.images import described_profile, has_alpha

_SAMPLE = 256
_FRAMES = "several frames or pages: the first is read"
_BANDS = "more bands than red, green and blue, which are not opacity: they are left out"
_TURNED = "are turned as their EXIF data ask"


def notices(files: Sequence[Path]) -> tuple[str, ...]:
    """Return sentences on a sample of 256 images of a data set.

    Args:
        files: The images, all of them.
    """
    sample = spread_over(files, _SAMPLE)
    pillow()
    counts: Counter[str] = Counter()
    example: dict[str, Path] = {}
    with ThreadPoolExecutor() as pool:
        for path, found in zip(sample, pool.map(_found, sample), strict=True):
            for words in found:
                counts[words] += 1
                example.setdefault(words, path)
    among = f"of {len(sample):,} images" + ("" if len(sample) == len(files) else " of a sample")
    return tuple(
        f"{count:,} {among} {'' if words == _TURNED else 'have '}{words} ({example[words].name})"
        for words, count in counts.items()
    )


def _found(path: Path) -> list[str]:
    try:
        with opened(path) as image:
            return list(_of(image))
    except (UnreadableError, OSError):  # named where it is read
        return []


def _of(image: Any) -> Iterator[str]:
    # The further frames of a phone's JPEG (MPO) are its depth or its other lens.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        yield _FRAMES
    bands = image.tag_v2.get(277, 1) if image.format == "TIFF" else 1
    usual = {"L": 1, "P": 1, "1": 1, "CMYK": 4}.get(image.mode, 1 if image.mode.startswith(("I", "F")) else 3)
    if bands > usual + has_alpha(image):
        yield _BANDS
    profile = described_profile(image)
    if profile is not None:
        yield f"the colour profile {profile!r}: they are brought to sRGB"
    if image.format in ("JPEG", "MPO", "TIFF", "WEBP") and orientation(image) != 1:
        yield _TURNED
