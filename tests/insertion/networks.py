"""Hand-written networks whose names say nothing, each with its places known by construction."""

from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional as F

from saccade.insertion.attach import Attachment
from saccade.insertion.tracing import trace


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (size // 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, padding, dilation, bias=False), nn.BatchNorm2d(outputs)
    )


class Unit(nn.Module):
    """A residual unit: `b` ends the branch, `c` is the shortcut where the shape changes, `r` runs twice."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.a = conv(inputs, outputs, stride=stride)
        self.b = conv(outputs, outputs)
        self.c = conv(inputs, outputs, 1, stride) if stride > 1 or inputs != outputs else None
        self.r = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.b(self.r(self.a(x)))
        y += x if self.c is None else self.c(x)
        return self.r(y)


class Flat(nn.Module):
    """Everything in one forward, activations as functions: two residual additions, one of them in place."""

    def __init__(self) -> None:
        super().__init__()
        self.p = nn.Conv2d(3, 8, 3, 2, 1)
        self.q = nn.Conv2d(8, 8, 3, 1, 1)
        self.u = nn.Conv2d(8, 8, 3, 1, 1)
        self.v = nn.Conv2d(8, 16, 3, 2, 1)
        self.w = nn.Conv2d(16, 16, 3, 1, 1)
        self.z = nn.Conv2d(8, 16, 1, 2)
        self.out = nn.Linear(16, 5)

    def forward(self, x):
        x = F.relu(self.p(x))
        x = F.relu(self.u(F.relu(self.q(x)))) + x
        y = self.w(F.relu(self.v(x)))
        y += self.z(x)
        return self.out(F.relu(y).mean((2, 3)))


class Holder(nn.Module):
    """Units at several depths of nesting, called through lists and dicts, with a top-down sum at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.ModuleDict({"k": conv(3, 8, stride=2), "s": nn.ReLU()})
        self.parts = nn.ModuleList([nn.ModuleDict({"m": Unit(8, 8)}), nn.Sequential(Unit(8, 16, 2), Unit(16, 16))])
        self.across, self.down = nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1)

    def forward(self, x):
        x = self.entry["s"](self.entry["k"](x))
        fine = self.parts[0]["m"](x)
        deep = self.parts[1](fine)
        top = F.interpolate(self.down(deep), scale_factor=2.0)
        return {"fused": top + self.across(fine), "deep": [deep]}


class Shared(nn.Module):
    """One convolution that runs three times, and a module nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.again, self.idle = conv(3, 8, stride=2), conv(8, 8), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        x = self.first(x)
        for _ in range(3):
            x = F.relu(self.again(x))
        return x


class RunsChildren(nn.Module):
    """Runs whatever children it has: one more would run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = Unit(8, 8), Unit(8, 8)

    def forward(self, x):
        for child in self.children():
            x = child(x)
        return x


class HiddenLoop(nn.Module):
    """Runs all its children, by a way that reading its code does not show."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = conv(8, 8), conv(8, 8)

    def forward(self, x):
        for child in all_of(self):
            x = child(x)
        return torch.relu(x)


def all_of(module):
    return list(module.children())


class Around(nn.Module):
    """A stem and one part."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.stem, self.part = conv(3, 8, stride=2), part

    def forward(self, x):
        return self.part(F.relu(self.stem(x)))


class Folded(nn.Module):
    """Sums that are one convolution when folded: linear branches."""

    def __init__(self) -> None:
        super().__init__()
        self.big, self.small, self.plain = conv(8, 8), conv(8, 8, 1), nn.BatchNorm2d(8)

    def forward(self, x):
        return F.relu(self.big(x) + self.small(x) + self.plain(x))


