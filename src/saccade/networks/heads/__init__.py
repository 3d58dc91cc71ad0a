"""The papers' heads and tails, placed after a backbone. Not in the catalog: they do not map a feature map to one."""

from saccade.networks.heads.attention import AttentionHead
from saccade.networks.heads.covariance import CovariancePooling, MatrixSquareRoot, MetaLayer, TriangleVector
from saccade.networks.heads.danet import DANetHead
from saccade.networks.heads.fcn import FCNHead
from saccade.networks.heads.flanet import FLANetHead
from saccade.networks.heads.keypoints import KeypointHead, OffsetHead
from saccade.networks.heads.ocr import ObjectAttention, OCRHead, SpatialGather

__all__ = [
    "AttentionHead",
    "CovariancePooling",
    "DANetHead",
    "FCNHead",
    "FLANetHead",
    "KeypointHead",
    "MatrixSquareRoot",
    "MetaLayer",
    "OCRHead",
    "ObjectAttention",
    "OffsetHead",
    "SpatialGather",
    "TriangleVector",
]
