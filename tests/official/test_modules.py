"""Weights by their authors' names: what is recognised, what is refused and how, and that a refusal changes nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import saccade
from saccade.catalog import parse
from saccade.mechanisms.base import Mechanism
from saccade.official import load_official
from tests.mechanisms.randomised import equal, random_map, randomised

Shapes = dict[str, tuple[int, ...]]

CADENE: Shapes = {"fc1.weight": (4, 64, 1, 1), "fc1.bias": (4,), "fc2.weight": (64, 4, 1, 1), "fc2.bias": (64,)}
INSIGHT: Shapes = {"fc.0.weight": (4, 64), "fc.0.bias": (4,), "fc.2.weight": (64, 4), "fc.2.bias": (64,)}
MOSKOMULE: Shapes = {"fc.0.weight": (4, 64), "fc.2.weight": (64, 4)}
BLOG_CBAM: Shapes = {
    "sharedMLP.0.weight": (4, 64, 1, 1),
    "sharedMLP.2.weight": (64, 4, 1, 1),
    "conv.weight": (1, 2, 3, 3),
}
CBAM: Shapes = {
    "ChannelGate.mlp.1.weight": (4, 64),
    "ChannelGate.mlp.1.bias": (4,),
    "ChannelGate.mlp.3.weight": (64, 4),
    "ChannelGate.mlp.3.bias": (64,),
    "SpatialGate.spatial.conv.weight": (1, 2, 7, 7),
    **{f"SpatialGate.spatial.bn.{name}": (1,) for name in ("weight", "bias", "running_mean", "running_var")},
}
GC_TIMM: Shapes = {
    "conv_attn.weight": (1, 64, 1, 1),
    "conv_attn.bias": (1,),
    "mlp_scale.fc1.weight": (8, 64, 1, 1),
    "mlp_scale.fc1.bias": (8,),
    "mlp_scale.norm.weight": (8,),
    "mlp_scale.norm.bias": (8,),
    "mlp_scale.fc2.weight": (64, 8, 1, 1),
    "mlp_scale.fc2.bias": (64,),
}


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(5)
    return {name: torch.rand(shape, generator=draw) for name, shape in shapes.items()}


def made(mechanism: str, **options: Any) -> Mechanism:
    spec = parse(mechanism)
    return saccade.create(spec.name, **{"channels": 64} | dict(spec.options) | options)


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize(
    ("mechanism", "shapes", "source"),
    [
        ("se", CADENE, "Cadene/pretrained-models.pytorch, timm"),
        ("se", INSIGHT, "implus/PytorchInsight"),
        ("se[bias=False]", MOSKOMULE, "moskomule/senet.pytorch"),
        ("eca[k=5]", {"conv.weight": (1, 1, 5)}, "BangguWu/ECANet, timm"),
        ("eca[k=5,shared=False]", {"conv.weight": (64, 1, 5)}, "BangguWu/ECANet, timm"),
        ("cbam", CBAM, "Jongchan/attention-module"),
        ("cbam[variant=popular,kernel_size=3]", BLOG_CBAM, "blog listings (sharedMLP, conv)"),
        ("gc[variant=timm]", GC_TIMM, "timm"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_recognises_the_layout(mechanism: str, shapes: Shapes, source: str) -> None:
    module, state = made(mechanism), drawn(shapes)
    report = load_official(module, state)
    assert report.layout.source == source
    assert set(report.loaded) == set(state)
    assert f"layout of {source}: {len(state)} tensors loaded" in str(report)
    own = module.state_dict()
    assert set(report.loaded.values()) | set(report.kept) == set(own)
    for theirs, ours in report.loaded.items():
        if ours != "spatial.conv.weight":
            torch.testing.assert_close(own[ours].flatten(), state[theirs].flatten(), rtol=0, atol=0)


def test_the_popular_listing_computes_what_it_did() -> None:
    """Against the listing's own order of operations: [mean, max], no norm, no biases."""
    cbam = saccade.create("cbam", 64, variant="popular", kernel_size=3).double()
    state = {name: tensor.double() for name, tensor in drawn(BLOG_CBAM).items()}
    load_official(cbam, state)
    x = random_map(64, (5, 7))
    w0, w1 = state["sharedMLP.0.weight"], state["sharedMLP.2.weight"]
    pooled = (nn.functional.adaptive_avg_pool2d(x, 1), nn.functional.adaptive_max_pool2d(x, 1))
    y = x * sum(nn.functional.conv2d(nn.functional.conv2d(p, w0).relu(), w1) for p in pooled).sigmoid()
    planes = torch.cat([y.mean(1, keepdim=True), y.amax(1, keepdim=True)], 1)
    equal(cbam(x), y * nn.functional.conv2d(planes, state["conv.weight"], padding=1).sigmoid())


