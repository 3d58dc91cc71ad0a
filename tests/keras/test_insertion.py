"""Insertion into Keras networks: places, outputs to the bit, names and weights kept, files, and what is refused."""

import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers, ops

from saccade.errors import InputError, SaccadeWarning
from saccade.insertion.report import Report
from saccade.keras import attachments, insert, plan, remove, save, verify

ROOT = Path(__file__).parents[2]
IMAGES = np.random.default_rng(0).random((2, 16, 16, 3), dtype="float32")


def block(x, name, channels=8):
    y = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_1_conv")(x)
    y = layers.ReLU(name=f"{name}_1_relu")(layers.BatchNormalization(name=f"{name}_1_bn")(y))
    y = layers.Conv2D(channels, 3, padding="same", use_bias=False, name=f"{name}_2_conv")(y)
    y = layers.BatchNormalization(name=f"{name}_2_bn")(y)
    return layers.ReLU(name=f"{name}_out")(layers.Add(name=f"{name}_add")([x, y]))


def residual():
    image = keras.Input((16, 16, 3), name="image")
    x = block(layers.Conv2D(8, 3, padding="same", name="stem")(image), "block1")
    x = block(layers.MaxPooling2D(name="pool")(x), "block2")
    x = layers.Dropout(0.5, name="drop")(layers.GlobalAveragePooling2D(name="mean")(x))
    return keras.Model(image, layers.Dense(3, name="head")(x), name="net")


def nested():
    image = keras.Input((16, 16, 3))
    inner = residual()
    features = keras.Model(inner.input, inner.get_layer("block2_out").output, name="backbone")
    return keras.Model(image, layers.Flatten()(features(image)), name="whole")


def twins():
    """A Siamese network: one sub-model, called twice, on two inputs."""
    inner = residual()
    left, right = keras.Input((16, 16, 3), name="left"), keras.Input((16, 16, 3), name="right")
    return keras.Model([left, right], ops.abs(inner(left) - inner(right)), name="twins")


def plain():
    return keras.Sequential(
        [keras.Input((16, 16, 3)), layers.Conv2D(8, 3, name="one"), layers.Conv2D(8, 3, name="two"), layers.Flatten()],
        name="plain",
    )


def outputs(model, images=IMAGES, training=False):
    return [ops.convert_to_numpy(y) for y in keras.tree.flatten(model(images, training=training))]


def same(a, b, images=IMAGES):
    return all(np.array_equal(x, y) for x, y in zip(outputs(a, images), outputs(b, images), strict=True))


def paths(model):
    return [variable.path for variable in model.variables]


@pytest.mark.parametrize(
    ("build", "at", "images", "names"),
    [
        (residual, None, IMAGES, ["block1_2_bn_saccade", "block2_2_bn_saccade"]),
        (residual, "inner", IMAGES, ["block1_2_conv_saccade_before", "block2_2_conv_saccade_before"]),
        (residual, "block", IMAGES, ["block1_out_saccade", "block2_out_saccade"]),
        (residual, "stage:-1", IMAGES, ["block2_out_saccade"]),
        (residual, ["block*_1_relu", "before:pool"], IMAGES,
         ["block1_1_relu_saccade", "pool_saccade_before", "block2_1_relu_saccade"]),
        (nested, None, IMAGES, ["backbone/block1_2_bn_saccade", "backbone/block2_2_bn_saccade"]),
        (twins, "net/block1_out", [IMAGES, IMAGES[::-1].copy()], ["net/block1_out_saccade"]),
        (plain, "*", IMAGES, ["one_saccade", "two_saccade"]),
    ],
)  # fmt: skip
def test_outputs_are_equal_to_the_bit_and_names_are_kept(build, at, images, names):
    model = build()
    made = insert(model, "cbam", at=at)

    assert list(attachments(made)) == names
    assert same(model, made, images)
    own = {v.path: ops.convert_to_numpy(v) for v in made.variables}
    for variable in model.variables:
        assert np.array_equal(own[variable.path], ops.convert_to_numpy(variable)), variable.path
    assert type(made) is type(model)
    assert made.name == model.name
    assert isinstance(made.saccade_report, Report)
    assert verify(made, expect=made.saccade_report) == tuple(names)
    assert not attachments(model)  # the given network is as it was

    for layer in attachments(made).values():
        layer.g.assign([0.5])
    assert not same(model, made, images)
    bare = remove(made)
    assert same(model, bare, images)
    assert paths(bare) == paths(model)


