"""The grammar of `at=`, and what it says when nothing fits."""

import pytest
import timm
import torch
import torchvision
from torch import nn

import saccade
from saccade.catalog import NaturalPlace
from saccade.errors import InputError
from saccade.insertion.places import Places
from saccade.insertion.select import select
from saccade.networks.notes import NotesNet
from tests.ids import shown
from tests.insertion import networks

RESIDUAL = NaturalPlace("residual")
BLOCKS_3 = [f"layer3.{i}" for i in range(6)]


def traced(model, *size):
    return Places(networks.trace_of(model, torch.zeros(1, 3, *(size or (64, 72)))))


@pytest.fixture(scope="module")
def resnet():
    with torch.device("meta"):
        return traced(timm.create_model("resnet50"))


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("stage", ["act1", "layer1.2", "layer2.3", "layer3.5", "layer4.2"]),
        ("stage:1-3", ["layer1.2", "layer2.3", "layer3.5"]),
        ("stage:0", ["act1"]),
        ("stage:-1", ["layer4.2"]),
        ("stage:1--2", ["layer1.2", "layer2.3", "layer3.5"]),
        ("layer3.*.bn2", [f"{block}.bn2" for block in BLOCKS_3]),
        ("layer3.*", BLOCKS_3),
        ("layer[13].0", ["layer1.0", "layer3.0"]),
        ("layer[!13].0", ["layer2.0", "layer4.0"]),
        ("layer4.?", ["layer4.0", "layer4.1", "layer4.2"]),
        ("layer4.**.1", ["layer4.0.downsample.1"]),
        ("before:layer4.*.conv3", [f"before:layer4.{i}.conv3" for i in range(3)]),
        ("layer2", ["layer2.3"]),
        ("before:layer2", ["before:layer2.0"]),
        (["stage:-1", "layer1.0.bn1", "layer4"], ["layer4.2", "layer1.0.bn1"]),
        (lambda place: place.kind == "block" and place.stride == 32, [f"layer4.{i}" for i in range(3)]),
        (lambda place: place.name.endswith("layer1.2") or (place.channels == 64 and place.side == "before"),
         [*(f"before:layer1.{i}.conv3" for i in range(3)), "layer1.2"]),
    ],
    ids=shown,
)  # fmt: skip
def test_words(resnet, at, expected):
    assert [str(place) for place in select(resnet, at, RESIDUAL)] == expected


def test_natural_placements(resnet):
    def names(natural, places=resnet):
        return [str(place) for place in select(places, None, natural)]

    non_local = NaturalPlace("block", every=2, strides=(8, 16))
    # Two in the second and three in the third stage: the five blocks of the non-local paper.
    assert names(non_local) == ["layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"]
    assert names(NaturalPlace("block", every=4)) == ["layer1.2", "layer2.3", "layer3.3", "layer4.2"]
    assert names(NaturalPlace("block", strides=(64,))) == names(NaturalPlace("block"))
    assert names(non_local, traced(NotesNet(), 96, 96)) == ["block2"]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("residuals", r"no module of ResNet has that name, and it is not a kind of place\nhint: did you mean residual"),
        ("layer5.*.bn2", r"(?s)layer5.*hint: did you mean layer4.2.bn2"),
        ("qqq", r"give residual, inner, stage, block, stage:1-3"),
        ("layer1.0.bn22", r"did you mean layer1.0.bn2"),
        ("*.bn2", r"\*\* for several"),
        ("stage:5", r"ResNet has 5 stages, counted from 0\nhint: they end at: 0 act1, 1 layer1.2"),
        ("stage:3-1", r"5 stages"),
        ("fc", r"fc \(Linear\): its output is not a feature map .*\(1, 1000\)"),
        (lambda place: False, r"accepted none of the places\nhint: its places by kind: 16 residual, 16 inner, 5 stage"),
    ],
    ids=shown,
)
def test_what_names_nothing(resnet, at, message):
    with pytest.raises(InputError, match=message):
        select(resnet, at, RESIDUAL)


@pytest.mark.parametrize("at", [3, [], [3], {"a": lambda: 0}.values()], ids=shown)
def test_other_kinds_are_refused(resnet, at):
    with pytest.raises(TypeError, match="at= takes a word"):
        select(resnet, at, RESIDUAL)


def test_a_shared_module_stands_for_what_reads_its_maps_next():
    with torch.device("meta"):
        tv = torchvision.models.resnet18()
    found = [str(place) for place in saccade.plan(tv, "se", at="layer1.*.relu").places]
    # Each relu runs twice: before the second convolution, and at the end of its block.
    assert found == ["before:layer1.0.conv2", "before:layer1.1", "before:layer1.1.conv2", "before:layer2.0"]


def test_what_no_place_can_stand_for_is_refused_with_its_calls():
    shared = traced(networks.Shared(), 32, 40)
    with pytest.raises(InputError, match=r"again \(Sequential\): it is called 3 times in one forward, and no module"):
        select(shared, "again", RESIDUAL)
    with pytest.raises(InputError, match=r"idle: it is called 0 times"):
        select(shared, "idle", RESIDUAL)


