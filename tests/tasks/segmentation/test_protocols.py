"""Whole image, windows, scales, mirrored: each against its definition written out."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade import InputError
from saccade.tasks.segmentation.protocols import MULTI_SCALE, Protocol, Seen, classify, protocol_for, windows
from saccade.tasks.segmentation.task import Segmentation
from saccade.training.evaluation import collect
from saccade.training.inputs import to_input
from saccade.training.sources import LoaderSource


class Position(nn.Module):
    """Logits that depend on the pixel, on its place and on the size of the picture: nothing cancels out."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0)))
        self.seen: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        self.seen.append((height, width))
        place = torch.linspace(0, 1, width) + torch.linspace(0, 2, height)[:, None]
        return F.conv2d(x, self.weight, padding=1) + place


def image(height: int = 21, width: int = 34, batch: int = 1) -> Tensor:
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


def test_the_whole_image() -> None:
    net, x = Position().eval(), image(batch=2)
    torch.testing.assert_close(classify(net, x), net(x).softmax(dim=1))


def test_scales_and_mirror_images_average_probabilities() -> None:
    net, x = Position().eval(), image()
    found = classify(net, x, Protocol(scales=(0.5, 1.0, 1.75), flip=True))
    parts = []
    for size in ((10, 17), (21, 34), (37, 60)):  # 10.5 and 36.75 are rounded, halves to even
        scaled = resized(x, size) if size != (21, 34) else x
        for logits in (net(scaled), net(scaled.flip(-1)).flip(-1)):
            parts.append(resized(logits, (21, 34)).softmax(dim=1))
    torch.testing.assert_close(found, torch.stack(parts).mean(dim=0))
    torch.testing.assert_close(found.sum(dim=1), torch.ones(1, 21, 34))


def test_windows_average_logits_where_they_overlap() -> None:
    net, x = Position().eval(), image(20, 31)
    found = classify(net, x, Protocol(window=(9, 12)))
    total, times = torch.zeros(1, 4, 20, 31), torch.zeros(20, 31)
    for top in (0, 6, 11):  # a step of 6 rows, the last window moved back to end at 20
        for left in (0, 8, 16, 19):
            total[:, :, top : top + 9, left : left + 12] += net(x[:, :, top : top + 9, left : left + 12])
            times[top : top + 9, left : left + 12] += 1
    torch.testing.assert_close(found, (total / times).softmax(dim=1))


@pytest.mark.parametrize(
    ("size", "window", "step"),
    [((20, 31), (9, 12), 2 / 3), ((9, 12), (9, 12), 0.5), ((10, 12), (9, 12), 1.0), ((30, 5), (7, 7), 0.1)],
    ids=str,
)
def test_windows_cover_everything_and_stay_inside(size: tuple[int, int], window: tuple[int, int], step: float) -> None:
    times = torch.zeros(size)
    for place in windows(*size, window, step):
        part = times[place]
        assert part.shape == tuple(min(s, w) for s, w in zip(size, window, strict=True))
        part += 1
    assert times.min() >= 1


def test_a_window_never_sees_more_than_its_size() -> None:
    net = Position().eval()
    classify(net, image(40, 64), Protocol(window=(16, 24), scales=(0.5, 2.0), flip=True))
    assert max(height for height, _ in net.seen) == 16
    assert max(width for _, width in net.seen) == 24
    net.seen.clear()
    classify(net, image(10, 12), Protocol(window=(16, 24)))
    assert net.seen == [(10, 12)]


def test_a_protocol_has_a_name_and_refuses_nonsense() -> None:
    assert str(Protocol(window=(4, 6), step=0.5)) == "windows of 4 x 6, step 0.5"
    assert str(Protocol(scales=MULTI_SCALE, flip=True)) == "whole image; scales 0.5 0.75 1 1.25 1.5 1.75; mirrored"
    for wrong in ({"window": (0, 4)}, {"step": 0.0}, {"step": 1.5}, {"scales": ()}, {"scales": (1.0, -1.0)}):
        with pytest.raises(InputError, match=rf"protocol: `{next(iter(wrong))}` must be"):
            Protocol(**wrong)
    with pytest.raises(InputError, match="the network is in training mode"):
        classify(Position(), image())


def test_protocols_have_names() -> None:
    assert protocol_for("whole", 96) == Protocol()
    assert protocol_for("sliding", 96) == Protocol((96, 96))
    assert protocol_for("multi-scale", 96) == Protocol((96, 96), scales=MULTI_SCALE, flip=True)
    assert protocol_for(Protocol(step=0.5), 96) == Protocol(step=0.5)
    with pytest.raises(InputError, match="unknown protocol 'slide'") as caught:
        protocol_for("slide", 96)
    assert caught.value.hint == "did you mean sliding?"


def test_a_network_seen_through_a_protocol_is_scored_as_any_other() -> None:
    net, protocol = Position(), Protocol(window=(9, 12))
    samples = [(torch.randint(0, 255, (3, h, w), dtype=torch.uint8), torch.zeros(h, w)) for h, w in ((12, 20), (25, 9))]
    with torch.no_grad():
        said = [
            classify(net.eval(), to_input(image[None], torch.device("cpu")), protocol)[0].argmax(dim=0).to(torch.uint8)
            for image, _ in samples
        ]
    source = LoaderSource([(image, target) for (image, _), target in zip(samples, said, strict=True)])
    net.train()
    task = Segmentation(tuple("abcd"))
    assert task.scores(collect(Seen(net, protocol), task, source, 1)) == dict.fromkeys(
        ("mIoU", "mIoU_present", "pixel accuracy"), 1.0
    )
    assert task.scores(collect(Seen(net, Protocol()), task, source, 1))["mIoU"] < 1.0
    assert net.training


def test_images_are_brought_to_the_longer_side_of_training() -> None:
    """The network then sees what it learned from, and the answer has the size of the image."""
    seen = []

    class Watching(Position):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(x.shape[2:]))
            return super().forward(x)

    protocol = protocol_for("whole", 16, longer_side=True)
    assert classify(Watching().eval(), torch.rand(1, 3, 20, 40), protocol).shape[2:] == (20, 40)
    assert seen == [(8, 16)]
    assert str(protocol) == "whole image; longer side 16"
