"""Insert into networks of other libraries and print what holds: ``python -m benchmarks.ecosystems [LIBRARY ...]``.

Without a library, each of them is installed into a throw-away environment, which sees the packages of the one that runs
this, and measured there; with one, it is measured in the environment that runs this. Columns:

* places: the mechanism's natural places that were found;
* bitwise: the outputs in evaluation are the same bit by bit after the insertion;
* learns: tensors of the mechanisms that moved in 4 steps of plain SGD at 0.05, of all; of those that did not, how many
  were *off*, with a gradient of exactly 0 once their factor had opened, as behind a ReLU that is off for every picture.
  Branches that start at zero (a last norm or layer scale of 0, or nearly) are set to 1 first, as if they had grown;
* fuse: after the library's own folding of norms, all mechanisms run, or the loss is an error of ``verify(expect=)``;
* save: what the library's own way to store weights keeps of them (its folder of a network, else the state dict), loaded
  into a second network of the same insertion, with equal outputs;
* trace: `torch.jit.trace`, by which most of these libraries export, gives equal outputs up to 1e-4;
* removal: afterwards the outputs and the keys are those of the network as it was.
"""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import saccade
from saccade.errors import InputError
from saccade.insertion.recorder import tensors_in

PACKAGES = {
    "torchvision": (),
    "timm": (),
    "smp": ("segmentation-models-pytorch==0.6.0",),
    "ultralytics": (
        "ultralytics==8.4.190",
        "ultralytics-thop",
        "opencv-python-headless",
        "polars",
        "polars-runtime-32",
    ),
    "transformers": ("transformers==5.24.0", "tokenizers==0.23.3", "regex"),
    "monai": ("monai==1.6.1", "einops"),
    "videos": (),
    "monai volumes": ("monai==1.6.1",),
    "monai sequences": ("monai==1.6.1",),
    "nnunet": ("dynamic-network-architectures==0.4.4",),
}
"""Packages of an environment next to those of the one that runs this, installed without their dependencies."""

STEPS, SIZE = 4, (64, 96)
_NEARLY_ZERO = 1e-2
HEADINGS = ("library", "network", "mechanism", "places", "bitwise", "learns", "fuse", "save", "trace", "removal")
TORCHVISION = (
    "resnet18", "resnet50", "wide_resnet50_2", "resnext50_32x4d", "vgg11_bn", "densenet121", "mobilenet_v2",
    "mobilenet_v3_small", "efficientnet_b0", "efficientnet_v2_s", "regnet_y_400mf", "regnet_x_400mf", "convnext_tiny",
    "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5", "googlenet", "alexnet", "fcn_resnet50", "deeplabv3_resnet50",
    "lraspp_mobilenet_v3_large",
)  # fmt: skip
TIMM = (
    "resnet26d", "hrnet_w18_small", "mobilenetv1_100", "ese_vovnet19b_slim", "cspresnet50", "dla34", "res2net50_14w_8s",
    "repvgg_a0", "poolformer_s12", "nf_regnet_b0", "xception41", "edgenext_xx_small", "skresnet18", "gernet_s",
    "ghostnet_050", "rexnet_100", "selecsls42b",
)  # fmt: skip
SMP = ("Unet", "UnetPlusPlus", "FPN", "DeepLabV3Plus", "MAnet", "Linknet", "UPerNet", "PSPNet")
ULTRALYTICS = (
    "yolov5n", "yolov8n", "yolov9t", "yolov10n", "yolo11n", "yolo12n", "yolov8n-seg", "yolo11n-pose", "yolov8n-cls",
)  # fmt: skip
TRANSFORMERS = (
    "ResNet",
    "RegNet",
    "ConvNext",
    "ConvNextV2",
    "MobileNetV1",
    "MobileNetV2",
    "EfficientNet",
    "PoolFormer",
)
MONAI = ("UNet", "BasicUNet", "SegResNet", "DynUNet", "AttentionUnet", "DenseNet121")


SHAPES: dict[str, tuple[int, ...]] = {
    "videos": (2, 3, 4, 32, 48),
    "monai volumes": (2, 3, 32, 32, 32),
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
    elif library == "transformers":
        import transformers

        for name in TRANSFORMERS:
            config = getattr(transformers, f"{name}Config")()
            kind = getattr(transformers, f"{name}ForImageClassification")
            yield name, "se", {}, lambda kind=kind, config=config: kind(config)
    elif library == "monai":
        from monai.networks import nets

        flat = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2}
        steps = {"channels": (8, 16, 32), "strides": (2, 2)}
        options: dict[str, dict[str, Any]] = {
            "UNet": {**steps, "num_res_units": 2}, "AttentionUnet": steps,
            "DynUNet": {"kernel_size": [3] * 3, "strides": [1, 2, 2], "upsample_kernel_size": [2, 2]},
        }  # fmt: skip
        for name in MONAI:
            given = {**flat, **options.get(name, {})}
            yield name, "se", {}, lambda name=name, given=given: getattr(nets, name)(**given)
    elif library in SHAPES:
        yield from deep_networks(library)
    else:
        raise LookupError(f"{library}: expected one of {', '.join(PACKAGES)}")


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
        "AttentionUnet": wide, "HighResNet": {}, "DenseNet121": {},
    }  # fmt: skip
    dims, chosen = (3, tuple(three)) if library == "monai volumes" else (1, ("UNet", "BasicUNet"))
    for name in chosen:
        given = {"spatial_dims": dims, "in_channels": 3, "out_channels": 2, **three[name]}
        yield name, "cbam", {}, lambda name=name, given=given: getattr(nets, name)(**given)