class LongSkip(nn.Module):
    """One skip over three units: the units are the blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.units, self.tail = nn.Sequential(Unit(8, 8), Unit(8, 8), Unit(8, 8)), nn.Conv2d(8, 8, 3, padding=1)

    def forward(self, x):
        return self.tail(self.units(x)) + x


class Split(nn.Module):
    """Sums of half the channels inside a residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c, self.e = conv(8, 8, 1), conv(4, 4), conv(4, 4), conv(8, 8, 1)

    def forward(self, x):
        one, two = F.relu(self.a(x)).chunk(2, 1)
        one = F.relu(self.b(one))
        two = F.relu(self.c(two + one))
        return F.relu(self.e(torch.cat([one, two], 1)) + x)


class ChannelsLast(nn.Module):
    """A residual unit on (B, H, W, C)."""

    def __init__(self, channels: int = 8) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm, self.wide = nn.LayerNorm(channels), nn.Linear(channels, 2 * channels)
        self.narrow = nn.Linear(2 * channels, channels)

    def forward(self, x):
        y = self.mix(x).permute(0, 2, 3, 1)
        y = self.narrow(F.gelu(self.wide(self.norm(y)))) + x.permute(0, 2, 3, 1)
        return y.permute(0, 3, 1, 2)


class Hourglass(nn.Module):
    """A skip around a way down and up: the unit at the bottom is the block."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.unit, self.up = conv(8, 16, stride=2), Unit(16, 16), nn.ConvTranspose2d(16, 8, 2, 2)
        self.last = conv(8, 8)

    def forward(self, x):
        return x + self.last(F.relu(self.up(self.unit(F.relu(self.down(x))))))


class Pooled(nn.Module):
    """What a pooling leaves of a map."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AvgPool2d(3, 1, 1)

    def forward(self, x):
        return self.pool(x) - x


class PoolMixer(nn.Module):
    """A pooling as the half that mixes positions, then one that mixes channels; all scaled, as is the shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.n, self.p, self.m = nn.GroupNorm(1, 8), Pooled(), nn.GroupNorm(1, 8)
        self.wide, self.narrow, self.scale = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 8, 1), nn.Parameter(torch.ones(8, 1, 1))

    def forward(self, x):
        x = x * self.scale + self.p(self.n(x)) * self.scale
        return x + self.narrow(F.gelu(self.wide(self.m(x)))) * self.scale


class Attends(nn.Module):
    """Attention whose tables have four axes and could pass for maps; a sum of two of them is no residual."""

    def __init__(self) -> None:
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Conv2d(8, 8, 1) for _ in range(4))

    def forward(self, x):
        q, k, v = (layer(x).flatten(2).unflatten(1, (2, 4)) for layer in (self.q, self.k, self.v))
        logits = q.mT @ k
        weights = (logits + logits.mT).softmax(-1)
        return x + self.o((v @ weights.mT).flatten(1, 2).unflatten(2, x.shape[2:]))


class Reaches(nn.Module):
    """Two convolutions of different reach side by side: the dilated one replaces no stride."""

    def __init__(self) -> None:
        super().__init__()
        self.near, self.far, self.out = conv(8, 8), conv(8, 8, dilation=2), conv(8, 16)

    def forward(self, x):
        return F.relu(self.out(F.relu(self.near(x)) + F.relu(self.far(x))))


class Trunk(nn.Module):
    """Down to a sixteenth; `levels`: the maps of each size, as a list."""

    def __init__(self, levels: bool) -> None:
        super().__init__()
        self.levels, widths = levels, (3, 8, 8, 16, 16)
        self.s = nn.ModuleList(nn.Sequential(conv(a, b, stride=2), nn.ReLU(), Unit(b, b)) for a, b in pairwise(widths))

    def forward(self, x):
        found = []
        for part in self.s:
            x = part(x)
            found.append(x)
        return found if self.levels else x


class Dense(nn.Module):
    """A network for maps whose parts have telling names nowhere: `w` is the trunk."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.w = kind, Trunk(kind == "levels")
        self.h, self.g = conv(16, 16), nn.Conv2d(16, 5, 1)

    def forward(self, x):
        y = self.w(x)
        if self.kind == "levels":
            fine, deep = y[-2], y[-1]
            y = fine + F.interpolate(deep, scale_factor=2.0)
        y = self.g(F.relu(self.h(y)))
        return F.interpolate(y, x.shape[2:]) if self.kind == "large" else y


