"""A trial of a network before any work: one forward pass as in scoring, one as in training."""

from __future__ import annotations

import torch
from torch import nn

from saccade.errors import InputError


def check_network(net: nn.Module, name: str, shape: tuple[int, int], batch: int, hint: str) -> None:
    """Refuse a network that cannot work on images of a size, or be trained on batches of a size; it ends as it was.

    Args:
        net: The network; it is left in evaluation mode.
        name: Its name, for messages.
        shape: Height and width of the images.
        batch: Images that it sees at a time in training. Batch norm needs more than one value per channel.
        hint: Options that could be changed.

    Raises:
        InputError: With what the network said.
    """
    try:
        with torch.inference_mode():
            net.eval()(torch.zeros(1, 3, *shape))
    except Exception as cause:  # whatever a network says of a size it cannot take
        raise InputError(f"{name} cannot work on images of {shape[0]} x {shape[1]} ({cause})", hint) from cause
    before = {key: buffer.clone() for key, buffer in net.named_buffers()}
    count = min(batch, 2)
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            net.train()(torch.zeros(count, 3, *shape))
    except Exception as cause:
        raise InputError(
            f"{name} cannot be trained on images of {shape[0]} x {shape[1]}, {count} at a time ({cause})",
            f"{hint}, or a larger --batch",
        ) from cause
    finally:
        with torch.no_grad():
            for key, buffer in net.named_buffers():
                if key in before:
                    buffer.copy_(before[key])
        net.eval()