def run(model: nn.Module, x: Tensor) -> list[Tensor]:
    """Return the tensors of a forward pass in evaluation."""
    with torch.no_grad():
        return [part.clone() for part in tensors_in(model.eval()(x))]


def same(ours: list[Tensor], theirs: list[Tensor]) -> bool:
    """Return whether two outputs are equal bit by bit."""
    return len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))


def learns(model: nn.Module, x: Tensor) -> str:
    """Train a copy for a few steps; return how many tensors of the mechanisms moved, and how many were off."""
    model = copy.deepcopy(model).train()
    with torch.no_grad():
        for name, p in model.named_parameters():
            vector = p.numel() == max(p.shape, default=1)
            if vector and ".saccade" not in name and not name.endswith("bias") and p.abs().max() < _NEARLY_ZERO:
                p.fill_(1.0)
    before = {name: p.detach().clone() for name, p in model.named_parameters() if ".saccade" in name}
    off = set(before)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(STEPS):
        made = [part for part in tensors_in(model(x)) if part.requires_grad]
        optimizer.zero_grad()
        torch.stack([part.float().square().mean().sqrt() for part in made]).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        off -= {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    still = {name for name, p in model.named_parameters() if name in before and torch.equal(p, before[name])}
    words = f"{len(before) - len(still)} of {len(before)}"
    return f"{words}, {len(still & off)} off" if still & off else words


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


def stored(model: nn.Module, twin: nn.Module, x: Tensor) -> bool:
    """Store the weights as the library does, load them into a second network, and compare the outputs."""
    if callable(getattr(model, "save_pretrained", None)) and hasattr(model, "config"):
        from safetensors.torch import load_file

        with tempfile.TemporaryDirectory() as folder:
            model.save_pretrained(folder)  # type: ignore[operator]
            twin.load_state_dict(load_file(f"{folder}/model.safetensors"), strict=True)
    else:
        twin.load_state_dict(model.state_dict())
    return same(run(twin, x), run(model, x))


def traced(model: nn.Module, x: Tensor) -> str:
    """Return whether the traced network has equal outputs up to rounding."""
    with torch.no_grad():
        try:
            made = torch.jit.trace(model.eval(), x, strict=False, check_trace=False)(x)
        except Exception as cause:  # a network may be untraceable in any way
            return f"no: {type(cause).__name__}"
    pairs = zip(tensors_in(made), run(model, x), strict=True)
    return "yes" if all(torch.allclose(a, b, rtol=1e-4, atol=1e-4) for a, b in pairs) else "no"


def in_an_environment(library: str, folder: Path) -> None:
    """Install a library into a new environment on top of the packages that run this, and measure it there."""
    run_installed(folder, PACKAGES[library], "benchmarks.ecosystems", library)


def run_installed(folder: Path, packages: tuple[str, ...], module: str, *arguments: str) -> None:
    """Run a module in a new environment that has some packages on top of those that run this."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    (site / "base.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    python = folder / "bin" / "python"
    if packages:
        uv = ["uv", "pip", "install", "-q", "--no-deps", "-p", python, *packages]
        subprocess.run(uv, check=True)
    quietly = os.environ | {"YOLO_CONFIG_DIR": str(folder), "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    subprocess.run([python, "-m", module, *arguments], check=True, env=quietly)


def row(
    library: str, name: str, mechanism: str, options: dict[str, Any], build: Callable[[], nn.Module]
) -> tuple[str, ...]:
    """Return one row of the table."""
    torch.manual_seed(0)
    model, x = build(), torch.randn(SHAPES.get(library, (2, 3, *SIZE)))
    keys, before = list(model.state_dict()), run(model, x)
    twin = copy.deepcopy(model)
    exports = traced(twin, x)
    try:
        saccade.insert(model, mechanism, example_input=x, **options)
        count = len(saccade.verify(model).present)
        bitwise = same(run(model, x), before)
        moved, folded = learns(model, x), fused(model, count)
        reloaded = stored(model, saccade.insert(twin, mechanism, example_input=x, **options), x)
        exports = traced(model, x) if exports == "yes" else f"{exports}, without them too"
        saccade.remove(model)
        removed = same(run(model, x), before) and list(model.state_dict()) == keys
    except InputError as cause:
        return (library, name, mechanism, f"refused: {cause.message[:80]}", *["-"] * 6)
    yes = {True: "yes", False: "no"}
    return library, name, mechanism, str(count), yes[bitwise], moved, folded, yes[reloaded], exports, yes[removed]


def main(libraries: list[str]) -> None:
    """Print the table of some libraries, as Markdown; of all, each in an environment of its own."""
    warnings.simplefilter("ignore")
    if not libraries or len(libraries) > 1:
        print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}", flush=True)
        for library in libraries or PACKAGES:
            with tempfile.TemporaryDirectory() as folder:
                in_an_environment(library, Path(folder) / "environment")
        return
    for name, mechanism, options, build in networks(libraries[0]):
        try:
            found = row(libraries[0], name, mechanism, options, build)
        except Exception as cause:  # one network must not hide the others
            found = (libraries[0], name, mechanism, f"failed: {type(cause).__name__}: {str(cause)[:60]}", *["-"] * 6)
        print(f"| {' | '.join(found)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
