"""Nonsense on the command line is refused in one sentence before any work, whatever the command and the option."""

import inspect

import pytest

import saccade
from saccade.cli import main
from saccade.cli.app import app
from tests.suites import everyday

NUMBERS = ("-1", "inf", "nan", "99999999999999999999", "1e999", "many", "1,5", "")
TEXTS = ("", "   ")
REQUIRED = {
    "compare": ["photos"],
    "train": ["photos", "--network", "test_resnet"],
    "evaluate": ["photos", "--model", "run"],
    "predict": ["photos", "--model", "run"],
    "look": ["photo.jpg", "--model", "run"],
    "list": [],
    "plan": ["resnet18", "se"],
    "bench": ["se"],
    "report": ["comparison"],
    "data check": ["photos"],
    "data demo": ["folder"],
    "data import": ["photos", "folder"],
}


@pytest.fixture
def run(capsys, monkeypatch, tmp_path):
    """Runs a command line in an empty folder, where whatever is tried before the refusal fails otherwise."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        with pytest.raises(SystemExit) as left:
            main(list(words))
        return left.value.code, capsys.readouterr().err

    return run


def options(command):
    found = app
    for word in command.split():
        found = found[word]
    parameters = inspect.signature(found.default_command).parameters.values()
    named = [one for one in parameters if one.kind is one.KEYWORD_ONLY and one.name != "settings"]
    return {one.name: str(getattr(one.annotation, "__origin__", one.annotation)) for one in named}


def asked(command, option, value):
    words = [*command.split(), *REQUIRED[command]]
    flag = f"--{option.replace('_', '-')}"
    if flag in words:
        del words[words.index(flag) : words.index(flag) + 2]
    return [*words, flag, value]


# What train takes, compare takes as well, but for a handful.
@pytest.mark.parametrize("command", everyday({*REQUIRED} - {"train"}, REQUIRED))
def test_every_option_refuses_nonsense(command, run, tmp_path):
    for option, kind in options(command).items():
        numeric = "int" in kind or "float" in kind
        for value in NUMBERS if numeric else () if "bool" in kind else TEXTS:
            status, said = run(*asked(command, option, value))
            assert status == 2, (option, value, said)
            assert option.replace("_", "-") in said.replace("_", "-"), (option, value, said)
            assert "not foreseen" not in said, (option, value, said)
            assert len(said.strip().splitlines()) in (1, 3), (option, value, said)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train photos --network test_resnet --epochs 0", "epochs must be a number above 0"),
        ("train photos --network test_resnet --steps 1.5", "It must be a whole number"),
        ("train photos --network test_resnet --size 100000", "size must be a whole number from 8 to 16,384"),
        ("train photos --network test_resnet --batch 1000000", "batch must be a whole number from 1 to 65,536"),
        ("train photos --network test_resnet --workers 100000", "workers must be a whole number from 0 to 256"),
        ("train photos --network test_resnet --lr-factor fc.*=-1", "lr_factors must be pairs of a pattern of names"),
        ("train photos --network test_resnet --evaluate-every 0", "evaluate_every must be a whole number from 1"),
        ("train photos --network test_resnet --device mps", "device 'mps'"),
        ("compare photos --device mps", "unknown device 'mps'"),
        ("compare photos --device cuda:99", "device 'cuda:99'"),
        ("train photos --network test_resnet --device meta", "unknown device 'meta'"),
        ("plan resnet18 se --every 0", "must be a whole number from 1"),
        ("bench se --rounds 0", "must be a whole number from 1"),
        ("bench se --plot plot.png/x", "cannot be written"),
        ("data demo folder --train 0", "must be a whole number from 1"),
        ("look photo.jpg --model run --size 0", "must be a whole number from 8"),
    ],
)
def test_what_it_says(words, message, run, tmp_path):
    (tmp_path / "plot.png").touch()
    status, said = run(*words.split())
    assert (status, message in said) == (2, True), said


@pytest.mark.parametrize("within", ["[", "[z-a]", "[]", "(", "layer["])
def test_a_glob_that_is_none(within):
    import timm

    with pytest.raises(saccade.InputError, match="within="):
        saccade.plan(timm.create_model("test_resnet"), "se", within=within)


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] . DefaultCPUAllocator: can't allocate memory")]
)
def test_memory_that_is_used_up_is_foreseen(error, run, monkeypatch):
    def raising(*_, **__):
        raise error

    monkeypatch.setitem(vars(saccade), "compare", raising)
    status, said = run("compare")
    assert status == 2
    assert "out of memory" in said
    assert "smaller --batch or --size" in said
