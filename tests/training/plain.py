"""The default recipe as a plain PyTorch loop: what saccade's loop is held to."""

import torch
from torch import nn
from torch.nn import functional as F

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1), torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def train(net: nn.Module, batches, steps: int, rate: float = 1e-3) -> list[float]:
    """Train on batches of (images uint8, targets); returns the losses."""
    single = [p for p in net.parameters() if p.dim() < 2]
    gates = [p for name, p in net.named_parameters() if name.endswith("saccade.g")]
    groups = [
        {"params": [p for p in net.parameters() if p.dim() >= 2], "weight_decay": 0.02, "lr": rate},
        {"params": [p for p in single if all(p is not g for g in gates)], "weight_decay": 0.0, "lr": rate},
        {"params": gates, "weight_decay": 0.0, "lr": 10 * rate},
    ]
    groups = [group for group in groups if group["params"]]
    optimizer = torch.optim.AdamW(groups)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=[group["lr"] for group in groups], total_steps=steps, pct_start=0.2, div_factor=25,
        final_div_factor=1e5 / 25, cycle_momentum=False,
    )  # fmt: skip
    net.train()
    losses = []
    for _, (images, targets) in zip(range(steps), batches, strict=False):
        loss = F.cross_entropy(net((images / 255 - MEAN) / STD), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(net: nn.Module, batches) -> float:
    """The share of images whose class is right."""
    net.eval()
    right = [net((images / 255 - MEAN) / STD).argmax(1) == targets for images, targets in batches]
    return torch.cat(right).float().mean().item()
