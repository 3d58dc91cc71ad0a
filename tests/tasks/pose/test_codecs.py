"""Codecs without a network: encode and decode, mirror and merge, any joints and batches, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from saccade import InputError
from saccade.bench.pose import Loop
from saccade.tasks.pose import Codec, codec, list_codecs, warping
from saccade.tasks.pose.blurring import blur_matrix
from saccade.tasks.pose.joints import COCO_PAIRS, mirror_points, mirrored_order
from saccade.tasks.pose.warping import inverse, warp


@pytest.fixture(params=["ours", "OpenCV"])
def resampler(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Choose the library that warps bytes."""
    if request.param == "ours":
        monkeypatch.setattr(warping, "opencv", lambda: None)
    elif warping.opencv() is None:
        pytest.skip("OpenCV 5 is not installed")


with_either = pytest.mark.usefixtures("resampler")
every_codec = pytest.mark.parametrize("name", list_codecs())


def made(name: str, size: tuple[int, int] = (192, 256), **options: Any) -> Codec:
    return codec(name, size, **options)


def drawn(count: int, joints: int, margin: float, size: tuple[int, int] = (192, 256)) -> Tensor:
    """Points of the input, at least `margin` pixels from its border."""
    draw = torch.Generator().manual_seed(7)
    sides = torch.tensor(size, dtype=torch.float64) - 1
    return margin + torch.rand(count, joints, 2, generator=draw, dtype=torch.float64) * (sides - 2 * margin)


def regions(one: Codec, count: int, size: float = 0.7) -> tuple[Tensor, Tensor]:
    boxes = torch.tensor([[30.0, 20.0, 200.0 * size, 200.0 * size]]) + torch.arange(count)[:, None]
    return one.regions(boxes)


def round_trip(one: Codec, points: Tensor) -> Tensor:
    """Distances in pixels of the input between points and what their own targets are decoded to."""
    center, scale = regions(one, len(points))
    maps, weights = one.encode(points, torch.ones(points.shape[:2]))
    assert (weights == 1).all()
    again = one.to_input(one.decode(maps, center, scale).points, center, scale)
    return (again - points).norm(dim=-1)


@pytest.mark.parametrize(
    ("name", "mean", "most"),
    [("biased", 1.7, 3.0), ("dark", 0.001, 0.002), ("udp", 0.001, 0.002), ("udp_offset", 0.07, 0.3)],
)
def test_what_is_encoded_is_decoded(name: str, mean: float, most: float) -> None:
    """28 pixels from the border, where the sheet has 1.53, 0.001, below 0.001 and 0.061."""
    distances = round_trip(made(name), drawn(50, 34, 28.0))
    assert distances.mean() < mean
    assert distances.max() < most


@pytest.mark.parametrize("name", ["dark", "udp"])
@pytest.mark.parametrize(("joints", "size"), [(1, (192, 256)), (5, (256, 256)), (133, (288, 384))])
def test_any_number_of_joints_and_any_size(name: str, joints: int, size: tuple[int, int]) -> None:
    one = made(name, size, sigma=size[0] / 96)
    assert round_trip(one, drawn(2, joints, 40.0, size)).mean() < 0.003


@every_codec
def test_image_input_map_and_back(name: str) -> None:
    """The map's convention is the input's, and a region that is not rotated comes back from the map."""
    one = made(name)
    center, scale = regions(one, 3)
    points = center[:, None] + torch.tensor([[0.0, 0.0], [20.5, -30.25]], dtype=torch.float64)
    on_map = one.to_map(one.to_input(points, center, scale))
    torch.testing.assert_close(one.to_image(on_map, center, scale), points)


@every_codec
@pytest.mark.parametrize("angle", [0.0, 30.0, -100.0])
def test_points_move_as_the_pixels_do(name: str, angle: float) -> None:
    """A bright spot of the image is found where the codec says that it lies in the input."""
    one = made(name, (64, 96))
    image = torch.zeros(1, 120, 150)
    image[0, 63, 70] = 1
    spread = torch.exp(-((torch.arange(-4, 5) / 2.0) ** 2))
    image[0, 59:68, 66:75] = spread[:, None] * spread
    center, scale = one.regions(torch.tensor([[40.0, 30.0, 50.0, 70.0]]))
    matrix = one.matrix(center, scale, angle)
    found = one.warp(image, matrix)[0, 0].double()
    weights = found / found.sum()
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(64.0), indexing="ij")
    seen = torch.stack([(weights * x).sum(), (weights * y).sum()])
    told = one.to_input(torch.tensor([[[70.0, 63.0]]]), center, scale, angle)[0, 0]
    torch.testing.assert_close(seen, told, rtol=0, atol=0.02)


