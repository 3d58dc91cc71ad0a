"""Import paths: followed where the user names them, never because a file mentions them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from saccade.catalog import imported, imports, is_import_path, mentioned_in, name_code, parse
from saccade.catalog.imports import accept, hand_on, path_of
from saccade.cli import main
from saccade.errors import InputError
from tests.catalog.code import own_code, write_code

__all__ = ["own_code"]
MIXER = "my_package.blocks:Mixer"


@pytest.mark.parametrize("text", [MIXER, "a:b", f"{MIXER}[kernel_size=5]", "a.b:C.d", " a:b "])
def test_is_an_import_path(text: str) -> None:
    assert is_import_path(text)


@pytest.mark.parametrize(
    "text", ["se", "stage:-1", "hf-hub:timm/resnet18", "before:layer1.*", "a:", ":b", "a:b:c", None]
)
def test_is_not_an_import_path(text: object) -> None:
    assert not is_import_path(text)


def test_a_path_is_imported_once_it_was_named(own_code: Path) -> None:
    with pytest.raises(InputError, match=f"{MIXER}: code that is not part of saccade is imported only if you name"):
        imported(MIXER)
    assert "my_package.blocks" not in sys.modules
    name_code(MIXER)
    assert imported(MIXER).__name__ == "Mixer"


def test_what_a_file_mentions_is_not_imported_unless_it_is_trusted(own_code: Path) -> None:
    with mentioned_in("net.safetensors"):
        with pytest.raises(InputError, match=rf"net.safetensors needs code .* {MIXER}[\s\S]*trust=\['{MIXER}'\]"):
            parse(MIXER)
        assert "my_package" not in sys.modules
    with pytest.raises(InputError, match="only if you name it"):  # nor has the file named it
        imported(MIXER)
    with mentioned_in("net.safetensors", trust=MIXER):
        trusted = parse(f"{MIXER}[kernel_size=5]").entry.load()
    assert path_of(trusted) == MIXER
    with mentioned_in("net.safetensors"), pytest.raises(InputError, match="needs code"):  # of that file only
        parse(MIXER)
    with mentioned_in("net.safetensors", trust=[trusted]):
        assert parse(MIXER).entry.load() is trusted
    with mentioned_in("net.safetensors"):
        assert parse("se[reduction=8]").entry.name == "se"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("no_such_package.blocks:Mixer", "module 'no_such_package' does not exist"),
        ("my_package.block:Mixer", "module 'my_package.block' does not exist"),
        ("my_package.blocks:Mixr", r"my_package.blocks has no 'Mixr'\nhint: did you mean Mixer"),
        ("my_package.blocks:number", "expected a class or a function; received int"),
        ("my_package.failing:Mixer", "importing my_package.failing raised RuntimeError: not today"),
        ("my_package.needing:Mixer", "importing my_package.needing failed, since a_package_that_nobody_has is"),
        ("my-package.blocks:Mixer", "'my-package.blocks:Mixer' is not an import path"),
    ],
)
def test_what_is_wrong_with_a_path_is_said(own_code: Path, path: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(path)


def test_options_are_those_of_the_signature(own_code: Path) -> None:
    assert parse(f"{MIXER}[kernel_size=5]").options == {"kernel_size": 5}
    with pytest.raises(InputError, match=r"unknown option 'size'[\s\S]*kernel_size"):
        parse({"name": MIXER, "size": 5})


def test_another_process_finds_the_module_where_this_one_did(own_code: Path) -> None:
    path = "my_package.light:Light"
    name_code(path)
    imported(path)
    handed = hand_on([path])
    assert handed == {path: str(own_code)}
    code = f"from saccade.catalog.imports import accept, imported; accept({handed!r}); print(imported({path!r}))"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, cwd="/")
    assert re.search(r"class 'my_package\.light\.Light'", done.stdout), done.stderr
    accept({"nowhere:Block": None})
    with pytest.raises(InputError, match="module 'nowhere' does not exist"):
        imported("nowhere:Block")


def test_the_command_line_finds_code_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """First for the import itself, then last: a file of the user's may be called like one of Python's own."""
    folder = write_code(tmp_path / "here", "local_package")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(imports, "_named", {})
    monkeypatch.setattr(imports, "_searched", {"here": False})
    words = ["plan", "local_package.nets:make[width=16]", "local_package.blocks:Mixer[kernel_size=5]"]
    with pytest.raises(SystemExit) as left:
        main(words)
    out, said = capsys.readouterr()
    assert left.value.code == 0, said
    assert "local_package.blocks:Mixer[kernel_size=5]" in out
    assert "block.bn2" in out
    assert sys.path.index(str(folder)) == len(sys.path) - 1
    with pytest.raises(SystemExit) as left:
        main([*words[:2], "local_package.block:Mixer"])
    assert left.value.code == 2
    assert f"it was looked for in {folder} and among the installed packages" in capsys.readouterr().err
