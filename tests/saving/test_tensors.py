"""A file that saccade wrote is read as it was written, or not at all."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

import saccade
from saccade import InputError
from saccade.networks.notes import NotesNet


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a saved network with a mechanism."""
    net = saccade.insert(NotesNet(3), "se", example_input=torch.zeros(1, 3, 64, 64))
    return saccade.save(net, tmp_path_factory.mktemp("saved") / "a.safetensors").read_bytes()


def test_any_flipped_bit_is_an_error(tmp_path, whole):
    path = tmp_path / "a.safetensors"
    draw = torch.Generator().manual_seed(0)
    length = 8 + int.from_bytes(whole[:8], "little")
    places = [*range(0, 8, 3), *torch.randint(8, length, (150,), generator=draw).tolist()]
    places += torch.randint(length, len(whole), (20,), generator=draw).tolist()
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << int(torch.randint(8, (1,), generator=draw))
        path.write_bytes(changed)
        with pytest.raises(InputError, match=str(path)):
            saccade.load(path)


def header_of(path, whole, change):
    """A file with another header and without a digest, as an editor or an earlier version leaves it."""
    path.write_bytes(whole)
    length = int.from_bytes(whole[:8], "little")
    header = json.loads(json.loads(whole[8 : 8 + length])["__metadata__"]["saccade"])
    save_file(load_file(path), path, {"saccade": json.dumps(change(header))})
    return path


def inner(header, change):
    """Change the first plan of a header."""
    [part] = header["inserted"]
    [plan] = part["plans"]
    return {**header, "inserted": [{**part, "plans": [{**plan, **change(plan)}]}]}


CHANGES = {
    "null": lambda h: None,
    "a list": lambda h: [h],
    "a number": lambda h: 7,
    "empty": lambda h: {},
    "no network": lambda h: {key: value for key, value in h.items() if key != "network"},
    "format": lambda h: h | {"format": "1"},
    "network a list": lambda h: h | {"network": ["timm", "resnet18"]},
    "no options": lambda h: h | {"network": {"library": "timm", "name": "resnet18"}},
    "options that are refused": lambda h: h | {
        "network": {"library": "saccade", "name": "notes", "options": {"no_such": 1}}
    },
    "inserted null": lambda h: h | {"inserted": None},
    "inserted text": lambda h: h | {"inserted": "se"},
    "plan null": lambda h: h | {"inserted": [{"inside": "", "plans": [None]}]},
    "step without place": lambda h: inner(h, lambda plan: {"steps": [{**plan["steps"][0], "place": None}]}),
    "mechanism unknown": lambda h: inner(h, lambda plan: {"steps": [{**plan["steps"][0], "mechanism": {"name": "s"}}]}),
    "mechanism empty": lambda h: inner(h, lambda plan: {"steps": [{**plan["steps"][0], "mechanism": {}}]}),
    "example of code": lambda h: inner(h, lambda plan: {"example": [{"shape": [1], "dtype": "load"}]}),
    "example a number": lambda h: inner(h, lambda plan: {"example": [1]}),
    "code a list": lambda h: h | {"code": ["os:system"]},
    "deep": lambda h: h | {"inserted": [[[[[[]]]]]]},
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_header_of_another_form_is_an_error(tmp_path, whole, name):
    path = header_of(tmp_path / "a.safetensors", whole, CHANGES[name])
    with pytest.raises(InputError):
        saccade.load(path)


def test_a_file_without_a_digest_is_loaded(tmp_path, whole):
    path = header_of(tmp_path / "a.safetensors", whole, lambda header: header)
    assert len(saccade.load(path).saccade_report.places) > 0


@pytest.mark.parametrize("name", ["a.ckpt", "a"])
def test_plain_weights_are_loaded_into_a_given_network(tmp_path, name):
    one, other = NotesNet(3), NotesNet(3)
    torch.save({"epoch": 3, "net": {f"module.{key}": t for key, t in one.state_dict().items()}}, tmp_path / name)
    assert saccade.load(tmp_path / name, model=other) is other
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))
    with pytest.raises(InputError, match=r"does not fit this NotesNet: .* tensors do not fit"):
        saccade.load(tmp_path / name, model=NotesNet(4))
    with pytest.raises(InputError, match="cannot be read as safetensors"):
        saccade.load(tmp_path / name)


def test_a_network_under_another_name_is_loaded(tmp_path, whole):
    (tmp_path / "best.bin").write_bytes(whole)
    assert len(saccade.load(tmp_path / "best.bin").saccade_report.places) > 0