@pytest.mark.parametrize(
    ("layer", "arguments", "mechanism", "options"),
    [
        ("SEModule", {}, "se", {"variant": "timm"}),
        ("SEModule", {"rd_ratio": 1 / 4, "bias": False}, "se", {"variant": "timm", "reduction": 4, "bias": False}),
        ("EcaModule", {}, "eca", {}),
        ("CecaModule", {}, "eca", {"circular": True}),
        ("CbamModule", {}, "cbam", {"variant": "timm"}),
        (
            "CbamModule",
            {"mlp_bias": True, "spatial_kernel_size": 3, "rd_ratio": 1 / 8},
            "cbam",
            {"variant": "timm", "bias": True, "kernel_size": 3, "reduction": 8},
        ),
        ("GlobalContext", {}, "gc", {"variant": "timm"}),
        (
            "GlobalContext",
            {"fuse_add": True, "use_attn": False, "rd_ratio": 1 / 3},
            "gc",
            {"variant": "timm", "fusion": ("add", "mul"), "pooling": "avg", "ratio": 1 / 3},
        ),
    ],
    ids=lambda value: "" if isinstance(value, dict) else value,
)
@pytest.mark.parametrize("channels", [40, 56])
def test_timm_layers(
    layer: str, arguments: dict[str, Any], mechanism: str, options: dict[str, Any], channels: int
) -> None:
    """The installed layers themselves, at widths where roundings differ, in training and evaluation."""
    from timm.layers import cbam, eca, global_context, squeeze_excite

    classes = {name: kind for home in (cbam, eca, global_context, squeeze_excite) for name, kind in vars(home).items()}
    theirs = classes[layer](channels, **arguments).double()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(std=0.5)
    ours = saccade.create(mechanism, channels, **options).double()
    load_official(ours, theirs.state_dict())
    x = random_map(channels, (5, 7))
    equal(ours(x), theirs(x))
    equal(ours(x), theirs(x))
    equal(ours.eval()(x), theirs.eval()(x))  # the running statistics have moved alike


@pytest.mark.parametrize("prefix", ["module.", "layer1.0.cbam.", "module.layer4.2.cbam."])
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
def test_takes_off_what_stands_round_the_weights(prefix: str, wrapped: bool) -> None:
    state: dict[str, Any] = {prefix + name: tensor for name, tensor in drawn(CBAM).items()}
    cbam = saccade.create("cbam", 64)
    report = load_official(cbam, {"epoch": 90, "state_dict": state} if wrapped else state)
    assert report.prefix == prefix
    assert report.kept == ("spatial.norm.num_batches_tracked",)
    torch.testing.assert_close(cbam.channel.reduce.weight.data, state[f"{prefix}ChannelGate.mlp.1.weight"])


@pytest.mark.parametrize("name", ["se", "eca", "cbam", "gc", "psa"])
def test_takes_our_own_names(name: str, tmp_path: Path) -> None:
    saved = randomised(name, 32)
    x = random_map(32, (5, 7))
    for suffix, save in ((".pth", torch.save), (".safetensors", save_file)):
        path = tmp_path / f"weights{suffix}"
        save(saved.state_dict(), path)
        fresh = saccade.create(name, 32).double().eval()
        assert load_official(fresh, path).loaded == {key: key for key in saved.state_dict()}
        equal(fresh(x), saved(x))


