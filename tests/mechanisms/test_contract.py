"""What every mechanism of the catalog keeps to, whatever its formula."""

from __future__ import annotations

import copy
import itertools
import math
import shutil
import sys

import pytest
import torch

from saccade import InputError
from saccade.catalog import CATALOG, create
from tests.mechanisms.contract import CHANNELS, NEEDS_A_BATCH, Form, Largest, all_forms, default_forms, forms_with

every_form = pytest.mark.parametrize("form", all_forms(), ids=str)
every_row = pytest.mark.parametrize("form", default_forms(), ids=str)
maps_only = pytest.mark.parametrize("form", [form for form in all_forms() if form.dims == 2], ids=str)


@every_form
def test_keeps_shape_and_dtype_and_is_close_to_float64_in_every_precision(form: Form) -> None:
    exact = form.awake()(form.map())
    assert exact.shape == form.map().shape
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.bfloat16, 0.1)):
        y = form.awake(dtype)(form.map(dtype=dtype))
        assert y.dtype == dtype
        assert y.shape == exact.shape
        assert (y - exact).abs().max() <= tolerance * exact.abs().max()


def plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in the precision of its input, as the equations are written."""
    for name, module in list(sys.modules.items()):
        if name.startswith("saccade.") and hasattr(module, "wide"):
            monkeypatch.setattr(module, "wide", lambda tensor: tensor)


@every_form
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_half_precision_errs_at_most_twice_as_much_as_the_plain_definition(
    form: Form, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, x = form.awake(dtype), form.map(dtype=dtype)
    exact = copy.deepcopy(module).double()(x.double())
    ours = (module(x) - exact).abs().max()
    plainly(monkeypatch)
    plain = (module(x) - exact).abs().max()
    rounding = torch.finfo(dtype).eps * exact.abs().max()  # of the result itself
    assert ours <= 2 * plain.nan_to_num(torch.inf) + rounding


@every_form
def test_gives_back_the_dtype_of_its_input_under_autocast(form: Form) -> None:
    module = form.awake(torch.float32)
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cpu", torch.bfloat16):
            y = module(form.map(dtype=dtype))
        assert y.dtype == dtype
        assert y.isfinite().all()


@maps_only
def test_reads_any_memory_layout_and_keeps_channels_last(form: Form) -> None:
    module, x = form.awake(), form.map()
    y = module(x)
    assert y.is_contiguous()
    scattered = torch.empty(*x.shape[:2], 2 * x.shape[3], x.shape[2], dtype=x.dtype)[:, :, ::2].mT
    scattered.copy_(x)
    assert not scattered.is_contiguous()
    torch.testing.assert_close(module(scattered), y)
    last = module(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(last, y)
    assert last.is_contiguous(memory_format=torch.channels_last)


@every_form
def test_trains_on_one_sample_and_accepts_none(form: Form) -> None:
    if str(form) not in NEEDS_A_BATCH:
        module, x = form.awake().train(), form.map(batch=1).requires_grad_()
        y = module(x)
        y.sum().backward()
        assert y.isfinite().all()
        assert x.grad is not None
        assert x.grad.isfinite().all()
    assert form.awake()(form.map(batch=0)).shape == (0, CHANNELS, *form.size)


@every_form
def test_compiles_whole_and_again_for_another_size(form: Form) -> None:
    torch._dynamo.reset()
    module = form.awake()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for size in (form.size, form.other_size):
        x = form.map(size=size)
        torch.testing.assert_close(compiled(x), module(x))


@pytest.mark.parametrize("name", ["se", "pam", "cam", "dual", "gc"])
def test_compiles_with_the_code_generator(name: str) -> None:
    """One of each family, where there is a C++ compiler."""
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")
    torch._dynamo.reset()
    module = Form(CATALOG[name]).awake(torch.float32)
    compiled = torch.compile(module, fullgraph=True)
    x = Form(CATALOG[name]).map(dtype=torch.float32)
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-5)


@every_form
def test_exports_with_free_height_and_width(form: Form) -> None:
    module = form.awake()
    free = {2 + axis: torch.export.Dim.DYNAMIC for axis in range(form.dims)}
    exported = torch.export.export(module, (form.map(),), dynamic_shapes=(free,)).module()
    for size in (form.size, form.other_size):
        x = form.map(size=size)
        torch.testing.assert_close(exported(x), module(x))


@every_form
def test_its_state_dict_is_all_there_is(form: Form) -> None:
    module, other, x = form.awake(), form.fresh().double().eval(), form.map()
    other.load_state_dict(module.state_dict())
    assert torch.equal(other(x), module(x))


@every_form
def test_a_deep_copy_is_on_its_own(form: Form) -> None:
    module, x = form.awake(), form.map()
    before = module(x)
    twin = copy.deepcopy(module)
    assert torch.equal(twin(x), before)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.add_(1.0)
    assert torch.equal(module(x), before)
    assert torch.equal(twin(x), before) is not any(True for _ in module.parameters())


@every_form
def test_no_sample_sees_another(form: Form) -> None:
    module, x = form.awake(), form.map()
    changed = x.clone()
    changed[1] = -changed[1] * 3
    before, after = module(x), module(changed)
    torch.testing.assert_close(after[[0, 2]], before[[0, 2]])
    assert not torch.allclose(after[1], before[1])


@every_form
def test_every_parameter_learns_but_those_that_provably_do_nothing(form: Form) -> None:
    module = form.awake()
    y = module(form.map().requires_grad_())  # so that a form without parameters has a gradient too
    cotangent = torch.randn(y.shape, generator=torch.Generator().manual_seed(3), dtype=y.dtype)
    (y * cotangent).sum().backward()
    largest = max((parameter.grad.abs().max() for parameter in module.parameters()), default=0.0)
    still = {name for name, p in module.named_parameters() if p.grad.abs().max() <= 1e-12 * max(1.0, largest)}
    assert still == {name for name, _ in module.named_parameters() if name.endswith(form.idle)}


@every_form
def test_its_gradients_are_those_of_finite_differences(form: Form) -> None:
    """Along random directions, of the map and of every parameter."""
    module, x = form.awake(), form.map(batch=2).requires_grad_()
    names = [name for name, _ in module.named_parameters()]
    assert torch.autograd.gradcheck(
        lambda x, *values: torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,)),
        [x, *module.parameters()],
        fast_mode=True,
    )


@every_form
def test_takes_the_smallest_map_or_says_what_it_needs(form: Form) -> None:
    module, x = form.awake(), form.map(size=(1,) * form.dims)
    if form.pools:
        with pytest.raises(InputError, match=rf"^{module.label}: .*needs at least .* {' x '.join('1' * form.dims)}"):
            module(x)
        x = form.map(size=(2,) * form.dims)
    y = module(x)
    assert y.shape == x.shape
    assert y.isfinite().all()


@every_form
def test_starts_as_the_identity_or_says_that_it_does_not(form: Form) -> None:
    for dtype, training in itertools.product((torch.float32, torch.float64, torch.bfloat16), (True, False)):
        module, x = form.fresh().to(dtype).train(training), form.map(dtype=dtype)
        assert torch.equal(module(x), x) is module.starts_as_identity


@every_row
def test_the_identity_options_of_the_catalog_give_the_identity(form: Form) -> None:
    if form.entry.identity_options:
        assert create(form.entry.name, CHANNELS, **form.entry.identity_options).starts_as_identity


@every_form
def test_names_what_is_wrong_with_a_map(form: Form) -> None:
    module, x = form.fresh(), form.map(dtype=torch.float32)
    for wrong in (x[0], x[None], x[:, :-1], torch.cat([x, x], dim=1)):
        with pytest.raises(InputError) as error:
            module(wrong)
        assert error.value.message.startswith(f"{module.label}: ")
        assert f"(B, {CHANNELS}, " in error.value.message
        assert f"received shape {tuple(wrong.shape)}" in error.value.message


@every_row
def test_names_what_is_wrong_with_its_options(form: Form) -> None:
    name, label = form.entry.name, form.fresh().label
    with pytest.raises(InputError, match=rf"^{name}: unknown option 'nonsense'"):
        create(name, CHANNELS, nonsense=1)
    for channels in (0, -1, 2.5, True, "64"):
        with pytest.raises(InputError, match=rf"^{label}: `channels` must be .* received channels="):
            create(name, channels)


@pytest.mark.parametrize("form", forms_with("gates"), ids=str)
def test_its_gates_lie_between_0_and_1(form: Form) -> None:
    module = form.awake()
    gates = module.gates(form.map())
    shapes = {"channel": (3, CHANNELS), "spatial": (3, 1, *form.size)}
    assert gates or hasattr(module, "attention")  # a form that only adds has no gate, but then a map
    assert set(gates) <= set(shapes)
    for kind, gate in gates.items():
        assert gate.shape == shapes[kind]
        assert gate.min() >= 0
        assert gate.max() <= 1


@pytest.mark.parametrize("form", forms_with("attention"), ids=str)
def test_its_attention_has_a_row_for_each_query(form: Form) -> None:
    attention = form.awake().attention(form.map())
    batch, *strips, rows, keys = attention.shape
    assert strips in ([], [sum(form.size)])  # one map, or one for each column and row
    positions = math.prod(form.size)
    assert batch == 3
    assert rows in (positions, CHANNELS, 1)  # 1: one row that all positions share
    assert keys <= max(positions, CHANNELS)
    if form.rows_sum_to_1:
        torch.testing.assert_close(attention.sum(dim=-1), torch.ones(attention.shape[:-1], dtype=torch.float64))
        assert attention.min() >= 0


@pytest.mark.parametrize("form", forms_with("weights"), ids=str)
def test_its_weights_are_rows_of_its_attention(form: Form) -> None:
    module, x = form.awake(), form.map()
    first, last = (0,) * form.dims, tuple(length - 1 for length in form.size)
    between = tuple(length // 2 for length in form.size)
    weights, attention = module.weights(x, [last, first, between]), module.attention(x)
    assert weights.dim() == 2 + form.dims
    rows = [math.prod(form.size) - 1, 0, torch.arange(math.prod(form.size)).view(form.size)[between].item()]
    expected = attention.expand(-1, math.prod(form.size), -1)[:, rows]
    torch.testing.assert_close(weights.flatten(2), expected)


@pytest.mark.parametrize("form", forms_with("weights"), ids=str)
def test_its_weights_refuse_positions_off_the_map(form: Form) -> None:
    module, x = form.awake(), form.map()
    last = [length - 1 for length in form.size]
    for outside in (form.size, (*last[:-1], -1), (*last, 0)):
        with pytest.raises(InputError, match=" x ".join(map(str, form.size))) as error:
            module.weights(x, [tuple(last), outside])
        assert error.value.message.startswith(f"{module.label}: query {tuple(outside)}")


@pytest.mark.parametrize("form", [form for form in forms_with("weights") if form.dims == 2], ids=str)
def test_its_weights_never_make_the_whole_map(form: Form) -> None:
    module, x = form.awake(), form.map(batch=1, size=(24, 25))
    with Largest() as largest:
        module.weights(x, [(0, 0), (23, 24)])
    assert largest.elements < (24 * 25) ** 2 // 4


@every_row
def test_its_printed_form_tells_its_forms_apart(form: Form) -> None:
    printed = {str(other): repr(other.fresh()) for other in all_forms() if other.entry.name == form.entry.name}
    assert len(set(printed.values())) == len(printed)
    assert all(str(CHANNELS) in text for text in printed.values())


@every_row
def test_its_class_says_what_a_user_asks(form: Form) -> None:
    told = type(form.fresh()).__doc__ or ""
    for heading in (".. math::", "Args:", "Shape:", "Raises:", "Start:", "Cost:", "Example:", "Differences:"):
        assert f"\n    {heading}" in told