def test_a_glob_takes_what_it_can_and_says_what_it_left(resnet):
    planned = saccade.plan(networks.Shared(), "se", at="*", example_input=networks.example())
    assert [str(place) for place in planned.places] == ["first.1"]
    assert "idle: it is called 0 times in one forward" in planned.unused


def test_a_module_that_returns_several_maps_stands_for_its_children():
    class Several(nn.Module):
        def __init__(self):
            super().__init__()
            self.fine, self.deep = networks.Unit(8, 8), networks.Unit(8, 16, 2)

        def forward(self, x):
            fine = self.fine(x)
            return {"maps": [fine, self.deep(fine)]}

    found = traced(networks.Around(Several()), 32, 40)
    assert [str(place) for place in select(found, "part", RESIDUAL)] == ["part.fine", "part.deep"]
    assert [str(place) for place in select(found, "before:part", RESIDUAL)] == ["before:part"]


@pytest.mark.parametrize(
    ("at", "within", "every", "expected"),
    [
        ("residual", "layer2", None, [f"layer2.{i}.bn3" for i in range(4)]),
        ("residual", "layer[24]", 2, ["layer2.1.bn3", "layer2.3.bn3", "layer4.1.bn3"]),
        ("block", None, 3, ["layer1.2", "layer2.2", "layer3.2", "layer3.5", "layer4.2"]),
        ("layer*.0", "layer3", None, ["layer3.0"]),
        ("stage:-1", "layer[12]", None, ["layer2.3"]),
    ],
)
def test_parts_and_every_so_many_th_place(at, within, every, expected):
    with torch.device("meta"):
        model = timm.create_model("resnet50")
    planned = saccade.plan(model, "se", at=at, within=within, every=every, example_input=torch.zeros(1, 3, 64, 72))
    assert [str(place) for place in planned.places] == expected


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        (
            {"within": "layr3"},
            InputError,
            r"within='layr3': no module of ResNet has that name\nhint: did you mean lay",
        ),
        ({"within": "conv1"}, InputError, r"ResNet has no residual place in conv1"),
        ({"at": "layer1.*", "within": "layer2"}, InputError, r"names no module in layer2"),
        ({"every": 0}, TypeError, r"every= takes a whole number"),
        ({"every": True}, TypeError, r"every= takes a whole number"),
    ],
)
def test_parts_that_name_nothing(options, kind, message):
    with torch.device("meta"):
        model = timm.create_model("resnet18")
    with pytest.raises(kind, match=message):
        saccade.plan(model, "se", example_input=torch.zeros(1, 3, 64, 72), **options)


def test_a_network_without_residual_additions_says_what_it_has():
    with torch.device("meta"):
        vgg = torchvision.models.vgg11_bn()
    with pytest.raises(InputError, match=r"VGG has no residual place\nhint: its places by kind: .*5 stage, 8 block"):
        saccade.plan(vgg, "se", at="residual")
    assert [str(place) for place in saccade.plan(vgg, "se").places] == [
        str(place) for place in saccade.plan(vgg, "se", at="stage").places
    ]
    assert len(saccade.plan(vgg, "se", at="stage:1-4").places) == 4
    with torch.device("meta"):
        dense = timm.create_model("densenet121")
    with pytest.raises(InputError, match=r"DenseNet has no residual place"):
        saccade.plan(dense, "cbam", at="residual")


class Joins(nn.Module):
    """Blocks whose maps are joined, not added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = networks.conv(3, 8, stride=2)
        self.a, self.b = Join(8), Join(16)

    def forward(self, x):
        return self.b(torch.nn.functional.max_pool2d(self.a(self.stem(x)), 2))


class Join(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.near, self.far = (
            networks.conv(width, width),
            nn.Sequential(networks.conv(width, 4, 1), networks.conv(4, width)),
        )

    def forward(self, x):
        return torch.relu(torch.cat([self.near(x), self.far(x)], 1))


PLAIN = nn.Sequential(*(nn.Sequential(networks.conv(a, b, stride=2), nn.ReLU()) for a, b in ((3, 8), (8, 8), (8, 16))))


@pytest.mark.parametrize(
    ("network", "mechanism", "kind", "expected"),
    [
        (Joins(), "se", "block", ["a", "b"]),
        (Joins(), "psa", "block", ["a", "b"]),
        (PLAIN, "cbam", "stage", ["0.1", "1.1", "2.1"]),
        (PLAIN, "psa", "stage", ["0.1", "1.1", "2.1"]),
        (PLAIN[:1], "bam", "stage", ["0.1"]),
    ],
)
def test_natural_places_that_are_not_there_fall_back_with_a_note(network, mechanism, kind, expected):
    planned = saccade.plan(network, mechanism)
    assert [place.name for place in planned.places] == expected
    assert any(f"{kind} places are used instead" in remark for remark in planned.remarks)
    assert f"{kind} places are used instead" in str(planned)
    with pytest.raises(InputError, match="has no residual place"):
        saccade.plan(network, mechanism, at="residual")


def test_gates_go_onto_the_blocks_of_a_decoder():
    planned = saccade.plan(networks.Net(), "se", within="decoder", example_input=torch.zeros(1, 3, 64, 96))
    assert [place.name for place in planned.places] == ["decoder.blocks.0", "decoder.blocks.1"]