def test_a_training_step_moves_what_was_inserted():
    made = insert(residual(), "se+cbam")
    assert list(attachments(made))[:2] == ["block1_2_bn_saccade", "block1_2_bn_saccade_2"]
    made.compile(keras.optimizers.SGD(0.1), "mse")
    made.fit(IMAGES, np.ones((2, 3), "float32"), epochs=2, verbose=0)
    for layer in attachments(made).values():
        assert float(ops.convert_to_numpy(layer.g)[0]) != 0
        assert abs(float(ops.convert_to_numpy(layer.factor())[0])) > 0.09
    again = insert(made, "eca", at="block1_2_bn")
    assert list(attachments(again))[:3] == ["block1_2_bn_saccade", "block1_2_bn_saccade_2", "block1_2_bn_saccade_3"]
    assert len(again.saccade_report.plans) == 2
    assert same(made, again)


def test_what_starts_as_the_identity_is_not_mixed_in_and_own_layers_are():
    class Still(layers.Layer):
        def call(self, x):
            return x

    def mixer(channels, kernel=3):
        return layers.DepthwiseConv2D(kernel, padding="same", name="mixer")

    model = residual()
    assert [step.wrapped for step in plan(model, Still, at="stem").steps] == [False]
    planned = plan(model, mixer, at="stem", options={"kernel": 5})
    assert (planned.steps[0].wrapped, planned.params) == (True, 5 * 5 * 8 + 8 + 1)
    assert same(model, insert(model, mixer, at="stem"))
    with pytest.raises(InputError, match="received a layer of it"):
        plan(model, Still())
    with pytest.raises(InputError, match="makes a map of shape"):
        plan(model, lambda channels: layers.Conv2D(channels + 1, 1), at="stem")
    with pytest.raises(InputError, match=r"expected a layer of Keras"):
        plan(model, lambda channels: "se", at="stem")


def test_frozen_layers_stay_frozen_and_new_ones_learn():
    model = nested()
    model.get_layer("backbone").trainable = False
    made = insert(model, "se")
    learned = [v.path for v in made.trainable_variables]
    assert learned
    assert all("_saccade/" in path for path in learned)


def test_operations_custom_layers_and_free_sizes():
    @keras.saving.register_keras_serializable()
    class ScaledSum(layers.Layer):
        """A residual addition inside a layer of its own, as in InceptionResNetV2."""

        def call(self, inputs):
            return inputs[0] + 0.1 * inputs[1]

    image = keras.Input((None, None, 3))
    x = layers.Conv2D(8, 3, padding="same", name="stem")(image)
    y = layers.Conv2D(8, 3, padding="same", activation="relu", name="branch")(x)
    x = ScaledSum(name="sum")([x, y])
    z = layers.Conv2D(8, 3, padding="same", activation="relu", name="second")(x)
    model = keras.Model(image, layers.Lambda(lambda v: v * 2, name="twice")(x + z))
    planned = plan(model, "se")
    assert [str(place) for place in planned.places] == ["branch", "second"]
    assert planned.input_shape == (1, 224, 288, 3)
    assert plan(model, "se", example_input=(1, 32, 48, 3)).input_shape == (1, 32, 48, 3)
    assert same(model, insert(model, "se"))
    with pytest.raises(InputError, match=r"example_input= has the shapes \(1, 32, 3\)"):
        plan(model, "se", example_input=(1, 32, 3))


