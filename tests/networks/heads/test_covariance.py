"""Covariances are NumPy's, their roots the matrix's, and a map that does not vary harms nothing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from saccade import InputError
from saccade.networks.heads import CovariancePooling, MatrixSquareRoot, MetaLayer, TriangleVector
from tests.mechanisms.randomised import random_map


def spd(size: int, batch: int = 2) -> Tensor:
    rows = torch.randn(batch, size, 3 * size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return rows @ rows.mT / (3 * size)


@pytest.mark.parametrize("size", [(1, 6), (4, 4), (5, 7)], ids=str)
def test_covariances_are_those_of_numpy(size: tuple[int, int]) -> None:
    x = random_map(6, size)
    expected = np.stack([np.cov(sample.flatten(1).numpy(), bias=True) for sample in x])
    np.testing.assert_allclose(CovariancePooling()(x), expected, rtol=1e-12, atol=1e-14)


def test_many_iterations_reach_the_root() -> None:
    matrix = spd(8)
    root = MatrixSquareRoot(iterations=30)(matrix)
    torch.testing.assert_close(root @ root, matrix, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
def test_counts_every_multiplication(iterations: int) -> None:
    """In the eigenvalues, where each step is a polynomial of one number."""
    values, vectors = torch.linalg.eigh(spd(6))
    trace = values.sum(dim=-1, keepdim=True)
    y, z = values / trace, torch.ones_like(values)
    for _ in range(iterations):
        t = (3 - z * y) / 2
        y, z = y * t, z * t
    expected = vectors @ torch.diag_embed(trace.sqrt() * y) @ vectors.mT
    torch.testing.assert_close(MatrixSquareRoot(iterations)(spd(6)), expected, rtol=1e-10, atol=1e-12)


def test_its_gradient_is_that_of_finite_differences() -> None:
    assert torch.autograd.gradcheck(MatrixSquareRoot(3), spd(4).requires_grad_())


@pytest.mark.parametrize("level", [0.0, 1.0, 0.1, 1e-15])
def test_a_map_that_does_not_vary_gives_0_and_no_nan(level: float) -> None:
    """Of 1e-15, rounding leaves a covariance in float32 whose reciprocal overflows."""
    x = torch.full((2, 5, 7, 9), level)
    x[1] = random_map(5, (7, 9))[1]
    x.requires_grad_()
    y = nn.Sequential(CovariancePooling(), MatrixSquareRoot(3), TriangleVector())(x)
    y.sum().backward()
    assert not y[0].any()
    assert y[1].any()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert x.grad[1].any()


def test_small_maps_keep_their_root() -> None:
    x = random_map(5, (7, 9)).float()
    root = nn.Sequential(CovariancePooling(), MatrixSquareRoot(3))
    torch.testing.assert_close(root(1e-17 * x), 1e-17 * root(x), rtol=1e-5, atol=0)


def test_a_map_of_one_position_has_no_covariance() -> None:
    assert not MetaLayer(5, dim=3).eval()(random_map(5, (1, 1)).float()).any()


def test_the_vector_is_the_lower_triangle_row_by_row() -> None:
    matrix = torch.arange(16.0).view(1, 4, 4).requires_grad_()
    vector = TriangleVector()(matrix)
    assert vector.tolist() == [[0, 4, 5, 8, 9, 10, 12, 13, 14, 15]]
    vector.sum().backward()
    assert matrix.grad is not None
    assert torch.equal(matrix.grad[0], torch.ones(4, 4).tril())


def test_the_meta_layer_is_its_parts() -> None:
    torch.manual_seed(0)
    meta, x = MetaLayer(12, dim=5, iterations=4).double().eval(), random_map(12, (5, 7))
    h = meta.reduce.norm(meta.reduce.conv(x)).clamp(min=0)
    expected = TriangleVector()(MatrixSquareRoot(4)(CovariancePooling()(h)))
    assert torch.equal(meta(x), expected)
    assert meta(x).shape == (2, 15)


def test_half_precision_is_kept_outside_and_not_inside() -> None:
    torch.manual_seed(0)
    meta, x = MetaLayer(12, dim=5).eval(), random_map(12, (5, 7)).float()
    matrix = spd(6).float()
    with torch.autocast("cpu", torch.bfloat16):
        covariance, root = CovariancePooling()(x.bfloat16()), MatrixSquareRoot(5)(matrix)
    assert torch.equal(covariance, CovariancePooling()(x.bfloat16().float()))
    assert torch.equal(root, MatrixSquareRoot(5)(matrix))
    assert meta.bfloat16()(x.bfloat16()).dtype == torch.bfloat16


@pytest.mark.full  # the mechanisms and the networks after insertion have it too
def test_compiles_whole_and_exports_with_free_height_and_width() -> None:
    meta, free = MetaLayer(12, dim=5).eval(), torch.export.Dim.DYNAMIC
    exported = torch.export.export(meta, (torch.randn(2, 12, 6, 7),), dynamic_shapes=({2: free, 3: free},)).module()
    compiled = torch.compile(meta, fullgraph=True, backend="aot_eager", dynamic=True)
    for size in ((6, 7), (9, 4)):
        x = torch.randn(2, 12, *size)
        torch.testing.assert_close(exported(x), meta(x))
        torch.testing.assert_close(compiled(x), meta(x))


def test_names_what_is_wrong() -> None:
    with pytest.raises(InputError, match=r"^MatrixSquareRoot: `iterations` must be .* received iterations=0"):
        MatrixSquareRoot(0)
    with pytest.raises(InputError, match=r"^MatrixSquareRoot: expected square matrices .* shape \(2, 3, 4\)"):
        MatrixSquareRoot()(torch.zeros(2, 3, 4))
    with pytest.raises(InputError, match=r"^TriangleVector: expected square matrices .* shape \(3, 3\)"):
        TriangleVector()(torch.zeros(3, 3))
    with pytest.raises(InputError, match=r"^CovariancePooling: expected a feature map .* shape \(2, 3, 4\)"):
        CovariancePooling()(torch.zeros(2, 3, 4))
    with pytest.raises(
        InputError, match=r"^MetaLayer: expected a feature map \(B, 8, H, W\); received shape \(2, 7, 3, 3\)"
    ):
        MetaLayer(8, dim=4)(torch.zeros(2, 7, 3, 3))
    with pytest.raises(InputError, match=r"^MetaLayer: `dim` must be .* received dim=0"):
        MetaLayer(8, dim=0)