@every_codec
def test_the_merge_of_an_image_and_its_mirror_image_loses_nothing(name: str) -> None:
    """Targets of mirrored points, merged, decode to the same points; but for the known eighth of a pixel of the map."""
    one, joints = made(name, (96, 128)), 17
    points = drawn(4, joints, 28.0, (96, 128))
    visible = torch.ones(4, joints)
    turned, seen = mirror_points(points, visible, 96, COCO_PAIRS)
    maps, other = one.encode(points, visible)[0], one.encode(turned, seen)[0]
    merged = one.merge(maps, other, COCO_PAIRS)
    if name != "biased":
        torch.testing.assert_close(merged, maps, rtol=0, atol=1e-5)
    found = one.locate(merged)[0] - one.locate(maps)[0]
    assert found.abs().max() <= (1.25 if name == "biased" else 1e-3)


@every_codec
def test_a_batch_is_its_members(name: str) -> None:
    one = made(name, (96, 128))
    torch.manual_seed(1)
    maps = torch.randn(3, 4 * one.maps_per_joint, 32, 24)
    center, scale = regions(one, 3)
    whole = one.decode(maps, center, scale)
    for i in range(3):
        part = one.decode(maps[i : i + 1], center[i : i + 1], scale[i : i + 1])
        torch.testing.assert_close(whole.points[i], part.points[0])
        torch.testing.assert_close(whole.scores[i], part.scores[0])


@every_codec
def test_decoders_are_their_definition_map_by_map(name: str) -> None:
    """On noise around zero, where DARK's decoder cuts off values next to a peak, and on peaks at every distance."""
    one = made(name, (96, 128))
    torch.manual_seed(2)
    maps = torch.randn(20, 5 * one.maps_per_joint, 32, 24, dtype=torch.float64)
    maps[10:] = 0.01 * maps[10:] + one.draw(torch.rand(10, 5, 2) * torch.tensor([23, 31]), torch.ones(10, 5))[0]
    torch.testing.assert_close(one.locate(maps)[0], torch.from_numpy(Loop(one, None).locate(maps.numpy())))


@every_codec
@pytest.mark.parametrize("peak", [2e-4, 3.0, 200.0])
def test_decoders_are_their_definition_at_any_height_and_border(name: str, peak: float) -> None:
    """Low maps are cut off next to their peaks, high ones at them; and as many threads decode as torch has."""
    one = made(name, (112, 272), map_size=(29, 67))
    drawn = one.draw(torch.rand(40, 6, 2, generator=torch.manual_seed(4)) * torch.tensor([28, 66]), torch.ones(40, 6))
    maps = peak * (drawn[0].double() + 0.02 * torch.rand(drawn[0].shape, generator=torch.manual_seed(5)) - 0.005)
    wanted, before = torch.from_numpy(Loop(one, None).locate(maps.numpy())), torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            torch.testing.assert_close(one.locate(maps)[0], wanted)
    finally:
        torch.set_num_threads(before)


@every_codec
def test_maps_are_left_as_they_are_and_may_be_narrow(name: str) -> None:
    one = made(name, (96, 128))
    points = drawn(1, 3, 28.0, (96, 128))
    maps = one.encode(points, torch.ones(1, 3))[0].bfloat16()
    before = maps.clone()
    found = one.locate(maps)[0]
    assert torch.equal(maps, before)
    assert found.dtype == torch.float64
    assert (found - one.to_map(points)).abs().max() < 1


@every_codec
@pytest.mark.parametrize("value", [-1.0, 0.0])
def test_a_map_without_a_positive_value_is_a_joint_not_found(name: str, value: float) -> None:
    one = made(name, (96, 128))
    maps = torch.full((1, 2 * one.maps_per_joint, 32, 24), value)
    points, scores = one.locate(maps)
    assert points.abs().max() == 0
    assert (scores <= 0).all()


@every_codec
def test_a_flat_map_is_no_reason_to_move(name: str) -> None:
    one = made(name, (96, 128))
    points, scores = one.locate(torch.full((1, one.maps_per_joint, 32, 24), 0.5))
    assert torch.isfinite(points).all()
    assert (scores > 0).all()


@pytest.mark.parametrize("name", ["biased", "dark", "udp"])
def test_of_equal_maxima_the_first_counts(name: str) -> None:
    maps = torch.zeros(1, 1, 32, 24)
    maps[0, 0, 20, 5] = maps[0, 0, 8, 17] = 1
    assert made(name, (96, 128)).locate(maps)[0].round().tolist() == [[[17, 8]]]


def test_a_joint_just_outside_keeps_its_weight_and_has_an_empty_target() -> None:
    """The low border of the authors' test is one pixel further than their square reaches."""
    for name in ("biased", "udp"):
        one = made(name, (96, 128))  # a square of 6 pixels on either side
        columns = torch.tensor([[-8.0, -9.0, 24.0 + 5, 24.0 + 6]])  # a half is added, and cut off towards 0
        maps, weights = one.draw(torch.stack([columns, torch.full((1, 4), 9.0)], dim=-1), torch.ones(1, 4))
        assert weights.tolist() == [[1, 0, 1, 0]]
        assert maps.flatten(2).amax(-1)[0, [0, 1, 3]].tolist() == [0, 0, 0]