def test_channels_first_and_half_precision():
    image = keras.Input((3, 16, 16))
    x = layers.Conv2D(8, 3, padding="same", data_format="channels_first", dtype="mixed_float16", name="conv")(image)
    model = keras.Model(image, layers.Conv2D(8, 3, data_format="channels_first", name="last")(x))
    place = plan(model, "se", at="conv").places[0]
    assert (place.layout, place.channels, place.height) == ("NCHW", 8, 16)
    made = insert(model, "se", at="conv")
    layer = attachments(made)["conv_saccade"]
    assert layer.mechanism.data_format == "channels_first"
    assert layer.compute_dtype == "float16"
    own = insert(model, lambda channels: layers.Conv2D(channels, 1), at="conv")  # Keras's own setting: channels last
    images = IMAGES.transpose(0, 3, 1, 2).copy()
    assert attachments(own)["conv_saccade"].turned
    if keras.backend.backend() != "tensorflow":  # whose convolutions on a CPU take channels last
        assert same(model, made, images)
        assert same(model, own, images)


def test_saved_files_hold_the_mechanisms(tmp_path):
    made = insert(residual(), "cbam[reduction=4]")
    attachments(made)["block1_2_bn_saccade"].g.assign([0.3])
    path = save(made, tmp_path / "net.keras")
    loaded = keras.saving.load_model(path)
    assert same(made, loaded)
    assert verify(loaded, expect=["block1_2_bn_saccade", "block2_2_bn_saccade"])
    assert attachments(loaded)["block1_2_bn_saccade"].place["mechanism"] == "cbam[reduction=4]"
    assert [file.name for file in tmp_path.iterdir()] == ["net.keras"]
    with pytest.raises(InputError, match=r"ends in \.keras"):
        save(made, tmp_path / "net.h5")
    with pytest.raises(InputError, match="does not exist"):
        save(made, tmp_path / "nowhere" / "net.keras")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.conv = layers.Conv2D(4, 3)

    def call(self, x):
        return self.conv(x)


class Stubborn(layers.Layer):
    """A layer with an argument that its config does not hold."""

    def __init__(self, width):
        super().__init__(name="stubborn")
        self.width = width

    def call(self, x):
        return x * self.width


def other_networks():
    import torch

    return {
        "subclassed": (Subclassed(), "a subclassed model.*cannot be rebuilt.*\n.*saccade.keras.layer"),
        "torch": (torch.nn.Conv2d(3, 3, 1), "received torch.*Conv2d\n.*saccade.insert"),
        "file": ("net.keras", "received builtins.str\n.*load_model"),
        "layer": (layers.Conv2D(3, 1), "received keras.*Conv2D\n.*keras.Model"),
        "not built": (keras.Sequential([layers.Conv2D(3, 1)]), "has no shapes yet.*\n.*keras.Input"),
        "no maps": (keras.Sequential([keras.Input((8,)), layers.Dense(3)]), "expected a convolutional network"),
    }


@pytest.mark.parametrize("which", ["subclassed", "torch", "file", "layer", "not built", "no maps"])
def test_other_networks_are_refused_with_what_to_do(which):
    model, said = other_networks()[which]
    with pytest.raises(InputError, match=said):
        plan(model, "se")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"at": "block3_out"}, "no layer of net has that name.*\n.*did you mean block"),
        ({"at": "stem", "within": "nowhere"}, "within='nowhere'"),
        ({"at": "mean"}, "not a feature map"),
        ({"at": "stage:7"}, "has 2 stages, counted from 0"),
        ({"mechanism": "cbma"}, "unknown mechanism 'cbma'\n.*cbam"),
        ({"mechanism": "cbam[variant=newest]"}, "variant"),
        ({"mechanism": "se[reductoin=4]"}, "unknown option 'reductoin'"),
        ({"start": "zero"}, "unknown start"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_do(given, said):
    with pytest.raises(InputError, match=said):
        plan(residual(), **{"mechanism": "se", **given})


def test_a_name_in_two_sub_models_and_a_shared_layer():
    image = keras.Input((16, 16, 3))
    parts = [keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(3, 3, padding="same", name="conv")], name=name)
             for name in ("left", "right")]  # fmt: skip
    shared = layers.Conv2D(3, 3, padding="same", name="shared")
    x = parts[1](parts[0](image))
    model = keras.Model(image, layers.Conv2D(3, 3, name="last")(shared(layers.ReLU(name="mid")(shared(x)))))
    with pytest.raises(InputError, match="left/conv, right/conv"):
        plan(model, "se", at="conv")
    assert [str(place) for place in plan(model, "se", at="*/conv").places] == ["left/conv", "right/conv"]
    assert [str(place) for place in plan(model, "se", at="shared").places] == ["before:mid", "before:last"]
    made = insert(model, "se", at=["shared", "left/conv"])
    assert same(model, made)
    assert len(made.get_layer("shared").variables) == 2
    assert len(made.variables) - len(model.variables) == sum(len(a.variables) for a in attachments(made).values())


