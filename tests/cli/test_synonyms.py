"""Options as other tools call them: understood where one of ours is the same, else answered with what to do."""

import inspect

import pytest

import saccade
from saccade.cli import main
from saccade.cli.app import app, ours
from saccade.synonyms import HINTS, SYNONYMS, hint_for

COMMANDS = ("compare", "train", "evaluate", "predict", "export", "look", "plan")
TRAIN = "train photos --network resnet18"


def options(command):
    return set(inspect.signature(app[command].default_command).parameters) - {"settings"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (f"{TRAIN} --lr 0.1", f"{TRAIN} --learning-rate 0.1"),
        ("compare photos --lr 0.1", "compare photos --learning-rate 0.1"),
        (f"{TRAIN} --lr=0.1", f"{TRAIN} --learning-rate=0.1"),
        (f"{TRAIN} --opt momentum --wd 1e-4 --sched cosine",
         f"{TRAIN} --optimizer momentum --weight-decay 1e-4 --schedule cosine"),
        (f"{TRAIN} --optimiser lamb", f"{TRAIN} --optimizer lamb"),
        (f"{TRAIN} --precision bf16 --batch_size 8 --img-size 64", f"{TRAIN} --amp bf16 --batch 8 --size 64"),
        ("train photos -a resnet18 -b 8 -j 2", "train photos --network resnet18 --batch 8 --workers 2"),
        (f"{TRAIN} --imgsz 64 --output_dir there", f"{TRAIN} --size 64 --out there"),
        (f"{TRAIN} --epochs 3 --clip-grad 1 --smoothing 0.1", f"{TRAIN} --epochs 3 --clip 1 --label-smoothing 0.1"),
        ("compare photos -a resnet50 -j 2 -b 4", "compare photos --backbone resnet50 --jobs 2 --batch 4"),
        ("evaluate photos --weights runs/a -b 4", "evaluate photos --model runs/a --batch 4"),
        ("predict a.jpg --ckpt runs/a", "predict a.jpg --model runs/a"),
        ("plan resnet18 se --at -1", "plan resnet18 se --at -1"),
        (f"{TRAIN} --lr-factor backbone=0.1", f"{TRAIN} --lr-factor backbone=0.1"),
        ("train -- --lr", "train -- --lr"),
        ("list --lr", "list --lr"),
    ],
)  # fmt: skip
def test_words_that_mean_one_of_ours(typed, meant):
    assert ours(typed.split()) == meant.split()


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        (f"{TRAIN} --resume", "run the same command again"),
        ("compare --resume", "run the same command again"),
        ("train photos --model resnet18", "the network to train is --network NAME"),
        ("compare photos --model resnet18", "the network to compare on is --backbone NAME"),
        (f"{TRAIN} --num-classes 7", "the number of classes follows from the folder"),
        (f"{TRAIN} --project runs --name first", "--out names the folder"),
        ("train --data photos", "right after the command: saccade train DATA"),
        (f"{TRAIN} --warmup-epochs 5", "--warmup is a fraction of the steps"),
        (f"{TRAIN} --weights yolo.pt", "weights to start from are --pretrained PATH"),
        (f"{TRAIN} --gpus 4", "torchrun --nproc-per-node=4"),
        (f"{TRAIN} --fp16", "--amp takes bf16 or fp16"),
        ("evaluate photos --model runs/a --tta", "--protocol multi-scale"),
    ],
)
def test_words_without_an_equal_say_what_to_do(typed, hint, capsys):
    with pytest.raises(SystemExit) as left:
        main(typed.split())
    printed = capsys.readouterr()
    assert (left.value.code, printed.out) == (2, "")
    assert printed.err.startswith(f"error: saccade {typed.split()[0]} has no option -")
    assert hint in printed.err.partition("\n\nhint: ")[2]


def test_options_without_dashes_are_written_with_them(capsys):
    with pytest.raises(SystemExit) as left:
        main(["train", "photos", "imgsz=64"])
    assert left.value.code == 2
    expected = "error: saccade train: options begin with dashes; received 'imgsz=64'\n\nhint: write --size 64\n"
    assert capsys.readouterr().err == expected


def test_the_call_in_python_understands_them_too(tmp_path):
    with pytest.raises(saccade.InputError, match="train: 'optimizer' is given twice, the other time as 'opt'"):
        saccade.train(tmp_path, "test_resnet", optimiser="adamw", opt="lamb")
    with pytest.raises(saccade.InputError, match="run the same command again"):
        saccade.train(tmp_path, "test_resnet", resume=True)


@pytest.mark.parametrize("name", SYNONYMS)
def test_every_name_in_the_table_is_an_option(name):
    assert any(name in options(command) for command in COMMANDS), f"{name} is an option of no command"


@pytest.mark.parametrize("words", HINTS)
def test_every_hint_is_reached(words):
    """Through some command each word says what to do, or stands for one of our options there."""
    for word in words.split():
        assert any(hint_for(word, command) == hint_of(words, command) for command in COMMANDS), word


def hint_of(words, command):
    hint = HINTS[words]
    return (hint if isinstance(hint, str) else hint.get(command, "")).replace("{command}", command)
