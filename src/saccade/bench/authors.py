"""Each mechanism as computed by its authors' code: our own implementation of the same operations, in their order.

Each function takes one of our modules, whose parameters it uses, and the feature map. Tables over all pairs of
positions are stored, values that are pooled away are computed, gates are expanded: `saccade bench` measures against
this, and `tests/bench/test_authors.py` checks that each is equal to the module.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from saccade.ops.axes import CONVOLVE, positions, spread

_MEAN: Mapping[int, Callable[..., Tensor]] = {
    1: F.adaptive_avg_pool1d,
    2: F.adaptive_avg_pool2d,
    3: F.adaptive_avg_pool3d,
}
_WHOLE: Mapping[int, tuple[Callable[..., Tensor], ...]] = {
    1: (F.avg_pool1d, F.max_pool1d),
    2: (F.avg_pool2d, F.max_pool2d),
    3: (F.avg_pool3d, F.max_pool3d),
}


class AsAuthors(nn.Module):
    """One of our modules run in its authors' formulation, with the module's parameters."""

    def __init__(self, name: str, module: nn.Module) -> None:
        super().__init__()
        self.module, self.formulation = module, FORMULATIONS[name]

    def forward(self, x: Tensor) -> Tensor:
        return self.formulation(self.module, x)


def _conv(layer: Any, x: Tensor) -> Tensor:
    """Apply a 1x1 convolution to the map, also if our module keeps a linear layer."""
    bias = getattr(layer, "bias", None)
    weight = spread(layer.weight, x.dim() - 2) if layer.weight.dim() == 2 else layer.weight
    return CONVOLVE[x.dim() - 2](x, weight, bias)


def pam(m: Any, x: Tensor) -> Tensor:
    """junfu1115/DANet: the N x N table, and its product with the values."""
    size = x.shape
    query = m.query(x).flatten(2).permute(0, 2, 1)
    energy = torch.bmm(query, m.key(x).flatten(2))
    attention = torch.softmax(energy, dim=-1)
    out = torch.bmm(m.value(x).flatten(2), attention.permute(0, 2, 1))
    y: Tensor = m.gamma * out.view(size) + x
    return y


def cam(m: Any, x: Tensor) -> Tensor:
    """junfu1115/DANet: energies subtracted from their maximum, gamma last."""
    channels = x.reshape(x.shape[0], x.shape[1], -1)
    energy = torch.bmm(channels, channels.permute(0, 2, 1))
    if m.sign == "released":
        energy = torch.max(energy, -1, keepdim=True)[0].expand_as(energy) - energy
    out = torch.bmm(torch.softmax(energy, dim=-1), channels)
    y: Tensor = m.gamma * out.view(x.shape) + x
    return y


def dual(m: Any, x: Tensor) -> Tensor:
    """The sum of the two modules."""
    both = pam(m.position, x) + cam(m.channel, x)
    return both - x if m.residual == "once" else both


def cs(m: Any, x: Tensor) -> Tensor:
    """One module after the other."""
    return pam(m.position, cam(m.channel, x))


def sagan(m: Any, x: Tensor) -> Tensor:
    """The TensorFlow block, or the popular one, which is `pam`."""
    if m.variant == "popular":
        return pam(m, x)
    theta = m.query(x, False).flatten(2).permute(0, 2, 1)
    phi = m.pool(m.key(x, False)).flatten(2)
    g = m.pool(m.value(x, False)).flatten(2)
    attention = torch.softmax(torch.bmm(theta, phi), dim=-1)
    out = torch.bmm(g, attention.permute(0, 2, 1)).view(x.shape[0], -1, *x.shape[2:])
    y: Tensor = x + m.gamma * m.project(out, False)
    return y


def non_local(m: Any, x: Tensor) -> Tensor:
    """The table of all pairs, for every kind of similarity."""
    theta = m.query(x).flatten(2)
    phi, g = ((layer(m.pool(x)) if m.pool_first else m.pool(layer(x))).flatten(2) for layer in (m.key, m.value))
    if m.pairwise == "concatenation":
        queries, keys = theta.shape[2], phi.shape[2]
        pairs = torch.cat([theta[..., None].expand(-1, -1, -1, keys), phi[:, :, None].expand(-1, -1, queries, -1)], 1)
        table = F.relu(m.score(pairs))[:, 0] / keys
    elif m.pairwise == "dot_product":
        table = torch.matmul(theta.permute(0, 2, 1), phi) / phi.shape[2]
    else:
        table = torch.softmax(torch.matmul(theta.permute(0, 2, 1), phi) * m.scale, dim=-1)
    y = torch.matmul(table, g.permute(0, 2, 1)).permute(0, 2, 1).contiguous().view(x.shape[0], -1, *x.shape[2:])
    out: Tensor = m.norm(m.project(y)) + x
    return out


def fla(m: Any, x: Tensor) -> Tensor:
    """Ilareina/FullyAttentional, with the pairing corrected: descriptors repeated for every strip."""
    batch, channels, height, width = x.shape
    columns = x.permute(0, 3, 1, 2).contiguous().view(batch * width, channels, height)
    rows = x.permute(0, 2, 1, 3).contiguous().view(batch * height, channels, width)
    of_rows = m.rows(x.mean(dim=3).permute(0, 2, 1)).repeat_interleave(width, 0)
    of_columns = m.columns(x.mean(dim=2).permute(0, 2, 1)).repeat_interleave(height, 0)
    # Variables as there: a named tensor lives to the end of the function.
    energy_down, energy_across = torch.bmm(columns, of_rows), torch.bmm(rows, of_columns)
    attention_down, attention_across = torch.softmax(energy_down, dim=-1), torch.softmax(energy_across, dim=-1)
    down, across = torch.bmm(attention_down, columns), torch.bmm(attention_across, rows)
    down = down.view(batch, width, channels, height).permute(0, 2, 3, 1)
    across = across.view(batch, height, channels, width).permute(0, 2, 1, 3)
    out: Tensor = F.relu(m.norm(m.conv(m.gamma * (down + across) + x)))
    return out


def psa(m: Any, x: Tensor) -> Tensor:
    """DeLightCMU/PSA: values of all positions, two products with the map."""
    if m.variant == "parallel":
        return _psa_channel(m.channel, x) + _psa_spatial(m.spatial, x)
    return _psa_spatial(m.spatial, _psa_channel(m.channel, x))


def _psa_channel(m: Any, x: Tensor) -> Tensor:
    value = _conv(m.value, x).flatten(2)
    weights = torch.softmax(m.query(x).flatten(2), dim=2)
    context = torch.matmul(value, weights.permute(0, 2, 1))[:, :, 0]
    return x * spread(torch.sigmoid(m.up(context)), x.dim() - 2)


def _psa_spatial(m: Any, x: Tensor) -> Tensor:
    query = _MEAN[x.dim() - 2](_conv(m.query, x), 1).flatten(2).permute(0, 2, 1)
    value = m.value(x).flatten(2)
    if m.variant == "parallel":
        context = torch.softmax(torch.matmul(query, value), dim=2)
    else:
        context = torch.matmul(query, torch.softmax(value, dim=2))
    return x * torch.sigmoid(context.view(x.shape[0], 1, *x.shape[2:]))


def _context(m: Any, x: Tensor) -> Tensor:
    weights = torch.softmax(m.mask(x).flatten(2), dim=2)[..., None]
    return torch.matmul(x.flatten(2)[:, None], weights).view(x.shape[0], -1)


def gc(m: Any, x: Tensor) -> Tensor:
    """xvjiarui/GCNet."""
    context = x.mean(dim=positions(x)) if m.mask is None else _context(m, x)
    if m.mul is not None:
        x = x * spread(torch.sigmoid(m.mul(context)), x.dim() - 2)
    return x if m.add is None else x + spread(m.add(context), x.dim() - 2)


def simplified_nl(m: Any, x: Tensor) -> Tensor:
    """xvjiarui/GCNet with one convolution."""
    out: Tensor = x + spread(m.project(_context(m, x)), x.dim() - 2)
    return out


def a2(m: Any, x: Tensor) -> Tensor:
    """nguyenvo09's module with the residual: three convolutions, then the last one on the map."""
    value = m.value(x).flatten(2)
    gather, distribute = torch.softmax(m.gather(x).flatten(2), dim=2), torch.softmax(m.distribute(x).flatten(2), dim=1)
    mixed = torch.bmm(torch.bmm(value, gather.permute(0, 2, 1)), distribute)
    out: Tensor = m.project(mixed.view(x.shape[0], -1, *x.shape[2:]))
    return x + out if m.residual else out


