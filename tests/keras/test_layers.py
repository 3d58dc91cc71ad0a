"""The Keras layers: one form of each, on the backend of this process; all cases and backends are in `test_golden`."""

import keras
import numpy as np
import pytest
import torch

import saccade
from saccade.catalog import CATALOG
from saccade.errors import InputError
from saccade.keras import LAYERS, from_torch, layer, load_official, to_torch
from tests.suites import everyday

pytestmark = pytest.mark.filterwarnings("ignore::saccade.errors.SaccadeWarning")

FORMS = {key: {} for key in LAYERS} | {"sk": {"groups": 4}, "gsop": {"variant": "sum", "dim": 8, "grid": 3}}
WITHOUT_STRIPS = sorted(key for key in LAYERS if "dims" in CATALOG[key].options)
# A gate, one of two axes, one that replaces a convolution, attention over positions, and over channels.
OF_A_KIND = ("se", "cbam", "sk", "pam", "cam")


def close(found, expected):
    """Equal to the digits that float32 has next to the largest value."""
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5 * max(1.0, float(np.abs(expected).max())))


def torch_module(key, **options):
    """A module whose weights are all random, so that none is without effect."""
    torch.manual_seed(0)
    module = saccade.create(key, 16, **options)
    with torch.no_grad():
        for tensor in module.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 0.9)
    return module.eval()


@pytest.mark.parametrize("key", ["cam", "cbam", "dual", "fla", "gc", "pam", "sagan"])
def test_wrapped_it_starts_open(key):
    """Two factors that start at zero in series would keep each other there; others have none, or are never wrapped."""
    made = layer(key, **FORMS[key])
    made.build((None, 8, 8, 16))
    made.start_open()
    factors = {w.path: keras.ops.convert_to_numpy(w) for w in made.trainable_variables if w.path.endswith("gamma")}
    assert all(factor.any() for factor in factors.values()), factors


@pytest.mark.parametrize("key", sorted(LAYERS))
def test_equals_the_module_and_gives_its_weights_back(key):
    module = torch_module(key, **FORMS[key])
    x = torch.randn(2, 16, 6, 8)
    made = from_torch(module, data_format="channels_last")
    expected = module(x).detach().numpy()

    y = keras.ops.convert_to_numpy(made(x.movedim(1, -1).numpy()))

    close(np.moveaxis(y, -1, 1), expected)
    for name, tensor in to_torch(made).state_dict().items():
        torch.testing.assert_close(tensor, module.state_dict()[name])


@pytest.mark.parametrize("dims", [1, 3])
@pytest.mark.parametrize("key", everyday(OF_A_KIND, WITHOUT_STRIPS))
def test_takes_sequences_and_volumes(key, dims):
    module = torch_module(key, **FORMS[key] | ({"variant": "channel"} if key == "gsop" else {}), dims=dims)
    x = torch.randn(2, 16, *(4, 6, 5)[:dims])
    made = from_torch(module, data_format="channels_first")
    expected = module(x).detach().numpy()
    close(keras.ops.convert_to_numpy(made(x.numpy())), expected)


def test_the_control_takes_several_dilations():
    module = torch_module("conv3x3", width=4, dilation=(1, 3))
    x = torch.randn(2, 16, 6, 8)
    made = from_torch(module, data_format="channels_first")
    expected = module(x).detach().numpy()
    close(keras.ops.convert_to_numpy(made(x.numpy())), expected)


@pytest.mark.parametrize("key", sorted(LAYERS))
def test_takes_the_options_of_the_catalog(key):
    made = layer(key, data_format="channels_last")
    config = made.get_config()
    for option, default in CATALOG[key].options.items():
        assert config[option] == default, option


@pytest.mark.parametrize("key", everyday(OF_A_KIND, sorted(LAYERS)))
def test_is_saved_and_loaded_in_either_layout(key, tmp_path):
    for data_format, shape in (("channels_last", (None, None, 16)), ("channels_first", (16, None, None))):
        image = keras.Input(shape)
        attention = from_torch(torch_module(key, **FORMS[key]), data_format=data_format)
        model = keras.Model(image, attention(image))
        model.save(tmp_path / "model.keras")
        loaded = keras.models.load_model(tmp_path / "model.keras")
        x = np.random.default_rng(0).normal(size=(2, *((6, 8, 16) if shape[-1] else (16, 6, 8)))).astype("float32")
        np.testing.assert_array_equal(*(keras.ops.convert_to_numpy(each(x)) for each in (model, loaded)))


@pytest.mark.parametrize("key", everyday(OF_A_KIND, sorted(LAYERS)))
def test_half_maps_keep_their_precision_and_stay_finite(key):
    made = layer(key, **FORMS[key], data_format="channels_last", dtype="mixed_float16")
    x = 40 * np.random.default_rng(0).normal(size=(2, 6, 8, 16)).astype("float16")
    y = made(x)
    assert keras.backend.standardize_dtype(y.dtype) == "float16"
    assert np.isfinite(keras.ops.convert_to_numpy(y)).all()


def test_an_authors_file_that_does_not_fit_leaves_the_layer_as_it_was():
    made = layer("se", data_format="channels_last")
    with pytest.raises(InputError, match="SE: the layer is not built"):
        load_official(made, {})
    made.build((None, None, None, 16))
    before = made.get_weights()
    with pytest.raises(InputError, match="does not fit"):
        load_official(made, {"fc1.weight": torch.zeros(3, 16)})
    for one, other in zip(made.get_weights(), before, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(2, 6, 8, 12), (2, 6, 16)])
def test_a_map_of_another_shape_is_refused(shape):
    made = layer("eca", data_format="channels_last")
    made.build((None, None, None, 16))
    with pytest.raises(InputError, match=r"ECA: expected a feature map \(B, H, W, 16\), channels_last; received"):
        made(np.zeros(shape, "float32"))


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("cbamm", {}, "unknown mechanism 'cbamm'\nhint: did you mean cbam"),
        ("cbam", {"reducton": 4}, "cbam: unknown option 'reducton'\nhint: did you mean reduction"),
        ("se", {"variant": "tim"}, "SE: unknown variant='tim'"),
        ("eca", {"k": 4}, "ECA: `k` must be odd"),
        ("se", {"data_format": "channels_middle"}, "SE: unknown data_format='channels_middle'"),
    ],
)
def test_refuses_an_unknown_name_option_or_value(given, options, message):
    with pytest.raises(InputError, match=message):
        layer(given, **options)