def example(side: int = 32) -> torch.Tensor:
    return torch.randn(2, 3, side, side + 8)


def trace_of(model: nn.Module, given=None):
    return trace(model, given, Attachment)[0]


WIDTHS = ((8, 8), (8, 16), (16, 16), (16, 32))


class Pyramid(nn.Module):
    """A detector in one list, each part with the numbers of what it reads: down, up, down again, a head at each level.

    Parts 0 to 5 are the backbone, whose stages end at strides 2, 4, 8, 16 and 32.
    """

    def __init__(self, kind: str = "joined", classes: int = 3) -> None:
        super().__init__()
        self.kind, up = kind, nn.Upsample(scale_factor=2.0)
        layers: list[tuple[nn.Module, tuple[int, ...]]] = [
            (conv(3, 8, stride=2), (-1,)),
            *((nn.Sequential(conv(a, b, stride=2), nn.ReLU(), Unit(b, b)), (-1,)) for a, b in WIDTHS),
            (Wide(32), (-1,)),
            (up, (-1,)), (Joined(48, 16), (6, 3)), (nn.Upsample(scale_factor=2.0), (-1,)), (Joined(32, 16), (8, 2)),
            (conv(16, 16, stride=2), (-1,)), (Joined(32, 16), (10, 7)),
            (conv(16, 16, stride=2), (-1,)), (Joined(48, 32), (12, 5)),
        ]  # fmt: skip
        self.parts = nn.ModuleList(part for part, _ in layers)
        self.reads = [read for _, read in layers]
        self.boxes = nn.ModuleList(nn.Sequential(conv(c, 8), nn.SiLU(), nn.Conv2d(8, 4, 1)) for c in (16, 16, 32))
        self.classes = nn.ModuleList(
            nn.Sequential(conv(c, 8), nn.SiLU(), nn.Conv2d(8, classes, 1)) for c in (16, 16, 32)
        )

    def forward(self, x):
        made = []
        for part, read in zip(self.parts, self.reads, strict=True):
            given = [made[i] if i >= 0 or made else x for i in read]
            made.append(part(given[0] if len(given) == 1 else given))
        found = [
            torch.cat([box(made[i]), name(made[i])], 1)
            for i, box, name in zip((9, 11, 13), self.boxes, self.classes, strict=True)
        ]
        if self.kind == "joined":
            flat = torch.cat([part.flatten(2) for part in found], 2)
            return torch.cat([flat[:, :4], flat[:, 4:].sigmoid()], 1), found
        return found


class Wide(nn.Module):
    """Poolings of one map in a row, joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.pool, self.last = conv(width, 8, 1), nn.MaxPool2d(3, 1, 1), conv(16, width, 1)

    def forward(self, x):
        x = self.first(x)
        return F.silu(self.last(torch.cat([x, self.pool(x)], 1)))


class Joined(nn.Module):
    """Maps joined, then a residual unit."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.mix, self.unit = conv(inputs, outputs, 1), Unit(outputs, outputs)

    def forward(self, given):
        return self.unit(F.silu(self.mix(torch.cat(given, 1))))