def test_unlabelled_joints_are_not_drawn_wherever_they_are() -> None:
    points = torch.tensor([[[float("nan"), 4.0], [40.0, 40.0], [40.0, 40.0]]])
    for name in list_codecs():
        one = made(name, (96, 128))
        maps, weights = one.encode(points, torch.tensor([[0.0, 0.4, 1.0]]), joint_weights=(1, 1, 1.5))
        assert weights[0].tolist() == [0, pytest.approx(0.4), 1.5]
        per_joint = maps.unflatten(1, (3, -1)).abs().amax((2, 3, 4))[0]
        assert (per_joint > 0).tolist() == [False, False, True]
        with pytest.raises(InputError, match="finite coordinates of labelled joints"):
            one.encode(points, torch.ones(1, 3))


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ([(1, 1)], r"two different joints from 0 to 4; received \(1, 1\)"),
        ([(1, 5)], "two different joints from 0 to 4"),
        ([(1, 2, 3)], "two different joints"),
        ([(1, 2), (2, 3)], "joint 2 is in two pairs"),
        ([(1, 2), (1, 2)], "joint 1 is in two pairs"),
        ([(0.0, 1)], "two different joints"),
        ([1, 0, 2, 3, 4], "two different joints"),
    ],
)
def test_pairs_that_do_not_mirror_are_refused(pairs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        mirrored_order(pairs, 5)


@pytest.mark.parametrize("pairs", [[], [(0, 4)], [[3, 1], [0, 4]], torch.tensor([[0, 1], [2, 3]])])
def test_mirroring_twice_gives_the_joints_back(pairs: Any) -> None:
    points, visible = torch.rand(2, 5, 2).double() * 50, torch.tensor([[1.0, 1, 0, 2, 1], [1, 1, 1, 1, 0]])
    again, seen = mirror_points(*mirror_points(points, visible, 64, pairs), 64, pairs)
    assert torch.equal(seen, visible)
    torch.testing.assert_close(again, torch.where(visible[..., None] > 0, points, 0.0))


@pytest.mark.parametrize("length", [1, 2, 3, 5, 48])
@pytest.mark.parametrize("kernel", [1, 3, 7, 9, 15, 17])
def test_a_blur_keeps_constants_and_is_symmetric(kernel: int, length: int) -> None:
    matrix = blur_matrix(kernel, length, "reflect")
    torch.testing.assert_close(matrix.sum(1), torch.ones(length, dtype=torch.float64))
    torch.testing.assert_close(matrix, matrix.flip(0, 1))
    zero = blur_matrix(kernel, length, "zero").sum(1)
    assert zero.max() <= 1 + 1e-12
    assert kernel == 1 or zero[0] < 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: codec("dork", (192, 256)), r"unknown codec 'dork'\nhint: did you mean dark"),
        (lambda: made("dark", blurr=3), r"dark: unknown option 'blurr'\nhint: did you mean blur"),
        (lambda: made("dark", blur=4), r"must be an odd whole number of at least 1; received 4"),
        (lambda: made("udp", variant="mpose"), r"udp: unknown variant='mpose'"),
        (lambda: made("biased", refine=True), r"biased: unknown refine=True"),
        (lambda: made("udp", (190, 256)), r"must be multiples of 4; received input_size=\(190, 256\)"),
        (lambda: made("udp", map_size=(1, 64)), r"`map_size` must be a width and a height of at least 2 pixels"),
        (lambda: made("udp", sigma=0), r"`sigma` must be a number above 0"),
        (lambda: made("udp_offset", radius=float("nan")), r"`radius` must be a number above 0"),
        (lambda: made("udp_offset").locate(torch.zeros(1, 4, 64, 48)), r"expected maps \(N, 3 K, 64, 48\); received"),
        (lambda: made("udp").locate(torch.zeros(1, 4, 48, 64)), r"expected maps \(N, K, 64, 48\); received"),
        (lambda: made("udp").regions(torch.tensor([[1.0, 2.0, 0.0, 5.0]])), "expected boxes of an area above 0"),
        (lambda: made("udp").regions(torch.tensor([[1.0, 2.0, float("nan"), 5.0]])), "in finite numbers"),
        (lambda: made("udp").regions(torch.tensor([[90.0, 2.0, 5.0, 5.0]]), (64, 64)), "inside the image"),
        (lambda: made("udp").matrix(*made("udp").regions(torch.tensor([[1, 2, 1, 1]]), (9, 9))), "of a size above 0"),
        (lambda: made("dark").matrix(*made("dark").regions(torch.tensor([[1, 2, 0.2, 0.2]]))), "wider than 1 pixels"),
    ],
)
def test_names_what_is_wrong(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()


@with_either
@every_codec
@pytest.mark.parametrize("side", [1.0, 4000.0])
def test_boxes_of_one_pixel_and_of_thousands(name: str, side: float) -> None:
    one = made(name, (96, 128))
    center, scale = one.regions(torch.tensor([[10.0, 10.0, side, side]]))
    matrix = one.matrix(center, scale)
    crop = one.warp(torch.full((3, 20, 20), 200, dtype=torch.uint8), matrix)
    assert crop.shape == (1, 3, 128, 96)
    assert crop.max() == 200 if side == 1 else crop.min() == 0
    assert torch.isfinite(matrix).all()


def test_half_of_a_body_needs_two_joints() -> None:
    points = torch.tensor([[[10.0, 10.0], [30.0, 50.0], [20.0, 90.0], [40.0, 95.0], [44.0, 99.0]]]).expand(4, -1, -1)
    visible = torch.tensor([[1.0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
    region, applies = made("biased").half_body(points, visible, torch.zeros(4), upper=(0, 1))
    assert applies.tolist() == [True, False, True, True]
    assert region.center[0].tolist() == [20, 30]  # the upper half, as the lower has too few joints
    assert torch.isnan(region.center[1]).all()
    torch.testing.assert_close(region.center[2], points[2, 2:].double().mean(0))
    assert region.scale[0, 1] == pytest.approx(1.5 * 40 / 200)


@with_either
@pytest.mark.parametrize("kind", [torch.uint8, torch.int16, torch.float32, torch.float64, torch.bool])
def test_a_warp_reads_only_what_it_needs_and_keeps_the_type(kind: torch.dtype) -> None:
    """Parts, whole images and what lies outside: all the same as grid_sample on whole images."""
    torch.manual_seed(3)
    images = (torch.rand(5, 3, 40, 50) * 255).to(kind) if kind != torch.bool else torch.rand(5, 3, 40, 50) > 0.5
    back = torch.tensor(
        [
            [[1.0, 0, 0], [0, 1, 0]],
            [[0.3, 0.1, 12.3], [-0.1, 0.3, 9.9]],
            [[9.0, -2, -40], [2, 9, -60]],
            [[1, 0, 500], [0, 1, 500]],
            [[1, 0, -7.5], [0, 1, -29.25]],
        ],
        dtype=torch.float64,
    )
    found = warp(images, inverse(back), (16, 32))
    x, y = torch.meshgrid(torch.arange(16.0), torch.arange(32.0), indexing="xy")
    places = torch.einsum("nij,hwj->nhwi", back, torch.stack([x, y, torch.ones(32, 16)], -1).double())
    grid = (places + 0.5) / torch.tensor([50, 40]) * 2 - 1
    wanted = torch.nn.functional.grid_sample(images.double(), grid, align_corners=False)
    assert found.dtype == kind
    assert found.shape == (5, 3, 32, 16)
    assert not found[3].any()
    if kind == torch.bool:  # but for ties
        wanted = torch.where((wanted - 0.5).abs() < 1e-3, found, wanted >= 0.5)
    off = {torch.float32: 1e-2, torch.uint8: 2.5, torch.int16: 0.51}.get(kind, 1e-9)
    torch.testing.assert_close(found.double(), wanted.double(), rtol=0, atol=off)
    assert warp(images[:0], back[:0], (16, 32)).shape == (0, 3, 32, 16)


@with_either
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_bytes_are_warped_channel_by_channel(channels: int) -> None:
    """Whole pixels stay what they are, a half is a mean, and one image that is warped often reads as its copies do."""
    images = torch.randint(0, 256, (2, channels, 30, 21), dtype=torch.uint8, generator=torch.manual_seed(channels))
    still = torch.tensor([[[1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64).expand(2, -1, -1)
    assert torch.equal(warp(images, still, (21, 30)), images)
    half = torch.tensor([[[1.0, 0, 0.5], [0, 1, 0]]], dtype=torch.float64)
    wanted = (images[:1, ..., :-1].double() + images[:1, ..., 1:]) / 2
    torch.testing.assert_close(warp(images[:1], half, (21, 30))[..., 1:].double(), wanted, rtol=0, atol=0.51)
    often = torch.stack([still[0], still[0] + torch.tensor([[0.0, 0, 3.3], [0, 0, -50]]), still[0] * 1.5])
    assert torch.equal(warp(images[0], often, (40, 50)), warp(images[:1].repeat(3, 1, 1, 1), often, (40, 50)))
    far = torch.tensor([[[1.0, 0, 1e7], [0, 1, 0]]], dtype=torch.float64)
    assert not warp(images[:1], far, (21, 30)).any()
