"""Carry out what docs/ecosystems says of training and reloading, library by library: ``python -m benchmarks.recipes``.

Without a name, each library is installed into a throw-away environment, and its recipes are run there; with one, they
are run in the environment that runs this. Columns:

* keys: the second network has the keys of the first after reloading, with the library's strictness where it has one;
* outputs: both return the same bit by bit, with factors that are not 0;
* verify: every mechanism that was inserted is found in the second, and runs.
"""

from __future__ import annotations

import importlib.metadata
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import saccade
from benchmarks.ecosystems import PACKAGES, run, run_installed, same
from saccade.insertion import attachments

NEEDED: dict[str, tuple[str, ...]] = {
    "torch": (),
    "timm": (),
    "segmentation-models-pytorch": PACKAGES["smp"],
    "transformers": PACKAGES["transformers"],
    "lightning": ("lightning==2.6.6", "torchmetrics==1.9.0", "lightning-utilities==0.15.3"),
    "peft": (*PACKAGES["transformers"], "peft==0.21.2", "accelerate==1.15.0", "psutil"),
    "ultralytics": PACKAGES["ultralytics"],
}
"""Packages of an environment next to those of the one that runs this, installed without their dependencies."""

HEADINGS = ("library", "recipe", "keys", "outputs", "verify")
Recipe = Iterator[tuple[str, nn.Module, nn.Module, Tensor]]
"""Result of a recipe: its name, the network as trained, the one it was loaded into, and an input."""


def network(classes: int = 3) -> nn.Module:
    """Return torchvision's ResNet-18 with mechanisms."""
    import torchvision

    return saccade.insert(torchvision.models.resnet18(num_classes=classes), "cbam")


def step(model: nn.Module, x: Tensor, rate: float = 0.05) -> nn.Module:
    """Train for two steps, so that no factor is 0."""
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=rate)
    for _ in range(2):
        out: Any = model.train()(x)
        optimizer.zero_grad()
        (out if isinstance(out, Tensor) else out.logits).square().mean().backward()
        optimizer.step()
    return model


def with_torch(folder: Path) -> Recipe:
    """Load what was saved before inserting, and average the weights."""
    import torchvision

    x = torch.randn(2, 3, 64, 64)
    old = torchvision.models.resnet18(num_classes=3).state_dict()
    model, again = network(), network()
    missing = again.load_state_dict(old, strict=False).missing_keys
    again.load_state_dict({**step(model, x).state_dict()})
    if not missing or not all(".saccade." in key for key in missing):
        raise RuntimeError(f"other keys are missing: {missing[:3]}")
    yield "old checkpoint with strict=False, then the trained one strictly", model, again, x
    averaged = torch.optim.swa_utils.AveragedModel(model)
    averaged.update_parameters(model)
    twin = torch.optim.swa_utils.AveragedModel(network())
    twin.load_state_dict(averaged.state_dict())
    yield "AveragedModel, its state loaded into another", averaged, twin, x
    torch.save(model.state_dict(), folder / "state.pth")
    compiled = network()
    compiled.compile(backend="eager")
    compiled.load_state_dict(torch.load(folder / "state.pth"))
    yield "state loaded into a network that was compiled in place", model, compiled, x
    path = saccade.save(compiled, folder / "net.safetensors")
    yield "compiled network saved by saccade.save, loaded by its recipe", compiled, saccade.load(path), x


def with_timm(folder: Path) -> Recipe:
    """Insert after `create_model`, as in timm's training script, between --initial-checkpoint and --resume."""
    import timm
    from timm.models import resume_checkpoint
    from timm.utils import CheckpointSaver

    x = torch.randn(2, 3, 64, 64)
    start = folder / "start.pth"
    torch.save(timm.create_model("resnet10t", num_classes=3).state_dict(), start)

    def made() -> nn.Module:
        return saccade.insert(timm.create_model("resnet10t", num_classes=3, checkpoint_path=str(start)), "cbam")

    model = step(made(), x)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    saver = CheckpointSaver(model, optimizer, checkpoint_dir=str(folder), recovery_dir=str(folder))
    saver.save_checkpoint(0, metric=1.0)
    again = made()
    resume_checkpoint(again, str(folder / "last.pth.tar"), torch.optim.SGD(again.parameters(), lr=0.1), log_info=False)
    yield "train script: --initial-checkpoint, insert, --resume", model, again, x


