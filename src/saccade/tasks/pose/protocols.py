"""Protocols of evaluation: with the mirrored image, or without."""

from __future__ import annotations

from torch import Tensor, nn

from saccade.tasks.pose.codecs import Codec
from saccade.tasks.pose.joints import Pairs


class Mirrored(nn.Module):
    """A network whose maps are the mean of those of a crop and of its mirror image (flip test).

    Args:
        net: The network.
        made: Codec, which owns the merge.
        pairs: Joints that change places in a mirror.
    """

    def __init__(self, net: nn.Module, made: Codec, pairs: Pairs) -> None:
        super().__init__()
        self.net, self.codec, self.pairs = net, made, pairs

    def forward(self, x: Tensor) -> Tensor:
        return self.codec.merge(self.net(x), self.net(x.flip(-1)), self.pairs)


def protocol_in_words(*, flips: bool, codec: str) -> str:
    """Return how detections come about, in words."""
    views = "mean of crop and mirrored crop" if flips else "crops as they are"
    return f"{views}, codec {codec}, score of the box times that of the joints above 0.2, OKS-NMS 0.9"
