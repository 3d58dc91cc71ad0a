"""What inserting attention costs beside the attention itself: ``python -m benchmarks.insertion``.

Ratios are measured in rounds whose sides follow each other at once, in alternating order, so that a busy machine slows
both. Times of this machine are shown only to make them readable.

1. A forward pass with mechanisms run by hooks, against the same mechanisms in modules written into the network by hand.
2. The hooks alone: a module that does nothing, with an attachment that does nothing, against one without; as a share of
   the forward pass, for as many as were inserted. This resolves what the first ratio's spread hides.
3. Planning and inserting, in seconds (it is to stay under one for ResNet-50), and verifying.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable

import timm
import torch
from torch import nn

import saccade
from saccade.insertion import Attachment, attachments
from saccade.insertion.attach import attach


def seconds(action: Callable[[], object]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def paired(one: Callable[[], object], other: Callable[[], object], rounds: int) -> list[tuple[float, float]]:
    """Times of both in each round; each goes first in every second one. A first round is not counted."""
    times = []
    for number in range(rounds + 1):
        if number % 2:
            second, first = seconds(other), seconds(one)
        else:
            first, second = seconds(one), seconds(other)
        times.append((first, second))
    return times[1:]


@torch.inference_mode()
def forward(network: nn.Module, image: torch.Tensor) -> torch.Tensor:
    return network(image)


def show(title: str, times: list[tuple[float, float]]) -> None:
    ratios = sorted(first / second for first, second in times)
    low, middle, high = statistics.quantiles(ratios, n=4)
    first, second = (statistics.median(side) for side in zip(*times, strict=True))
    print(f"{title}: ratio {middle:.3f}, half of the rounds between {low:.3f} and {high:.3f}")
    print(f"    medians {1000 * first:.1f} ms and {1000 * second:.1f} ms, {len(times)} rounds")


def written_by_hand(hooked: nn.Module, plain: nn.Module) -> nn.Module:
    """The network of `hooked`, each mechanism as a module of its own after its host."""
    for path, attachment in attachments(hooked).items():
        host = plain.get_submodule(path)
        plain.set_submodule(path, nn.Sequential(host, copy.deepcopy(attachment)))
    return plain


def microseconds_of_a_hook(calls: int = 20_000) -> float:
    """What a hook and an attachment that does nothing add to a call; the least of several rounds."""

    class Nothing(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    plain, hooked, x = Nothing(), Nothing(), torch.zeros(1, 1, 1, 1)
    attach(hooked, Attachment(nn.Identity(), side="after", wrapped=False))

    def many(module: nn.Module) -> Callable[[], None]:
        def run() -> None:
            for _ in range(calls):
                module(x)

        return run

    with torch.inference_mode():
        return min(one - other for one, other in paired(many(hooked), many(plain), 5)) / calls * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description="What inserting attention costs beside the attention itself.")
    parser.add_argument("--backbone", default="resnet50", help="a ResNet of timm (default: %(default)s)")
    parser.add_argument("--mechanism", default="se", help="one that goes after its places (default: %(default)s)")
    parser.add_argument("--size", type=int, default=224, help="side of the image in pixels (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="at least 4 (default: %(default)s)")
    given = parser.parse_args()

    torch.manual_seed(0)
    plain = timm.create_model(given.backbone).eval()
    image = torch.randn(1, 3, given.size, given.size)
    fresh = iter([copy.deepcopy(plain) for _ in range(given.rounds + 1)])  # copying is not part of inserting
    hooked = saccade.insert(copy.deepcopy(plain), given.mechanism)
    by_hand = written_by_hand(hooked, copy.deepcopy(plain))
    if not torch.equal(forward(hooked, image), forward(by_hand, image)):
        raise SystemExit("the two networks differ: the comparison would mean nothing")
    what = f"{given.mechanism} at {len(attachments(hooked))} places of {given.backbone}"
    print(f"{what}, 1 x 3 x {given.size} x {given.size}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    show(
        "hooks / written by hand",
        paired(lambda: forward(hooked, image), lambda: forward(by_hand, image), given.rounds),
    )
    one = statistics.median(seconds(lambda: forward(plain, image)) for _ in range(given.rounds))
    hook, places = microseconds_of_a_hook(), len(attachments(hooked))
    share = places * hook * 1e-6 / one
    print(f"hooks alone: {hook:.1f} us each, {share:.2%} of a forward pass of {1000 * one:.0f} ms")
    for title, action in (
        ("plan and insert", lambda: saccade.insert(next(fresh), given.mechanism)),
        ("verify", lambda: saccade.verify(hooked)),
    ):
        times = sorted(seconds(action) for _ in range(given.rounds))
        print(f"{title}: median {statistics.median(times):.2f} s, slowest {times[-1]:.2f} s, {given.rounds} rounds")


if __name__ == "__main__":
    main()
