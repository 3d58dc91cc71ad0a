"""Non-local is its formula for every pairwise function and source, with each source's widths, scale and start."""

import pytest
import torch

from saccade import InputError
from saccade.mechanisms.non_local import PAIRWISE, NonLocal
from saccade.official import load_official

VARIANTS = ("official", "popular", "mmcv", "gcnet", "timm")
POOLED = {"official": "before", "popular": "after", "mmcv": None, "gcnet": None, "timm": None}
# Divides the embedded-Gaussian logits, of d inner and C channels.
DIVISOR = {
    "official": lambda d, c: d**0.5,
    "popular": lambda d, c: 1.0,
    "mmcv": lambda d, c: d**0.5,
    "gcnet": lambda d, c: d**-0.5,
    "timm": lambda d, c: c**0.5,
}


def awake(channels, **options):
    torch.manual_seed(0)
    block = NonLocal(channels, **options).double().eval()
    for tensor in [*block.parameters(), *block.buffers()]:
        if tensor.is_floating_point():
            torch.nn.init.uniform_(tensor, 0.1, 0.6)
    return block


def halved(x):
    """2 x 2 maxima; a last odd row or column is dropped."""
    height, width = (length // 2 for length in x.shape[2:])
    return x[:, :, : 2 * height, : 2 * width].unflatten(3, (width, 2)).unflatten(2, (height, 2)).amax(dim=(3, 5))


def projected(conv, x):
    y = torch.einsum("oc,bchw->bohw", conv.weight[:, :, 0, 0], x)
    return y if conv.bias is None else y + conv.bias[:, None, None]


def keys_or_values(conv, x, pooled):
    x = halved(x) if pooled == "before" else x
    y = projected(conv, x) if conv is not None else x
    return (halved(y) if pooled == "after" else y).flatten(2)


def written_out(block, x, pairwise, variant, pooled):
    embeds = pairwise != "gaussian"
    theta = (projected(block.query, x) if embeds else x).flatten(2)
    phi = keys_or_values(block.key if embeds else None, x, pooled)
    g = keys_or_values(block.value, x, pooled)
    context = torch.zeros(*g.shape[:2], theta.shape[2], dtype=x.dtype)
    for i in range(theta.shape[2]):
        products = torch.einsum("bd,bdm->bm", theta[..., i], phi)
        if pairwise == "dot_product":
            f = products / phi.shape[2]
        elif pairwise == "concatenation":
            both = torch.cat([theta[..., i, None].expand_as(phi), phi], dim=1)
            f = torch.einsum("d,bdm->bm", block.score.weight.flatten(), both).clamp(min=0) / phi.shape[2]
        else:
            if embeds:
                products = products / DIVISOR[variant](phi.shape[1], x.shape[1])
            f = (products - products.amax(1, keepdim=True)).exp()
            f = f / f.sum(1, keepdim=True)
        context[..., i] = torch.einsum("bm,bdm->bd", f, g)
    y = projected(block.project, context.view(*context.shape[:2], *x.shape[2:]))
    norm = block.norm
    if isinstance(norm, torch.nn.BatchNorm2d):
        mean, var, weight, bias = (
            t[:, None, None] for t in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        eps = 1.0000001e-5 if variant == "official" else 1e-5
        y = (y - mean) / (var + eps).sqrt() * weight + bias
    return x + y


@pytest.mark.parametrize("size", [(1, 1), (4, 4), (5, 7)], ids=str)
@pytest.mark.parametrize("pairwise", PAIRWISE)
@pytest.mark.parametrize("variant", VARIANTS)
def test_is_its_formula(size, pairwise, variant):
    pooled = POOLED[variant] if min(size) > 1 else None
    block = awake(6, variant=variant, pairwise=pairwise, sub_sample=pooled is not None)
    x = torch.randn(2, 6, *size, dtype=torch.float64)
    expected = written_out(block, x, pairwise, variant, pooled)
    torch.testing.assert_close(block(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("pairwise", PAIRWISE)
def test_its_gradients_are_those_of_finite_differences(pairwise):
    block = awake(4, pairwise=pairwise)
    x = torch.randn(1, 4, 2, 4, dtype=torch.float64, requires_grad=True)
    names, values = zip(*((name, p.detach().requires_grad_()) for name, p in block.named_parameters()), strict=True)
    assert torch.autograd.gradcheck(
        lambda x, *rest: torch.func.functional_call(block, dict(zip(names, rest, strict=True)), (x,)), (x, *values)
    )


def test_a_frame_of_a_clip_and_a_row_of_a_map_are_pooled_as_the_map_is():
    flat, clip = awake(6), awake(6, dims=3)
    clip.load_state_dict({k: v.unsqueeze(2) if v.dim() == 4 else v for k, v in flat.state_dict().items()})
    x = torch.randn(2, 6, 4, 5, dtype=torch.float64)
    torch.testing.assert_close(clip(x[:, :, None]), flat(x)[:, :, None])
    assert awake(6, dims=1).attention(torch.randn(1, 6, 9, dtype=torch.float64)).shape == (1, 9, 4)
    assert clip.attention(torch.randn(1, 6, 3, 4, 4, dtype=torch.float64)).shape == (1, 48, 12)


@pytest.mark.parametrize(
    ("variant", "widths"),
    [
        *((variant, {1: 1, 2: 1, 9: 4, 64: 32}) for variant in VARIANTS[:4]),
        ("timm", {8: 8, 64: 8, 96: 16, 152: 24, 256: 32}),
    ],
)
def test_has_the_width_of_its_source(variant, widths):
    assert {channels: NonLocal(channels, variant=variant).inner_channels for channels in widths} == widths


def test_a_width_can_be_given_either_way():
    assert NonLocal(64, reduction=3).value.out_channels == 21
    assert NonLocal(24, variant="timm", reduction=3).value.out_channels == 8
    assert NonLocal(24, variant="timm", inner_channels=6).value.out_channels == 6


@pytest.mark.parametrize("variant", VARIANTS)
def test_scaled_switches_the_scale_of_the_logits_only(variant):
    on, off = (NonLocal(64, variant=variant, scaled=scaled, inner_channels=16).scale for scaled in (True, False))
    assert off == 1.0
    assert on == {"gcnet": 4.0, "timm": 0.125}.get(variant, 0.25)
    for pairwise in PAIRWISE[1:]:
        assert NonLocal(64, variant=variant, pairwise=pairwise).scale == 1.0


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("norm", [True, False])
def test_starts_as_its_source_does(variant, norm):
    torch.manual_seed(0)
    block = NonLocal(256, variant=variant, norm=norm, inner_channels=64)
    spread = {"popular": 256**-0.5 / 3**0.5, "timm": (2 / 64) ** 0.5}.get(variant, 0.01)
    for conv in (block.query, block.key, block.value):
        assert conv.weight.std().item() == pytest.approx(spread, rel=0.05)
        assert bool(conv.bias.any()) is (variant == "popular")
    assert bool(block.project.weight.any()) is norm
    if norm:
        assert not block.norm.weight.any()
        assert not block.norm.bias.any()
    assert (block.project.bias is None) is (norm and variant in ("mmcv", "gcnet"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pairwise": "gauss"}, "NonLocal: unknown pairwise='gauss'"),
        ({"variant": "caffe"}, "NonLocal: unknown variant='caffe'"),
        ({"norm": "batch"}, "NonLocal: unknown norm='batch'"),
        ({"dims": 4}, "NonLocal: unknown dims=4"),
        ({"reduction": 0}, "NonLocal: `reduction` must be a whole number of at least 1; received reduction=0"),
        ({"inner_channels": -2}, "NonLocal: `inner_channels` must be .* received inner_channels=-2"),
        ({"inner_channels": 4, "reduction": 2}, "NonLocal: .* received inner_channels=4, reduction=2"),
        ({"scaled": True, "pairwise": "dot_product"}, "NonLocal: .* received scaled=True, pairwise='dot_product'"),
    ],
    ids=str,
)
def test_names_a_wrong_option(options, message):
    with pytest.raises(InputError, match=message):
        NonLocal(8, **options)


@pytest.mark.parametrize(("dims", "size"), [(1, (1,)), (2, (1, 5)), (2, (5, 1)), (3, (4, 1, 5))], ids=str)
def test_refuses_a_map_too_small_to_be_pooled(dims, size):
    x = torch.zeros(1, 8, *size)
    with pytest.raises(
        InputError, match=f"sub_sample needs .* received a map of {' x '.join(map(str, size))}"
    ) as error:
        NonLocal(8, dims=dims)(x)
    assert "sub_sample=False" in error.value.hint
    assert NonLocal(8, dims=dims, sub_sample=False).eval()(x).shape == x.shape


@pytest.mark.parametrize("pairwise", PAIRWISE[1:])
@pytest.mark.parametrize("options", [{}, {"dims": 1, "norm": False}, {"inner_channels": 3, "dims": 3}], ids=str)
def test_finds_options_that_hold_its_tensors(pairwise, options):
    tensors = NonLocal(8, pairwise=pairwise, **options).state_dict()
    NonLocal(**NonLocal.fitting(tensors)).load_state_dict(tensors)


def theirs(block, layout):
    """The block's tensors under the authors' names."""
    back = {ours: key for key, ours in layout.names.items()}
    named = {}
    for name, tensor in block.state_dict().items():
        prefix = name if name in back else name.partition(".")[0] + "."
        if not name.endswith("num_batches_tracked"):
            named[back[prefix] + name.removeprefix(prefix)] = tensor
    return named


@pytest.mark.parametrize("layout", NonLocal.layouts, ids=lambda layout: f"{layout.source} {dict(layout.needs)}")
def test_loads_every_layout_and_says_which_options_would_fit(layout):
    options = {**layout.needs, "norm": True}
    saved = awake(8, **options)
    tensors = theirs(saved, layout)
    loaded = NonLocal(8, **options).double().eval()
    assert load_official(loaded, tensors).layout.needs == layout.needs
    x = torch.randn(1, 8, 4, 4, dtype=torch.float64)
    assert torch.equal(loaded(x), saved(x))

    other = NonLocal(8, variant="official" if layout.needs["variant"] == "timm" else "timm", norm=False)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with pytest.raises(InputError) as error:
        load_official(other, tensors)
    assert "norm=True" in error.value.hint
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())
