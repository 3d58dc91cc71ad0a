"""CAM is its formula with either sign, and its products keep their digits in half precision."""

import pytest
import torch

from saccade import InputError
from saccade.mechanisms.cam import ChannelAttention


def awake(channels, **options):
    cam = ChannelAttention(channels, **options).double()
    torch.nn.init.constant_(cam.gamma, 0.7)
    return cam


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 4), (5, 7)], ids=str)
@pytest.mark.parametrize("sign", ["released", "printed"])
def test_is_its_formula(size, sign):
    cam, x = awake(5, sign=sign), torch.randn(2, 5, *size, dtype=torch.float64)
    y = x.clone()
    for c in range(5):
        energy = torch.stack([(x[:, c] * x[:, d]).sum(dim=(1, 2)) for d in range(5)], dim=1)
        if sign == "released":  # as the authors write it
            energy = energy.max(dim=1, keepdim=True).values - energy
        weights = (energy - energy.max(dim=1, keepdim=True).values).exp()
        weights = weights / weights.sum(dim=1, keepdim=True)
        y[:, c] += 0.7 * sum(weights[:, d, None, None] * x[:, d] for d in range(5))
    torch.testing.assert_close(cam(x), y, rtol=1e-10, atol=1e-12)


def test_its_gradients_are_those_of_finite_differences():
    x, gamma = torch.randn(2, 3, 2, 3, dtype=torch.float64), torch.tensor([0.4], dtype=torch.float64)
    for sign in ("released", "printed"):
        cam = awake(3, sign=sign)
        assert torch.autograd.gradcheck(
            lambda x, gamma, cam=cam: torch.func.functional_call(cam, {"gamma": gamma}, (x,)),
            (x.requires_grad_(), gamma.requires_grad_()),
        )


def test_the_signs_look_at_opposite_channels():
    x = torch.randn(2, 6, 3, 5, dtype=torch.float64)
    released, printed = (ChannelAttention(6, sign=sign).attention(x) for sign in ("released", "printed"))
    products = (released * printed).log()  # E cancels: only the norms of the row are left
    torch.testing.assert_close(products, products[:, :, :1].expand_as(products))
    x[:, 4] = 2 * x[:, 1]  # the channel most like channel 1, and a third one its negative
    x[:, 5] = -x[:, 4]
    released, printed = (ChannelAttention(6, sign=sign).attention(x) for sign in ("released", "printed"))
    assert (printed[:, 1].argmax(dim=-1) == 4).all()
    assert (released[:, 1].argmax(dim=-1) == 5).all()


@pytest.mark.parametrize(("dtype", "spread"), [(torch.float16, 8.0), (torch.bfloat16, 1.0), (torch.float32, 1.0)])
def test_its_map_keeps_its_digits_in_half_precision(dtype, spread):
    # Sums of 4,096 products: rounded to half they would lose whole units, and at this spread float16 overflows.
    x = (torch.randn(1, 16, 64, 64, generator=torch.Generator().manual_seed(0)).relu() * spread).to(dtype)
    cam = ChannelAttention(16)
    with torch.autocast("cpu", torch.bfloat16):
        attention, y = cam.attention(x), cam.to(dtype)(x)
    exact = ChannelAttention(16).attention(x.double())
    torch.testing.assert_close(attention.double(), exact, rtol=0, atol=0.02)
    assert y.isfinite().all()


def test_names_what_is_wrong():
    with pytest.raises(InputError, match="CAM: unknown sign='print'") as error:
        ChannelAttention(8, sign="print")
    assert "printed" in error.value.hint
