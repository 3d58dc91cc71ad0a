"""IoU by size and thinness of objects as a metric of torchmetrics: collected image by image, shared by processes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from saccade.segmentation.objects import iou_by_object, match_objects


class ObjectIoU(Metric):
    """Mean IoU of objects in thirds by area and by elongation, as :func:`saccade.segmentation.objects.iou_by_object`.

    Its value is (2, 5): size and thinness; the IoU of three buckets, and the two limits between them. NaN where there
    are no objects. It keeps four numbers for each object.

    Args:
        num_classes: K.
        background: Class 0 is no object.
    """

    full_state_update = False
    rows: list[Tensor]
    false: Tensor

    def __init__(self, num_classes: int, *, background: bool) -> None:
        super().__init__()
        self.num_classes, self.background = num_classes, background
        self.add_state("rows", default=[], dist_reduce_fx="cat")
        self.add_state("false", default=torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.reset()

    def reset(self) -> None:
        """Forget everything; a process that sees no image then still has a table to share."""
        super().reset()
        self.rows = [torch.zeros(0, 4, dtype=self._precision, device=self.device)]

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Count classes (B, H, W) given for targets of that shape, 255 = ignored."""
        given, true = (part.cpu().numpy().astype(np.int64) for part in (predictions, targets))
        rows, false = match_objects(given, true, self.num_classes)
        self.rows.append(torch.from_numpy(rows).to(device=self.device, dtype=self._precision))
        self.false += torch.from_numpy(false).to(self.device)

    def compute(self) -> Tensor:
        rows: Any = torch.cat(self.rows) if isinstance(self.rows, list) else self.rows
        found = iou_by_object(
            rows.cpu().numpy().astype(np.float64), self.false.cpu().numpy(), background=self.background
        )
        values = [[*one.iou.values(), *(one.limits or (None, None))] for one in found]
        return torch.tensor([[np.nan if value is None else value for value in line] for line in values])

    @property
    def _precision(self) -> torch.dtype:
        return torch.float32 if self.device.type == "mps" else torch.float64
