"""CBAM's operations on a feature map in as few passes as possible: read it scaled, and scale it, forward and backward.

Maps are (B, C, N) in any layout, gates (B, C) and (B, N). Sums along both axes in one pass are stored as partial sums,
one per block, and added afterwards: there are no atomic additions, so the same input gives the same bits.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

_CHANNELS, _POSITIONS = 32, 64  # size of a block
_BLOCK = {"CHANNELS": _CHANNELS, "POSITIONS": _POSITIONS}
_FEW_CHANNELS = {"CHANNELS": 4, "POSITIONS": 256}  # if a block covers all positions, more blocks fill the chip


@triton.jit
def _read_positions(
    x, mean, largest, index, channels, positions, x_b, x_c, x_n, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr
):  # fmt: skip
    """Compute the mean and the first largest position of every channel in a block."""
    sample = tl.program_id(1).to(tl.int64)
    rows = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    inside = rows < channels
    total = tl.zeros([CHANNELS], tl.float32)
    best = tl.full([CHANNELS], -float("inf"), tl.float32)
    where = tl.zeros([CHANNELS], tl.int32)
    for start in range(0, positions, POSITIONS):
        columns = start + tl.arange(0, POSITIONS)
        there = inside[:, None] & (columns[None, :] < positions)
        values = tl.load(x + sample * x_b + rows[:, None] * x_c + columns[None, :] * x_n, mask=there, other=0.0)
        values = values.to(tl.float32)
        total += tl.sum(values, 1)
        found, at = tl.max(tl.where(there, values, -float("inf")), 1, return_indices=True)
        where = tl.where(found > best, start + at, where)
        best = tl.maximum(found, best)
    target = sample * channels + rows
    tl.store(mean + target, total / positions, mask=inside)
    tl.store(largest + target, best, mask=inside)
    tl.store(index + target, where, mask=inside)


@triton.jit
def _read_channels(
    x, gate, largest, mean, index, channels, positions, x_b, x_c, x_n,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Compute the mean and first largest channel of the scaled map for a block of positions, without storing it."""
    sample = tl.program_id(1).to(tl.int64)
    columns = tl.program_id(0) * POSITIONS + tl.arange(0, POSITIONS)
    inside = columns < positions
    total = tl.zeros([POSITIONS], tl.float32)
    best = tl.full([POSITIONS], -float("inf"), tl.float32)
    where = tl.zeros([POSITIONS], tl.int32)
    for start in range(0, channels, CHANNELS):
        rows = start + tl.arange(0, CHANNELS)
        there = (rows[:, None] < channels) & inside[None, :]
        values = tl.load(x + sample * x_b + rows[:, None] * x_c + columns[None, :] * x_n, mask=there, other=0.0)
        factors = tl.load(gate + sample * channels + rows, mask=rows < channels, other=0.0)
        # Rounded like the product, so that ties there are ties here.
        scaled = (values * factors[:, None]).to(tl.float32)
        total += tl.sum(scaled, 0)
        found, at = tl.max(tl.where(there, scaled, -float("inf")), 0, return_indices=True)
        where = tl.where(found > best, start + at, where)
        best = tl.maximum(found, best)
    target = sample * positions + columns
    tl.store(mean + target, total / channels, mask=inside)
    tl.store(largest + target, best, mask=inside)
    tl.store(index + target, where, mask=inside)


