"""What looking costs: ``python -m benchmarks.look``.

1. A forward pass that is recorded against one that is not, in paired rounds (to stay under 5% more); and what opening
   and closing a recording takes by itself, which the noise of the rounds hides.
2. The page of a 512 x 512 image through a ResNet-50 segmenter (stride 8, so maps of 64 x 64) with non-local blocks at
   four places: seconds, the size of the file, and the memory it takes beside the forward pass. (The table of all pairs
   that is not built has 16 MiB for each of the four: 4,096 queries by 1,024 pooled keys.)
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import saccade
from benchmarks.insertion import forward, paired, seconds, show
from saccade.insertion import attachments
from saccade.look.look import look
from saccade.look.networks import Inspected
from saccade.networks.make import make_network

FOUR = ["backbone.layer3.1", "backbone.layer3.3", "backbone.layer4.0", "backbone.layer4.1"]


def recording(mechanism: str, rounds: int, *, gradients: bool) -> None:
    """The cost of recording every place of a ResNet-50; for `gradients` its maps are kept alive anyway."""
    network = saccade.insert(make_network("resnet50", 1000), mechanism).eval()
    image = torch.randn(1, 3, 224, 224)

    def plain() -> None:
        if gradients:
            network(image)
        else:
            forward(network, image)

    def recorded() -> None:
        with saccade.record(network):
            plain()

    def opened() -> None:
        with saccade.record(network):
            pass

    times = paired(recorded, plain, rounds)
    kept = ", with gradients" if gradients else ""
    show(f"recording {len(attachments(network))} places ({mechanism}, ResNet-50, 224 x 224{kept})", times)
    share = statistics.median(seconds(opened) for _ in range(20)) / statistics.median(alone for _, alone in times)
    print(f"    of it, opening and closing a recording: {100 * share:.2f}% of a forward pass")


def segmenter() -> torch.nn.Module:
    """A ResNet-50 segmenter with four non-local blocks on maps of 64 x 64."""
    network = make_network("fcn", 21, backbone="resnet50")
    return saccade.insert(network, "non_local", at=FOUR, example_input=torch.zeros(1, 3, 64, 64)).eval()


def page() -> None:
    """The time to make the page, and its size."""
    network = segmenter()
    pixels = np.random.default_rng(0).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.png"
        Image.fromarray(pixels).save(image)
        alone = seconds(lambda: forward(network, torch.zeros(1, 3, 512, 512)))
        plain = peak_mib()
        given = Inspected(network, "resnet50 + non_local", "none")
        whole = seconds(lambda: look([image], given, Path(folder), queries=[(256, 256)]))
        megabytes = (Path(folder) / "image.html").stat().st_size / 1e6
    print(f"page of a 512 x 512 image, four places: {whole:.1f} s, of which one forward pass {alone:.1f} s")
    print(f"    {megabytes:.1f} MB; peak memory {peak_mib():.0f} MiB, {plain:.0f} after a forward pass alone")


def peak_mib() -> float:
    """Most memory this process has had so far (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.manual_seed(0)
    for mechanism in ("se", "cbam", "non_local"):
        for gradients in (False, True):
            recording(mechanism, rounds, gradients=gradients)
    page()


if __name__ == "__main__":
    main()
