"""Networks with attention go to the Hub and come back: a server here speaks its API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save
from torch import nn

import saccade
from saccade import InputError
from saccade.networks.notes import NotesNet
from tests.saving.hub_server import Files, serving

constants = pytest.importorskip("huggingface_hub.constants")


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Files]:
    held: Files = {}
    with serving(held) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield held


def inserted() -> nn.Module:
    torch.manual_seed(0)
    return saccade.insert(NotesNet(5), "cbam", at="stage:-1")


def test_goes_to_the_hub_and_comes_back(files: Files, tmp_path: Path) -> None:
    model, x = inserted().eval(), torch.randn(1, 3, 32, 32)
    address = saccade.push_to_hub(model, "me/notes", token="hf_x")
    assert "/me/notes/commit/" in address
    assert sorted(files["me/notes"]) == ["README.md", "config.json", "model.safetensors"]
    config = json.loads(files["me/notes"]["config.json"])
    (place,) = model.saccade_report.places
    assert config["mechanisms"] == {str(place): "cbam"}
    assert "library_name: saccade" in files["me/notes"]["README.md"].decode()
    again = saccade.from_pretrained("me/notes", cache_dir=tmp_path / "kept")
    assert torch.equal(again.eval()(x), model(x))
    assert saccade.verify(again, expect=1).present == (str(place),)
    kept = saccade.from_pretrained("me/notes", cache_dir=tmp_path / "kept", local_files_only=True)
    assert torch.equal(kept.eval()(x), model(x))


def test_weights_of_another_program_go_into_a_network(files: Files) -> None:
    given = {name: tensor + 1 for name, tensor in NotesNet(5).state_dict().items()}
    files["you/plain"] = {"model.safetensors": save(given)}
    again = saccade.from_pretrained("you/plain", model=NotesNet(5))
    torch.testing.assert_close(dict(again.state_dict()), given, rtol=0, atol=0)
    with pytest.raises(InputError, match="not written by saccade"):
        saccade.from_pretrained("you/plain")


@pytest.mark.parametrize("name", ["me/none", "me/empty", "not a name", "a/b/c"])
def test_what_is_not_there_is_named(files: Files, name: str) -> None:
    files["me/empty"] = {}
    with pytest.raises(InputError, match=f"{name}: ") as caught:
        saccade.from_pretrained(name)
    assert '"user/name"' in str(caught.value.hint)


def test_what_the_hub_refuses_is_said(files: Files) -> None:
    with pytest.raises(InputError, match=r"closed/net: .*403"):
        saccade.push_to_hub(inserted(), "closed/net", token="hf_x")


def test_a_folder_is_written_as_a_repository_and_nothing_of_others_is_replaced(tmp_path: Path) -> None:
    model = inserted()
    folder = saccade.save_pretrained(model, tmp_path / "net")
    card = folder / "README.md"
    card.write_text("mine")
    saccade.save_pretrained(model, folder)
    assert card.read_text() == "mine"
    assert saccade.verify(saccade.from_pretrained(folder), expect=1) == ()
    for text in ("{}", "not json", '["saccade"]'):
        (folder / "config.json").write_text(text)
        with pytest.raises(InputError, match=r"config.json exists, and saccade did not write it"):
            saccade.save_pretrained(model, folder)
        assert (folder / "config.json").read_text() == text
    (folder / "config.json").unlink()
    (folder / "model.safetensors").write_bytes(b"theirs")
    with pytest.raises(InputError, match="exists, and saccade did not write it"):
        saccade.save_pretrained(model, folder)
    assert (folder / "model.safetensors").read_bytes() == b"theirs"