@triton.jit
def _read_channels_backward(
    x, gate, index, of_largest, of_mean, of_x, of_gate, channels, positions, x_b, x_c, x_n,
    CHANNELS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Compute one block of the map's gradient, and its part of the gate's; `of_mean` is divided by C already."""
    sample, block = tl.program_id(2).to(tl.int64), tl.program_id(1)
    rows = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    columns = block * POSITIONS + tl.arange(0, POSITIONS)
    inside, across = rows < channels, columns < positions
    there = inside[:, None] & across[None, :]
    place = sample * x_b + rows[:, None] * x_c + columns[None, :] * x_n
    values = tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    factors = tl.load(gate + sample * channels + rows, mask=inside, other=0.0).to(tl.float32)
    at = sample * positions + columns
    of_scaled = tl.load(of_mean + at, mask=across, other=0.0).to(tl.float32)[None, :]
    towards = tl.load(of_largest + at, mask=across, other=0.0).to(tl.float32)[None, :]
    first = tl.load(index + at, mask=across, other=-1)[None, :]
    of_scaled = of_scaled + tl.where(first == rows[:, None], towards, 0.0)
    tl.store(of_x + place, of_scaled * factors[:, None], mask=there)
    parts = of_gate + (sample * tl.num_programs(1) + block) * channels + rows
    tl.store(parts, tl.sum(of_scaled * values, 1), mask=inside)


@triton.jit
def _scale(
    x, channel, spatial, y, channels, positions, x_b, x_c, x_n, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr
):  # fmt: skip
    """Compute one block of x c s."""
    sample = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    columns = tl.program_id(1) * POSITIONS + tl.arange(0, POSITIONS)
    inside, across = rows < channels, columns < positions
    there = inside[:, None] & across[None, :]
    place = sample * x_b + rows[:, None] * x_c + columns[None, :] * x_n
    c = tl.load(channel + sample * channels + rows, mask=inside, other=0.0)
    s = tl.load(spatial + sample * positions + columns, mask=across, other=0.0)
    tl.store(y + place, tl.load(x + place, mask=there, other=0.0) * c[:, None] * s[None, :], mask=there)


@triton.jit
def _scale_backward(
    x, channel, spatial, grad, of_x, of_channel, of_spatial, channels, positions,
    x_b, x_c, x_n, grad_b, grad_c, grad_n, CHANNELS: tl.constexpr, POSITIONS: tl.constexpr,
):  # fmt: skip
    """Compute one block of the map's gradient, and its parts of both gates'."""
    sample = tl.program_id(2).to(tl.int64)
    rows = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    columns = tl.program_id(1) * POSITIONS + tl.arange(0, POSITIONS)
    inside, across = rows < channels, columns < positions
    there = inside[:, None] & across[None, :]
    place = sample * x_b + rows[:, None] * x_c + columns[None, :] * x_n
    towards = sample * grad_b + rows[:, None] * grad_c + columns[None, :] * grad_n
    c = tl.load(channel + sample * channels + rows, mask=inside, other=0.0).to(tl.float32)[:, None]
    s = tl.load(spatial + sample * positions + columns, mask=across, other=0.0).to(tl.float32)[None, :]
    g = tl.load(grad + towards, mask=there, other=0.0).to(tl.float32)
    products = g * tl.load(x + place, mask=there, other=0.0).to(tl.float32)
    tl.store(of_x + place, g * c * s, mask=there)
    parts = of_channel + (sample * tl.num_programs(1) + tl.program_id(1)) * channels + rows
    tl.store(parts, tl.sum(products * s, 1), mask=inside)
    parts = of_spatial + (sample * tl.num_programs(0) + tl.program_id(0)) * positions + columns
    tl.store(parts, tl.sum(products * c, 0), mask=across)


def mean_and_largest_position(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and maximum of each channel of (B, C, N), (B, C) each, and the maximum's first position, int32."""
    batch, channels, positions = x.shape
    mean, largest = x.new_empty(batch, channels), x.new_empty(batch, channels)
    index = x.new_empty(batch, channels, dtype=torch.int32)
    blocks = triton.cdiv(channels, _FEW_CHANNELS["CHANNELS"])
    _read_positions[blocks, batch](x, mean, largest, index, channels, positions, *x.stride(), **_FEW_CHANNELS)
    return mean, largest, index


def largest_and_mean_channel(x: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return, per position of the map (B, C, N) scaled by (B, C): maximum, mean, and index of the maximum."""
    batch, channels, positions = x.shape
    largest, mean = x.new_empty(batch, positions), x.new_empty(batch, positions)
    index = x.new_empty(batch, positions, dtype=torch.int32)
    blocks = triton.cdiv(positions, _POSITIONS)
    _read_channels[blocks, batch](
        x, gate.contiguous(), largest, mean, index, channels, positions, *x.stride(), **_BLOCK
    )
    return largest, mean, index


def largest_and_mean_channel_backward(
    x: Tensor, gate: Tensor, index: Tensor, of_largest: Tensor, of_mean: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the gradients of the map and of the gate."""
    batch, channels, positions = x.shape
    grid = (triton.cdiv(channels, _CHANNELS), triton.cdiv(positions, _POSITIONS), batch)
    of_x, of_gate = torch.empty_like(x), x.new_empty(batch, grid[1], channels, dtype=torch.float32)
    _read_channels_backward[grid](
        x, gate.contiguous(), index, of_largest.contiguous(), (of_mean / channels).contiguous(), of_x, of_gate,
        channels, positions, *x.stride(), **_BLOCK,
    )  # fmt: skip
    return of_x, of_gate.sum(dim=1).to(gate.dtype)


def scale(x: Tensor, channel: Tensor, spatial: Tensor) -> Tensor:
    """Return (B, C, N) times (B, C) times (B, N), in the layout of the map."""
    batch, channels, positions = x.shape
    y = torch.empty_like(x)
    grid = (triton.cdiv(channels, _CHANNELS), triton.cdiv(positions, _POSITIONS), batch)
    _scale[grid](x, channel.contiguous(), spatial.contiguous(), y, channels, positions, *x.stride(), **_BLOCK)
    return y


def scale_backward(x: Tensor, channel: Tensor, spatial: Tensor, grad: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of the map and of both gates."""
    batch, channels, positions = x.shape
    grid = (triton.cdiv(channels, _CHANNELS), triton.cdiv(positions, _POSITIONS), batch)
    of_x = torch.empty_like(x)
    of_channel = x.new_empty(batch, grid[1], channels, dtype=torch.float32)
    of_spatial = x.new_empty(batch, grid[0], positions, dtype=torch.float32)
    _scale_backward[grid](
        x, channel.contiguous(), spatial.contiguous(), grad, of_x, of_channel, of_spatial, channels, positions,
        *x.stride(), *grad.stride(), **_BLOCK,
    )  # fmt: skip
    return of_x, of_channel.sum(dim=1).to(channel.dtype), of_spatial.sum(dim=1).to(spatial.dtype)