class Levels(nn.Module):
    """A single-shot detector: one head on each map of a chain, the maps smaller and smaller."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 8, 16, 16, 16)
        self.chain = nn.ModuleList(nn.Sequential(conv(a, b, stride=2), nn.ReLU()) for a, b in pairwise(widths))
        self.heads = nn.ModuleList(nn.Conv2d(16, 6, 3, 1, 1) for _ in range(3))

    def forward(self, x):
        found = []
        for i, part in enumerate(self.chain):
            x = part(x)
            if i:
                found.append(self.heads[i - 1](x).flatten(2).mT)
        return torch.cat(found, 1)


class TopDown(nn.Module):
    """A pyramid without bottom-up path, and one head that all its levels share."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.ModuleList(
            nn.Sequential(conv(a, b, stride=2), nn.ReLU(), Unit(b, b)) for a, b in pairwise((3, 8, 16, 32))
        )
        self.across = nn.ModuleList(nn.Conv2d(c, 8, 1) for c in (16, 32))
        self.smooth = nn.ModuleList(nn.Conv2d(8, 8, 3, 1, 1) for _ in range(2))
        self.tower, self.out = nn.Sequential(conv(8, 8), nn.ReLU()), nn.Conv2d(8, 5, 3, 1, 1)

    def forward(self, x):
        fine = self.w[1](self.w[0](x))
        deep = self.across[1](self.w[2](fine))
        top = self.across[0](fine) + F.interpolate(deep, scale_factor=2.0)
        levels = [smooth(level) for smooth, level in zip(self.smooth, (top, deep), strict=True)]
        return [self.out(self.tower(level)) for level in levels]


class Encoder(nn.Module):
    """The maps of each size, in three steps down."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = nn.ModuleList(
            nn.Sequential(conv(a, b, stride=2), nn.ReLU(), Unit(b, b)) for a, b in pairwise((3, 8, 16, 32))
        )

    def forward(self, x):
        found = []
        for step in self.steps:
            x = step(x)
            found.append(x)
        return found


class Gated(nn.Module):
    """A map scaled by a gate made from a coarser one."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.near, self.say = conv(width, 4, 3), conv(4, 1)

    def forward(self, x, coarse):
        return x * self.say(F.relu(self.near(x + coarse.mean(1, keepdim=True)))).sigmoid()


class AdditiveGate(nn.Module):
    """A gate on the map `x` of the sum of two projections, of the map and of what was made from it further down."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.down = nn.Sequential(conv(width, width, 3, 2), nn.ReLU(), conv(width, width, 3), nn.ReLU())
        self.up = nn.ConvTranspose2d(width, width, 2, 2)
        self.own, self.other = (nn.Sequential(conv(width, 4, 1), nn.BatchNorm2d(4)) for _ in range(2))
        self.say = conv(4, 1, 1)

    def forward(self, x):
        risen = F.relu(self.up(self.down(x)))
        gate = self.say(F.relu(self.other(risen) + self.own(x))).sigmoid()
        return torch.cat([x * gate, risen], 1)


class Up(nn.Module):
    """One step up: enlarged, joined with the encoder's map after a gate, two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int) -> None:
        super().__init__()
        self.gate = Gated(skip)
        self.one, self.two = nn.Sequential(conv(inputs + skip, outputs), nn.ReLU()), conv(outputs, outputs)

    def forward(self, x, skip):
        x = F.interpolate(x, scale_factor=2.0)
        return F.relu(self.two(self.one(torch.cat([x, self.gate(skip, x)], 1))))


class Decoder(nn.Module):
    """Steps up, as a list of which the last is a map, or with what `deep` supervision reads as well."""

    def __init__(self, deep: bool = False) -> None:
        super().__init__()
        self.deep = deep
        self.blocks = nn.ModuleList([Up(32, 16, 16), Up(16, 8, 8)])

    def forward(self, maps):
        x, *skips = maps[::-1]
        found = []
        for block, skip in zip(self.blocks, skips, strict=True):
            x = block(x, skip)
            found.append(x)
        return found if self.deep else x


class Net(nn.Module):
    """An encoder, a decoder and a head."""

    def __init__(self, deep: bool = False) -> None:
        super().__init__()
        self.encoder, self.decoder, self.head = Encoder(), Decoder(deep), nn.Conv2d(8, 5, 3, 1, 1)

    def forward(self, x):
        y = self.decoder(self.encoder(x))
        return self.head(y[-1] if isinstance(y, list) else y)
