"""Insert into networks of other libraries and print what holds: ``python -m benchmarks.ecosystems LIBRARY ...``.

Each library is expected in the environment that runs this; none is a dependency, and none is downloaded. Columns:

* places: the mechanism's natural places that were found;
* bitwise: the outputs in evaluation are the same bit by bit after the insertion;
* learns: tensors of the mechanisms that moved in 4 steps of plain SGD at 0.05, of all;
* fuse: after the library's own folding of norms, all mechanisms run, or the loss is an error of ``verify(expect=)``;
* reload: a state dict goes strictly into a second network of the same insertion, with equal outputs;
* removal: afterwards the outputs and the keys are those of the network as it was.
"""

from __future__ import annotations

import copy
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

import saccade
from saccade.errors import InputError
from saccade.insertion.recorder import tensors_in

STEPS, SIZE = 4, (64, 96)
HEADINGS = ("library", "network", "mechanism", "places", "bitwise", "learns", "fuse", "reload", "removal")
TORCHVISION = (
    "resnet18", "resnet50", "vgg11_bn", "densenet121", "mobilenet_v2", "mobilenet_v3_small", "efficientnet_b0",
    "regnet_y_400mf", "convnext_tiny", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "googlenet",
)  # fmt: skip
TIMM = (
    "resnet26d", "hrnet_w18_small", "mobilenetv1_100", "ese_vovnet19b_slim", "cspresnet50", "dla34", "res2net50_14w_8s",
    "repvgg_a0", "poolformer_s12", "nf_regnet_b0", "xception41", "edgenext_xx_small",
)  # fmt: skip
SMP = ("Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "MAnet", "Linknet", "UPerNet", "PSPNet", "PAN")
ULTRALYTICS = (
    "yolov5n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolov8n-seg", "yolo11n-pose", "yolov8n-cls",
)  # fmt: skip


SHAPES: dict[str, tuple[int, ...]] = {
    "videos": (2, 3, 4, 32, 48),
    "monai": (2, 3, 32, 32, 32),
    "monai sequences": (2, 3, 64),
    "nnunet": (2, 3, 16, 32, 32),
}
"""Library of networks on clips, volumes or sequences to the shape of its input."""


def networks(library: str) -> Iterator[tuple[str, str, dict[str, Any], Callable[[], nn.Module]]]:
    """Yield name, mechanism, options of the insertion and builder of each network of a library.

    Raises:
        LookupError: The library is not one of those listed here.
    """
    if library == "torchvision":
        import torchvision

        for name in TORCHVISION:
            more = {"aux_logits": False, "init_weights": False} if name == "googlenet" else {}
            yield name, "cbam", {}, lambda name=name, more=more: torchvision.models.get_model(name, **more)
    elif library == "timm":
        import timm

        for name in TIMM:
            yield name, "se", {}, lambda name=name: timm.create_model(name)
    elif library == "smp":
        import segmentation_models_pytorch as smp

        for name in SMP:
            yield (
                f"{name}, decoder",
                "cbam",
                {"within": "decoder"},
                lambda name=name: getattr(smp, name)("resnet18", encoder_weights=None),
            )
    elif library == "ultralytics":
        from ultralytics.nn import tasks

        kinds = {"seg": "SegmentationModel", "pose": "PoseModel", "cls": "ClassificationModel"}
        for name in ULTRALYTICS:
            kind = getattr(tasks, kinds.get(name.partition("-")[2], "DetectionModel"))
            yield name, "cbam", {"at": "stage"}, lambda name=name, kind=kind: kind(f"{name}.yaml", verbose=False)
    elif library in SHAPES:
        yield from deep_networks(library)
    else:
        raise LookupError(f"{library}: expected torchvision, timm, smp, ultralytics or {', '.join(SHAPES)}")


def deep_networks(library: str) -> Iterator[tuple[str, str, dict[str, Any], Callable[[], nn.Module]]]:
    """Yield the networks of a library on clips, volumes or sequences, as :func:`networks` does."""
    if library == "videos":
        from torchvision.models import video

        for name in ("r3d_18", "mc3_18", "r2plus1d_18"):
            yield name, "non_local", {}, lambda name=name: getattr(video, name)()
        return
    if library == "nnunet":
        from dynamic_network_architectures.architectures import unet

        sizes: dict[str, Any] = {"n_stages": 4, "features_per_stage": (8, 16, 32, 64), "kernel_sizes": 3}
        sizes |= {"strides": (1, 2, 2, 2), "n_conv_per_stage_decoder": 2, "num_classes": 2, "conv_bias": True}
        norm = {"norm_op": nn.InstanceNorm3d, "norm_op_kwargs": {"affine": True}, "nonlin": nn.LeakyReLU}
        for kind, count in (("PlainConvUNet", "n_conv_per_stage"), ("ResidualEncoderUNet", "n_blocks_per_stage")):
            yield (
                kind,
                "cbam",
                {},
                lambda kind=kind, count=count: getattr(unet, kind)(
                    input_channels=3, conv_op=nn.Conv3d, **{count: 2}, **sizes, **norm
                ),
            )
        return
    from monai.networks import nets

    wide: dict[str, Any] = {"channels": (8, 16, 32), "strides": (2, 2)}
    kernels: dict[str, Any] = {"kernel_size": (3, 3, 3), "strides": (1, 2, 2), "upsample_kernel_size": (2, 2)}
    three: dict[str, dict[str, Any]] = {
        "UNet": {**wide, "num_res_units": 2}, "SegResNet": {"init_filters": 8},
        "DynUNet": {**kernels, "res_block": True}, "BasicUNet": {"features": (8, 8, 16, 16, 32, 8)},
        "AttentionUnet": wide, "VNet": {}, "DenseNet121": {},
    }  # fmt: skip
    dims, chosen = (3, three) if library == "monai" else (1, {name: three[name] for name in ("UNet", "BasicUNet")})
    for name, options in chosen.items():
        given = {"spatial_dims": dims, "in_channels": 3, "out_channels": 2, **options}
        yield name, "cbam", {}, lambda name=name, given=given: getattr(nets, name)(**given)


def run(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the tensors of a forward pass in evaluation."""
    with torch.no_grad():
        return [part.clone() for part in tensors_in(model.eval()(x))]


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Return whether two outputs are equal bit by bit."""
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def learns(model: nn.Module, x: Tensor) -> str:
    """Train a copy for a few steps; return how many tensors of the mechanisms moved, of how many."""
    model = copy.deepcopy(model).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if ".saccade" in name}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        made = [part for part in tensors_in(model(x)) if part.requires_grad]
        optimizer.zero_grad()
        torch.stack([part.float().square().mean().sqrt() for part in made]).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    moved = sum(not torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)
    return f"{moved} of {len(before)}"


def fused(model: nn.Module, count: int) -> str:
    """Return what the library's own folding leaves of the mechanisms."""
    if not callable(getattr(model, "fuse", None)):
        return "-"
    folded = copy.deepcopy(model).eval()
    folded.fuse(verbose=False)
    try:
        restored = saccade.verify(folded, expect=count)
    except InputError as cause:
        return f"error: {cause.message[:60]}"
    return f"all, {len(restored)} put back" if restored else "all"


def row(
    library: str, name: str, mechanism: str, options: dict[str, Any], build: Callable[[], nn.Module]
) -> tuple[str, ...]:
    """Return one row of the table."""
    torch.manual_seed(0)
    model, x = build(), torch.randn(SHAPES.get(library, (2, 3, *SIZE)))
    keys, before = list(model.state_dict()), run(model, x)
    twin = copy.deepcopy(model)
    try:
        saccade.insert(model, mechanism, example_input=x, **options)
        count = len(saccade.verify(model).present)
        bitwise = same(run(model, x), before)
        moved, folded = learns(model, x), fused(model, count)
        saccade.insert(twin, mechanism, example_input=x, **options).load_state_dict(model.state_dict())
        reloaded = same(run(twin, x), run(model, x))
        saccade.remove(model)
        removed = same(run(model, x), before) and list(model.state_dict()) == keys
    except InputError as cause:
        return (library, name, mechanism, f"refused: {cause.message[:80]}", *["-"] * 5)
    yes = {True: "yes", False: "no"}
    return library, name, mechanism, str(count), yes[bitwise], moved, folded, yes[reloaded], yes[removed]


def main(libraries: list[str]) -> None:
    """Print the table of some libraries, as Markdown."""
    warnings.simplefilter("ignore")
    print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}")
    for library in libraries:
        for name, mechanism, options, build in networks(library):
            print(f"| {' | '.join(row(library, name, mechanism, options, build))} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or ["torchvision"])