def test_a_layer_that_its_config_does_not_make_and_a_class_of_its_own(tmp_path):
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(4, 3, name="conv")(image)
    with pytest.raises(InputError, match=r"stubborn \(Stubborn\).*\n.*get_config"):
        insert(keras.Model(image, layers.Conv2D(4, 3)(Stubborn(2)(x))), "se", at="conv")

    class Own(keras.Model):
        def __init__(self):
            super().__init__(image, layers.Conv2D(4, 3)(x))

    with pytest.warns(SaccadeWarning, match="plain keras.Model"):
        insert(Own(), "se", at="conv")


def test_verify_says_what_is_missing():
    made = insert(residual(), "se")
    with pytest.raises(InputError, match="expected 3"):
        verify(made, expect=3)
    with pytest.raises(InputError, match="block9_saccade are missing"):
        verify(made, expect=["block9_saccade"])
    with pytest.raises(InputError, match="block1_2_bn, block2_2_bn are missing"):
        verify(remove(made), expect=made.saccade_report)
    with pytest.raises(TypeError, match="expect="):
        verify(made, expect=1.5)


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("ResNet50", {"residual": 16, "inner": 16, "stage": 5, "block": 16}),
        ("ResNet50V2", {"residual": 16, "inner": 16, "stage": 5, "block": 16}),
        ("MobileNet", {"stage": 5, "block": 14}),
        ("MobileNetV2", {"residual": 10, "inner": 10, "stage": 5, "block": 10}),
        ("MobileNetV3Small", {"residual": 6, "inner": 6, "stage": 5}),
        ("EfficientNetB0", {"residual": 9, "inner": 9, "stage": 5}),
        ("EfficientNetV2B0", {"residual": 15, "inner": 15, "stage": 5}),
        ("ConvNeXtTiny", {"residual": 18, "inner": 18, "stage": 4}),
        ("DenseNet121", {"stage": 5}),
        ("VGG16", {"stage": 6}),
        ("Xception", {"residual": 12, "inner": 12, "stage": 5}),
        ("InceptionV3", {"stage": 5}),
        ("InceptionResNetV2", {"residual": 40, "inner": 40, "stage": 5}),
        ("NASNetMobile", {"stage": 3}),
    ],
)
def test_families(name, least):
    """Every family of keras.applications: places found, outputs and weights equal to the bit."""
    if name == "NASNetMobile" and keras.backend.backend() == "torch":
        pytest.skip("Keras does not make it on this backend")
    side = 96 if name in ("Xception", "InceptionV3", "InceptionResNetV2") else 64
    model = getattr(keras.applications, name)(weights=None, include_top=False, input_shape=(side, side, 3))
    free = getattr(keras.applications, name)(weights=None, include_top=False)
    for kind, count in least.items():
        assert len(plan(free, "se", at=kind, example_input=(1, 224, 288, 3)).places) >= count, kind
    images = np.random.default_rng(0).random((1, side, side, 3), dtype="float32") * 255
    made = insert(model, "eca")
    assert same(model, made, images)
    assert np.array_equal(model.predict(images, verbose=0), made.predict(images, verbose=0))
    assert set(paths(model)) <= set(paths(made))


@pytest.mark.full
@pytest.mark.parametrize("page", ["README.md", "README.zh.md"])
def test_the_lines_of_the_readme_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (lines,) = re.findall(r"```py\n(.*?)```", (ROOT / page).read_text(encoding="utf-8"), flags=re.S)
    small = lines.replace("ResNet50(weights=None)", "MobileNetV2(weights=None, input_shape=(32, 32, 3))")
    assert small != lines
    exec(compile(small, page, "exec"), {})
    assert [file.name for file in tmp_path.iterdir()] == ["resnet50-cbam.keras"]