@pytest.mark.parametrize(
    ("mechanism", "shapes", "message", "hint"),
    [
        ("se", MOSKOMULE, r"layout of moskomule.*missing: reduce.bias, expand.bias", "reduction=16, bias=False"),
        ("se[bias=False]", INSIGHT, r"unexpected: fc.0.bias, fc.2.bias", "channels=64, reduction=16, bias=True"),
        ("se[reduction=8]", CADENE, r"fc1.weight \(4, 64, 1, 1\) for reduce.weight \(8, 64, 1, 1\)", "reduction=16"),
        ("se", CADENE | {"bn.weight": (4,)}, r"layout of Cadene.*unexpected: bn.weight", "channels=64"),
        ("eca", {"conv.weight": (64, 1, 5)}, r"misshapen: conv.weight \(64, 1, 5\)", "k=5, shared=False"),
        (
            "cbam[variant=popular]",
            CBAM,
            r"layout of Jongchan.*unexpected: ChannelGate.mlp.1.bias.*SpatialGate.spatial.bn.weight",
            "bias=True, kernel_size=7",
        ),
        ("cbam[spatial=False]", CBAM, r"unexpected: SpatialGate.spatial.conv.weight", "channels=64, reduction=16"),
        ("cbam", BLOG_CBAM, r"blog listings.*missing: sharedMLP.0.bias \(channel.reduce.bias\)", "variant='popular'"),
        ("gc[ratio=1/8,fusion=mul]", GC_TIMM, r"timm.*the module has variant='official'", "ratio=0.125.*'timm'"),
        ("psa", {"ch_wq.weight": (1, 64, 1, 1)}, r"xmu-xiaoma666.*missing: ch_wv.weight", "variant='paper_parallel'"),
        ("se", {"to_qkv.weight": (3, 64)}, "no known layout has the keys to_qkv.weight", "known: Cadene"),
        ("se", {}, "missing: ", "Cadene|SE"),
        ("eca", {"conv.weight": (5,)}, r"misshapen: conv.weight \(5,\)", "options of the module"),
        ("cbam", BLOG_CBAM | {"conv.weight": (5,)}, r"misshapen: conv.weight \(5,\)", "variant='popular'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_misfit_is_explained_and_changes_nothing(mechanism: str, shapes: Shapes, message: str, hint: str) -> None:
    module = made(mechanism)
    before = snapshot(module)
    with pytest.raises(saccade.InputError, match=message) as caught:
        load_official(module, drawn(shapes))
    assert caught.value.hint is not None
    assert re.search(hint, caught.value.hint), caught.value.hint
    torch.testing.assert_close(dict(module.state_dict()), before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("mechanism", "shapes"),
    [("se[reduction=3]", INSIGHT), ("cbam[variant=timm,kernel_size=3]", CBAM), ("eca", {"conv.weight": (64, 1, 5)})],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_options_of_the_hint_do_fit(mechanism: str, shapes: Shapes) -> None:
    module = made(mechanism)
    with pytest.raises(saccade.InputError) as caught:
        load_official(module, drawn(shapes))
    options = eval(f"dict({str(caught.value.hint).rpartition(' made with ')[2]})")
    load_official(saccade.create(parse(mechanism).name, **{"channels": 64} | options), drawn(shapes))


class Opened(nn.Module):
    """Something a plain unpickling would run."""

    def __reduce__(self) -> Any:
        return AssertionError, ("the file was unpickled",)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    se: Mechanism = saccade.create("se", 64)
    torch.save({"state_dict": drawn(CADENE), "args": Opened()}, tmp_path / "code.pth")
    torch.save(drawn(CADENE), tmp_path / "half.pth")
    (tmp_path / "half.pth").write_bytes((tmp_path / "half.pth").read_bytes()[:200])
    (tmp_path / "half.safetensors").write_bytes(b"not tensors")
    (tmp_path / "weights.onnx").write_bytes(b"")
    for name, message in {
        "code.pth": "code.pth: holds more than tensors",
        "half.pth": "half.pth: cannot be read",
        "half.safetensors": "half.safetensors: expected weights in the format of .*; it begins with b'not tens'",
        "weights.onnx": r"weights.onnx: expected weights in the format of safetensors or torch.save; it is empty",
        "none.pth": "none.pth: no such file",
    }.items():
        with pytest.raises(saccade.InputError, match=message):
            load_official(se, tmp_path / name)


def test_things_of_another_kind() -> None:
    with pytest.raises(TypeError, match=r"expected a mechanism of .*, or a network with some; received Linear"):
        load_official(nn.Linear(2, 2), {})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="a state dict is a mapping of names to tensors; received list"):
        load_official(saccade.create("se", 64), [])  # type: ignore[arg-type]
    with pytest.raises(saccade.InputError, match="contains no tensors by name; it has 'epoch': int"):
        load_official(saccade.create("se", 64), {"epoch": 3})
