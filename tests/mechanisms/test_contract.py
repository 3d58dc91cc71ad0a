"""What every mechanism of the catalog keeps to, whatever its formula."""

from __future__ import annotations

import copy
import math
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from _pytest.mark import ParameterSet

from saccade import InputError
from saccade.catalog import CATALOG, create
from saccade.testing import Check, checks_of
from tests.mechanisms.contract import (
    CHANNELS,
    NEEDS_A_BATCH,
    Form,
    Largest,
    all_forms,
    default_forms,
    forms_with,
    is_everyday,
    marked,
)
from tests.suites import everyday

every_form = pytest.mark.parametrize("form", marked(all_forms()), ids=str)
every_row = pytest.mark.parametrize("form", default_forms(), ids=str)


# What the everyday suite checks of forms that are not the default, and of which mechanisms it checks what is slow.
OF_EVERY_FORM = ("shape", "sizes", "dtypes", "learns", "gradients", "in place", "identity")
OF_A_KIND = ("se", "cbam", "sk", "pam", "fla", "gc")


# On other axes a mechanism has the same layers: it is exported on the one and compiled on the other.
ELSEWHERE = {1: "compiles", 3: "exports"}


def cases() -> Iterator[ParameterSet]:
    """Every property of every form in the full suite, but see above; and for the everyday one."""
    for form in all_forms():
        for check in checks_of(form.subject):
            if check.name == ELSEWHERE.get(form.dims):
                continue
            whole = [] if check.name in OF_EVERY_FORM or not form.options else [pytest.mark.full]
            whole = whole if is_everyday(form) else [pytest.mark.full]
            if check.name in ("compiles", "exports") and form.entry.name not in OF_A_KIND:
                whole = [pytest.mark.full]
            if check.name == "compiles":
                quick = replace(check, subject=replace(check.subject, backend="eager"))
                yield pytest.param(quick, id=f"{form}-compiles eagerly", marks=whole)
                if form.options:  # the default form alone goes through the longer way
                    continue
                whole = [pytest.mark.full]
            yield pytest.param(check, id=f"{form}-{check.name}", marks=whole)


@pytest.mark.parametrize("check", list(cases()))
def test_keeps_the_contract(check: Check) -> None:
    check()


def plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything in the precision of its input, as the equations are written."""
    for name, module in list(sys.modules.items()):
        if name.startswith("saccade.") and hasattr(module, "wide"):
            monkeypatch.setattr(module, "wide", lambda tensor: tensor)


@pytest.mark.full
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
def test_trains_on_one_sample_or_says_what_it_needs(form: Form) -> None:
    module, x = form.awake().train(), form.map(batch=1)
    if str(form) in NEEDS_A_BATCH:
        with pytest.raises(InputError, match=rf"^{module.label}: in training .* needs more than one sample"):
            module(x)
    else:
        assert module(x).isfinite().all()


@every_form
def test_passes_the_gradient_check_of_pytorch(form: Form) -> None:
    """The check also leaves out gradients of outputs: our autograd functions must take that."""
    module, x = form.awake(), form.map(batch=2).requires_grad_()
    names = [name for name, _ in module.named_parameters()]
    assert torch.autograd.gradcheck(
        lambda x, *values: torch.func.functional_call(module, dict(zip(names, values, strict=True)), (x,)),
        [x, *module.parameters()],
        fast_mode=True,
    )


@pytest.mark.parametrize("name", everyday([], ["se", "pam", "cam", "dual", "gc"]))
def test_compiles_with_the_code_generator(name: str) -> None:
    """One of each family, where there is a C++ compiler."""
    if not any(map(shutil.which, ("c++", "g++", "clang++"))):
        pytest.skip("no C++ compiler")
    torch._dynamo.reset()
    module = Form(CATALOG[name]).awake(torch.float32)
    compiled = torch.compile(module, fullgraph=True)
    x = Form(CATALOG[name]).map(dtype=torch.float32)
    torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("form", marked(form for form in all_forms() if form.pools), ids=str)
def test_says_that_one_position_is_too_few_to_pool(form: Form) -> None:
    module, x = form.awake(), form.map(size=(1,) * form.dims)
    with pytest.raises(InputError, match=rf"^{module.label}: .*needs at least .* {' x '.join('1' * form.dims)}"):
        module(x)


@pytest.mark.parametrize("form", marked(form for form in all_forms() if not form.pools), ids=str)
def test_every_other_takes_one_position(form: Form) -> None:
    assert form.awake()(form.map(size=(1,) * form.dims)).isfinite().all()


@every_row
def test_the_identity_options_of_the_catalog_give_the_identity(form: Form) -> None:
    if form.entry.identity_options:
        assert create(form.entry.name, CHANNELS, **form.entry.identity_options).starts_as_identity


@every_row
def test_names_what_is_wrong_with_its_options(form: Form) -> None:
    name, label = form.entry.name, form.fresh().label
    with pytest.raises(InputError, match=rf"^{name}: unknown option 'nonsense'"):
        create(name, CHANNELS, nonsense=1)
    for channels in (0, -1, 2.5, True, "64"):
        with pytest.raises(InputError, match=rf"^{label}: `channels` must be .* received channels="):
            create(name, channels)


@pytest.mark.parametrize("form", marked(forms_with("gates")), ids=str)
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


@pytest.mark.parametrize("form", marked(forms_with("attention")), ids=str)
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


@pytest.mark.parametrize("form", marked(forms_with("weights")), ids=str)
def test_its_weights_are_rows_of_its_attention(form: Form) -> None:
    module, x = form.awake(), form.map()
    first, last = (0,) * form.dims, tuple(length - 1 for length in form.size)
    between = tuple(length // 2 for length in form.size)
    weights, attention = module.weights(x, [last, first, between]), module.attention(x)
    assert weights.dim() == 2 + form.dims
    rows = [math.prod(form.size) - 1, 0, torch.arange(math.prod(form.size)).view(form.size)[between].item()]
    expected = attention.expand(-1, math.prod(form.size), -1)[:, rows]
    torch.testing.assert_close(weights.flatten(2), expected)


@pytest.mark.parametrize("form", marked(forms_with("weights")), ids=str)
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


@pytest.mark.parametrize("form", default_forms(), ids=str)
def test_gives_the_gradients_of_each_sample_at_once(form: Form) -> None:
    """torch.func.vmap of grad, as differential privacy and influence functions use it."""
    module, x = form.awake().eval(), form.map(batch=2)
    weights = {name: p.detach() for name, p in module.named_parameters()}
    buffers = dict(module.named_buffers())

    def loss(weights: dict[str, torch.Tensor], sample: torch.Tensor) -> torch.Tensor:
        made: torch.Tensor = torch.func.functional_call(module, (weights, buffers), (sample[None],))
        return made.square().sum()

    each = [torch.func.grad(loss)(weights, sample) for sample in x]
    found = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, x)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, torch.stack([one[name] for one in each]))