def gsop(m: Any, x: Tensor) -> Tensor:
    """ZilinGao/GSoP: the covariance through an M x M centring matrix, one per sample."""
    c = m.channel
    h = F.relu(c.reduce_norm(c.reduce(F.relu(x)))).flatten(2)
    positions = h.shape[2]
    centring = torch.eye(positions, dtype=h.dtype, device=h.device) / positions - 1.0 / positions**2
    covariance = h.bmm(centring.repeat(h.shape[0], 1, 1)).bmm(h.transpose(1, 2))
    gate: Tensor = torch.sigmoid(c.expand(c.rows(c.row_norm(covariance[..., None]))))
    return x * spread(gate.flatten(1), x.dim() - 2)


def se(m: Any, x: Tensor) -> Tensor:
    """The gate expanded to the map."""
    gate = torch.sigmoid(m.expand(F.relu(m.reduce(_MEAN[x.dim() - 2](x, 1)))))
    return x * gate.expand_as(x)


def eca(m: Any, x: Tensor) -> Tensor:
    """BangguWu/ECANet."""
    pooled = _MEAN[x.dim() - 2](x, 1).flatten(2).transpose(-1, -2)
    logits = F.conv1d(pooled, m.conv.weight, padding=m.k // 2)
    return x * spread(torch.sigmoid(logits[:, 0]), x.dim() - 2).expand_as(x)


def cbam(m: Any, x: Tensor) -> Tensor:
    """Jongchan: both pools through the MLP one by one, the gate expanded, the scaled map kept."""
    logits: Tensor | float = 0.0
    for pool in _WHOLE[x.dim() - 2]:
        pooled = pool(x, x.shape[2:])
        logits = logits + m.channel.expand(F.relu(m.channel.reduce(pooled.flatten(1))))
    assert isinstance(logits, Tensor)
    x = x * spread(torch.sigmoid(logits), x.dim() - 2).expand_as(x)
    planes = torch.cat((torch.max(x, 1)[0].unsqueeze(1), torch.mean(x, 1).unsqueeze(1)), dim=1)
    return x * torch.sigmoid(m.spatial.norm(m.spatial.conv(planes)))


def bam(m: Any, x: Tensor) -> Tensor:
    """Jongchan: both branches expanded to the map."""
    channel = spread(m.channel(_MEAN[x.dim() - 2](x, 1).flatten(1)), x.dim() - 2).expand_as(x)
    return (1 + torch.sigmoid(channel * m.spatial(x).expand_as(x))) * x


FORMULATIONS: Mapping[str, Callable[[Any, Tensor], Tensor]] = {
    function.__name__: function
    for function in (
        a2, bam, cam, cbam, cs, dual, eca, fla, gc, gsop, non_local, pam, psa, sagan, se, simplified_nl,
    )
}  # fmt: skip