def with_smp(folder: Path) -> Recipe:
    """Store as the library does, and load into a network built and inserted alike."""
    import segmentation_models_pytorch as smp
    from safetensors.torch import load_file

    x = torch.randn(2, 3, 64, 96)

    def made() -> nn.Module:
        return saccade.insert(smp.Unet("resnet18", encoder_weights=None), "cbam", within="decoder", example_input=x)

    model, again = step(made(), x), made()
    model.save_pretrained(folder / "unet")  # type: ignore[operator]
    again.load_state_dict(load_file(folder / "unet" / "model.safetensors"), strict=True)
    yield "save_pretrained; built, inserted, loaded strictly", model, again, x
    path = saccade.save(model, folder / "net.safetensors")
    yield (
        "saccade.save; saccade.load with the network as it was built",
        model,
        saccade.load(path, model=smp.Unet("resnet18", encoder_weights=None)),
        x,
    )


def with_transformers(folder: Path) -> Recipe:
    """Store as the library does, and load into a network built and inserted alike."""
    from safetensors.torch import load_file
    from transformers import ResNetConfig, ResNetForImageClassification

    x = torch.randn(2, 3, 64, 64)
    config = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], layer_type="basic", num_labels=3)

    def inserted(model: nn.Module) -> nn.Module:
        return saccade.insert(model, "cbam", example_input={"pixel_values": x})

    model = step(inserted(ResNetForImageClassification(config)), x)
    model.save_pretrained(folder / "resnet")  # type: ignore[operator]
    again = inserted(ResNetForImageClassification(ResNetConfig.from_pretrained(folder / "resnet")))
    again.load_state_dict(load_file(folder / "resnet" / "model.safetensors"), strict=True)
    yield "save_pretrained; built, inserted, loaded strictly", model, again, x
    path = saccade.save(model, folder / "net.safetensors")
    built = ResNetForImageClassification.from_pretrained(folder / "resnet")
    yield "saccade.save; from_pretrained, then saccade.load into it", model, saccade.load(path, model=built), x


def with_lightning(folder: Path) -> Recipe:
    """Insert in `__init__`, fit, and load the checkpoint."""
    import lightning

    class Module(lightning.LightningModule):
        def __init__(self, classes: int) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net = network(classes)

        def forward(self, x: Tensor) -> Any:
            return self.net(x)

        def training_step(self, batch: Any, index: int) -> Tensor:
            return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    x = torch.randn(4, 3, 64, 64)
    data = torch.utils.data.TensorDataset(x, torch.arange(4) % 3)
    trainer = lightning.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        default_root_dir=folder, enable_checkpointing=False,
    )  # fmt: skip
    model = Module(3)
    trainer.fit(model, torch.utils.data.DataLoader(data, 2))
    trainer.save_checkpoint(folder / "last.ckpt")
    again = Module.load_from_checkpoint(folder / "last.ckpt")
    yield "inserted in __init__; fit; load_from_checkpoint", model, again, x


def with_peft(folder: Path) -> Recipe:
    """Train adapters and mechanisms, whose factors an adapter freezes, and store the whole state."""
    from peft import LoraConfig, get_peft_model

    x = torch.randn(2, 3, 64, 64)
    chosen = {"target_modules": r"layer\d\.\d\.conv1", "r": 2}
    start = network().state_dict()

    def made() -> nn.Module:
        model = network()
        model.load_state_dict(start)
        return model

    model = get_peft_model(made(), LoraConfig(**chosen))  # type: ignore[arg-type]
    frozen = [one.g for one in attachments(model).values() if one.g is not None and not one.g.requires_grad]
    if len(frozen) != 8:
        raise RuntimeError(f"expected 8 frozen factors; {len(frozen)} are")
    for one in attachments(model).values():
        one.requires_grad_(True)
    step(model, x)
    again = get_peft_model(made(), LoraConfig(**chosen))  # type: ignore[arg-type]
    again.load_state_dict(model.state_dict())
    yield "LoRA, attachments set to requires_grad; the whole state loaded", model, again, x


