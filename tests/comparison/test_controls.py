"""Controls are sized by the mechanisms they stand next to, and what they gain is said."""

import numpy as np
import pytest
import torch

import saccade
from saccade.comparison.arms import resolve_arms
from saccade.comparison.experiment import FIELD, decide, load_data
from saccade.comparison.options import CompareOptions
from saccade.comparison.results import Results
from saccade.comparison.settings import Settings
from saccade.mechanisms.widths import field_dilations, field_width
from saccade.report.verdict import control_note
from tests.comparison import folders
from tests.report.fixture import make_results


@pytest.mark.parametrize("mechanisms", ["none,se", "none,non_local,conv3x3"])
def test_controls_fit_the_largest_mechanism_and_see_the_whole_map(tmp_path, mechanisms):
    data = folders.classification(tmp_path / "data", count=4)
    options = CompareOptions(
        data=str(data), mechanisms=mechanisms, size=64, backbone="test_resnet", control_params=True, control_field=True
    )
    arms = resolve_arms(mechanisms, None, None)
    settings = Settings.decide(options, tuple(arm.label for arm in arms), "cpu")
    arrays = load_data(settings, tmp_path / "out")
    made = decide(settings, arms, arrays, tmp_path / "out")
    assert [arm.name for arm in made.arms] == ["none", mechanisms.split(",")[1], "conv3x3", FIELD]

    def added(arm):
        return made.network(arm, 0, arrays).saccade_report

    largest, params, field = (added(arm).params for arm in made.arms[1:])
    assert field <= largest <= params
    place = added(made.arms[3]).places[0]
    assert sum(made.arms[3].options["dilation"]) >= max(place.height, place.width) - 1


@pytest.mark.parametrize("reach", [0, 1, 4, 12, 13])
def test_several_dilations_see_every_position_within_reach_and_leave_none_out(reach):
    dilations, size = field_dilations(reach), 2 * reach + 5
    control = saccade.create("conv3x3", channels=2, width=2, dilation=dilations).double().eval()
    for module in control.modules():  # positive weights: nothing cancels, and nothing is rectified away
        for parameter in module.parameters(recurse=False):
            torch.nn.init.constant_(parameter, 0.5)
    x = torch.ones(1, 2, size, size, dtype=torch.float64, requires_grad=True)
    middle = size // 2
    control(x)[0, 0, middle, middle].backward()
    seen = x.grad.abs().sum(dim=(0, 1)) > 0
    assert seen[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1].all()
    assert control.starts_as_identity


@pytest.mark.parametrize(("channels", "dilations"), [(8, 1), (64, 3), (256, 4)])
def test_the_width_of_the_field_is_the_largest_that_fits(channels, dilations):
    for params in (200, 3000, 8480, 100_000):
        width = field_width(channels, params, dilations)
        sizes = [
            sum(
                p.numel()
                for p in saccade.create(
                    "conv3x3", channels=channels, width=w, dilation=field_dilations(0) * dilations
                ).parameters()
            )
            for w in (width, width + 1)
        ]
        assert sizes[1] > params
        assert sizes[0] <= params or width == 1


@pytest.mark.parametrize(
    "options", [{"dilation": (1, 3)}, {"dilation": (), "width": 4}, {"dilation": (1, 0), "width": 4}]
)
def test_several_dilations_without_a_width_are_refused(options):
    with pytest.raises(saccade.InputError, match=r"^Conv3x3: "):
        saccade.create("conv3x3", channels=8, **options)


def note(**verdicts):
    """The sentences on the controls, for verdicts and gains by arm."""
    content = make_results(np.random.default_rng(0), "segmentation", (0, 1, 2), ("none", "se", "conv3x3", "conv3x3-2"))
    for arm in content["arms"]:
        if arm["name"] in verdicts:
            arm["difference"] |= verdicts[arm["name"]]
    content["arms"][3] |= {"mechanism": "conv3x3", "options": {"width": 15, "dilation": [1, 3, 9]}, "name": FIELD}
    return control_note(Results.from_json(content))


BETTER, UNSURE = {"verdict": "better", "mean": 0.1}, {"verdict": "can't tell", "mean": 0.01}


def test_the_sentence_says_what_parameters_and_what_the_field_explain():
    said = note(**{"se": BETTER, "conv3x3": UNSURE, "conv3x3-2": BETTER | {"mean": 0.04}})
    assert "parameters alone do not explain the gain" in said
    assert "40% of what se gained: that part may come from the larger field alone" in said
    said = note(**{"se": BETTER, "conv3x3": BETTER | {"mean": 0.2}, "conv3x3-2": UNSURE})
    assert "100% of what se gained: that part may come from parameters alone" in said
    assert "a larger field alone does not explain the gain" in said
    assert note(**{"se": UNSURE, "conv3x3": BETTER, "conv3x3-2": BETTER}) == ""