def with_ultralytics(folder: Path) -> Recipe:
    """Train by the library's trainer, with a subclass that inserts, and load what it wrote."""
    import numpy as np
    from PIL import Image
    from ultralytics import YOLO
    from ultralytics.models.yolo.detect import DetectionTrainer

    class Trainer(DetectionTrainer):
        def get_model(self, cfg: Any = None, weights: Any = None, verbose: bool = True) -> nn.Module:
            return saccade.insert(super().get_model(cfg, weights, verbose), "cbam", at="stage")

    draw = np.random.default_rng(0)
    for side in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / "data" / kind / side).mkdir(parents=True)
        for number in range(4):
            pixels = draw.integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "data" / "images" / side / f"{number}.png")
            (folder / "data" / "labels" / side / f"{number}.txt").write_text("0 0.5 0.5 0.4 0.4\n")
    described = folder / "data.yaml"
    described.write_text(f"path: {folder / 'data'}\ntrain: images/train\nval: images/val\nnames: [thing]\n")
    yolo = YOLO("yolov8n.yaml")
    how = {"epochs": 1, "imgsz": 64, "batch": 2, "workers": 0, "plots": False, "amp": False, "device": "cpu"}
    yolo.train(data=str(described), trainer=Trainer, project=str(folder / "runs"), name="one", verbose=False, **how)
    trained = folder / "runs" / "one" / "weights" / "last.pt"
    model, again = (YOLO(str(trained)).model.float() for _ in range(2))
    yield "trainer whose get_model inserts; train; weights loaded", model, again, torch.rand(1, 3, 64, 64)


RECIPES: dict[str, Callable[[Path], Recipe]] = {
    "torch": with_torch, "timm": with_timm, "segmentation-models-pytorch": with_smp, "transformers": with_transformers,
    "lightning": with_lightning, "peft": with_peft, "ultralytics": with_ultralytics,
}  # fmt: skip


def checked(first: nn.Module, second: nn.Module, x: Tensor) -> tuple[str, str, str]:
    """Return whether keys, outputs and mechanisms of two networks are the same."""
    factors = [one.factor() for one in attachments(first).values()]
    if not factors or not any(factor is not None and factor.any() for factor in factors):
        raise RuntimeError("no factor has moved, so equal outputs would mean nothing")
    keys = [key.replace("_orig_mod.", "") for key in first.state_dict()]
    found = keys == [key.replace("_orig_mod.", "") for key in second.state_dict()]
    saccade.verify(second, expect=len(factors))
    return ("yes" if found else "no", "yes" if same(run(first, x), run(second, x)) else "no", f"{len(factors)}, all")


def main(names: list[str]) -> None:
    """Print the table of some libraries, as Markdown; of all, each in an environment of its own."""
    warnings.simplefilter("ignore")
    if len(names) != 1:
        print(f"| {' | '.join(HEADINGS)} |\n|{' --- |' * len(HEADINGS)}", flush=True)
        for name in names or NEEDED:
            with tempfile.TemporaryDirectory() as folder:
                run_installed(Path(folder) / "environment", NEEDED[name], "benchmarks.recipes", name)
        return
    torch.manual_seed(0)
    library = f"{names[0]} {importlib.metadata.version(names[0])}"
    with tempfile.TemporaryDirectory() as folder:
        try:
            for recipe, first, second, x in RECIPES[names[0]](Path(folder)):
                print(f"| {library} | {recipe} | {' | '.join(checked(first, second, x))} |", flush=True)
        except Exception as cause:  # a recipe may fail in any way; the table says it
            words = " ".join(f"{type(cause).__name__}: {cause}".split())[:300]
            print(f"| {library} | failed: {words} | - | - | - |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
