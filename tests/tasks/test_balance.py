"""Weights of classes, balanced sampling, and scores of rare classes, judged by torch and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, f1_score, jaccard_score
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional as F

from saccade.comparison.statistics import bootstrap_se
from saccade.data import IGNORE
from saccade.errors import InputError
from saccade.networks.losses import HardPixels, pixel_loss
from saccade.networks.segmentation import Segmenter
from saccade.tasks.base import mean_loss
from saccade.tasks.classification.task import Classification
from saccade.tasks.segmentation.task import Segmentation
from saccade.training.balance import BalanceOptions, given_weights
from saccade.training.composition import Balance, balanced_weights, composition, weights_of
from saccade.training.order import Groups, batch_at

WEIGHTS = (0.25, 3.0, 1.5, 0.01)
RNG = np.random.default_rng


def guesses(seed=0, n=60, k=4, absent=2):
    """Classes of which one does not occur though it is guessed, and probabilities."""
    rng = RNG(seed)
    true = rng.choice([c for c in range(k) if c != absent], n, p=[0.7, 0.25, 0.05])
    return true, torch.from_numpy(rng.random((n, k)) + 0.5 * np.eye(k)[true]).softmax(1)


# ---------------------------------------------------------------- scores


def test_scores_of_classification_are_those_of_scikit_learn():
    true, given = guesses()
    task = Classification("abcd").scored_by("macro_f1")
    found = task.scores(task.evidence(given, torch.from_numpy(true)))
    guess = given.argmax(1).numpy()
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        balanced = balanced_accuracy_score(true, guess)
    expected = {"macro_f1": f1_score(true, guess, average="macro"), "accuracy": (true == guess).mean()}
    assert found == pytest.approx(expected | {"balanced_accuracy": balanced})
    assert next(iter(found)) == "macro_f1"


def test_present_classes_of_segmentation():
    """A class that is only predicted counts as 0 in mIoU, and not at all in mIoU_present."""
    rng = RNG(1)
    targets = torch.from_numpy(rng.choice([0, 1, 3, IGNORE], (3, 9, 7)).astype(np.uint8))
    given = torch.from_numpy(rng.integers(0, 4, (3, 9, 7)).astype(np.uint8))
    task, valid = Segmentation("abcd"), targets != IGNORE
    found = task.scores(task.evidence(given, targets))
    each = jaccard_score(targets[valid].numpy(), given[valid].numpy(), average=None, labels=range(4), zero_division=0)
    assert found["mIoU"] == pytest.approx(each.mean())
    assert found["mIoU_present"] == pytest.approx(each[[0, 1, 3]].mean())


@pytest.mark.parametrize("metric", [*Classification.metrics, *Segmentation.metrics])
def test_every_score_is_resampled_as_if_images_were_drawn(metric):
    rng, draws = RNG(2), RNG(3)
    if metric in Classification.metrics:
        task, shape = Classification("abcd").scored_by(metric), (20,)
        given = [guesses(seed, 20)[1] for seed in (4, 5)]
        true = torch.from_numpy(guesses(6, 20)[0])
    else:
        task, shape = Segmentation("abcd").scored_by(metric), (20, 4, 4)
        given = [torch.from_numpy(rng.integers(0, 4, shape).astype(np.uint8)) for _ in range(2)]
        true = torch.from_numpy(rng.choice([0, 1, 3, IGNORE], shape).astype(np.uint8))
    runs = [[task.evidence(one, true)] for one in given]
    found = []
    for _ in range(10):
        drawn = draws.integers(20, size=20)
        scores = [task.score({name: array[drawn] for name, array in run[0].items()}) for run in runs]
        found.append(scores[1] - scores[0])
    assert bootstrap_se(*runs, resampled=task.resampled, draws=10, seed=3) == pytest.approx(np.std(found, ddof=1))
    times = np.bincount(drawn, minlength=20).astype(float)
    assert task.scores(runs[1][0], times)[metric] == pytest.approx(scores[1])


def test_a_chosen_score_is_recorded_with_the_network():
    from saccade.tasks import from_json

    task = Classification("abc", size=8).scored_by("balanced_accuracy")
    assert from_json(task.to_json()).metric == "balanced_accuracy"
    assert Classification("abc").scored_by("accuracy").to_json() == Classification("abc").to_json()
    with pytest.raises(InputError, match="--score balanced_acuracy: no such score of classification") as refused:
        task.scored_by("balanced_acuracy")
    assert "balanced_accuracy" in refused.value.hint
    with pytest.raises(InputError, match="no such score of segmentation"):
        Segmentation("abc").scored_by("accuracy")


# ---------------------------------------------------------------- losses


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_weighted_loss_is_torch_s(smoothing):
    logits, targets = torch.randn(9, 4), torch.tensor([0, 1, 1, 2, 3, 3, 3, 0, 1])
    task = Classification("abcd").fitted(nn.Identity(), label_smoothing=smoothing, class_weights=WEIGHTS)
    expected = nn.CrossEntropyLoss(torch.tensor(WEIGHTS), label_smoothing=smoothing)(logits, targets)
    torch.testing.assert_close(mean_loss(task, logits, targets), expected)
    rare = targets[4:7]  # weights that add up to less than 1 divide as they are
    torch.testing.assert_close(
        mean_loss(task, logits[4:7], rare),
        nn.CrossEntropyLoss(torch.tensor(WEIGHTS), label_smoothing=smoothing)(logits[4:7], rare),
    )


def maps(seed=0):
    torch.manual_seed(seed)
    targets = torch.randint(0, 4, (2, 6, 5)).to(torch.uint8)
    targets[:, 0] = IGNORE
    return torch.randn(2, 4, 6, 5), targets


def test_a_weighted_loss_of_pixels_is_torch_s():
    logits, targets = maps()
    weight = torch.tensor(WEIGHTS)
    expected = F.cross_entropy(logits, targets.long(), weight, ignore_index=IGNORE)
    total, count = pixel_loss(logits, targets, class_weights=weight)
    torch.testing.assert_close(total / count, expected)
    plain = Segmentation("abcd").fitted(nn.Identity(), class_weights=WEIGHTS)
    torch.testing.assert_close(mean_loss(plain, logits, targets), expected)
    net = Segmenter(nn.Identity(), nn.Identity(), weights=(1.0, 0.5))
    task = Segmentation("abcd").fitted(net, class_weights=WEIGHTS)
    torch.testing.assert_close(mean_loss(task, (logits, logits), targets), 1.5 * expected)


def test_hard_pixels_are_averaged_by_their_weights():
    logits, targets = maps()
    weight, hard = torch.tensor(WEIGHTS), HardPixels(0.2, 1)
    plain = F.cross_entropy(logits, targets.long(), ignore_index=IGNORE, reduction="none")
    learned = (plain >= -np.log(0.2)) & (targets != IGNORE)
    each = weight[targets[learned].long()]
    total, count = pixel_loss(logits, targets, hard=hard, class_weights=weight)
    torch.testing.assert_close(total / count, (each * plain[learned]).sum() / each.sum())


@pytest.mark.parametrize("equal", [1.0, 0.3])
def test_equal_weights_change_no_bit(equal):
    logits, targets = maps()
    tasks = [
        (Classification("abcd"), logits[:, :, 1, 1], targets[:, 1, 1].long()), (Segmentation("abcd"), logits, targets)
    ]  # fmt: skip
    for task, outputs, true in tasks:
        found = []
        for weights in (None, [equal] * 4):
            x = outputs.clone().requires_grad_()
            loss = mean_loss(task.fitted(nn.Identity(), class_weights=weights), x, true)
            loss.backward()
            found.append((loss.item(), x.grad))
        assert found[0][0] == found[1][0]
        assert torch.equal(found[0][1], found[1][1])


# ---------------------------------------------------------------- weights


def test_balanced_weights_are_those_of_scikit_learn():
    labels = RNG(0).choice(4, 100, p=[0.6, 0.3, 0.1, 0.0])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    task = Classification("abcd")
    found = composition(task, labels.__getitem__, len(labels))
    np.testing.assert_allclose(balanced_weights(found.counts), [*expected, 1.0])
    assert weights_of("balanced", task, lambda: found) == pytest.approx([*expected, 1.0])


def test_pixels_are_counted():
    masks = RNG(1).choice([0, 0, 0, 1, IGNORE], (5, 6, 6)).astype(np.uint8)
    masks[3] = 0
    found = composition(Segmentation("abc"), masks.__getitem__, 5, in_threads=True)
    assert found.counts.tolist() == [(masks == 0).sum(), (masks == 1).sum(), 0]
    assert [group.tolist() for group in found.groups.members] == [[0, 1, 2, 3, 4], [0, 1, 2, 4]]


@pytest.mark.parametrize(
    "text", ["cat,2.5\ndog,1", "\ufeffclass;weight\ncat;2.5\ndog;1\n\n", 'Class\tWeight\ncat\t2.5\r\n"dog"\t1\n']
)
def test_weights_are_read_from_a_file(text, tmp_path):
    path = tmp_path / "weights.csv"
    path.write_bytes(text.encode())
    assert given_weights(path) == {"cat": 2.5, "dog": 1.0} == given_weights("cat=2.5,dog=1")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cat,2\ncat,3", "line 2: class 'cat' has two weights"),
        ("cat,2\ndog,-1", "line 2: the weight of class 'dog' must be a number above 0; received '-1'"),
        ("cat,2\ndog,inf", "must be a number above 0; received 'inf'"),
        ("cat,two\ndog,1", "line 1: the weight of class 'cat' must be a number"),
        ("cat\ndog", "line 1: expected CLASS,WEIGHT; received 'cat'"),
        ("class,weight", "no class has a weight"),
    ],
)
def test_a_file_of_weights_that_says_something_else_is_refused(text, message, tmp_path):
    path = tmp_path / "weights.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        BalanceOptions(class_weights=path)


def test_every_class_needs_one_weight():
    task = Classification(("cat", "dog"))
    with pytest.raises(InputError, match="dog without a weight; dogs not among the classes") as refused:
        Balance.decide(BalanceOptions(class_weights="cat=1,dogs=2"), task, lambda: pytest.fail("nothing to read"))
    assert "dog" in refused.value.hint
    with pytest.raises(InputError, match="no such file"):
        BalanceOptions(class_weights="balance")


def test_the_command_line_of_weights_is_read_back():
    given = {"cat": 2.0, "a, b": 1.5, "x=y": 1e-7}
    words = BalanceOptions(class_weights=given).words()
    assert words[0] == "--class-weights"
    assert given_weights(words[1]) == given


# ---------------------------------------------------------------- order


def drawn(groups, count=100, epochs=3, seed=0, batch=10):
    return [
        batch_at(step, count=count, batch=batch, seed=seed, groups=groups) for step in range(epochs * count // batch)
    ]


def test_every_class_is_drawn_equally_often_and_its_images_in_turn():
    labels = np.repeat([0, 1, 2], [80, 17, 3])
    groups = Groups.of([np.flatnonzero(labels == k) for k in range(3)])
    indices = np.concatenate([part[0] for part in drawn(groups)])
    counts = np.bincount(labels[indices])
    assert counts.max() - counts.min() <= 3  # one in each epoch
    times = np.bincount(indices[:100], minlength=100)
    for k in range(3):
        assert np.ptp(times[labels == k]) <= 1
    assert (times[labels == 0] <= 1).all()


def test_the_order_by_groups_depends_on_seed_and_step_alone():
    groups = Groups.of([np.arange(7), np.arange(5, 30)])
    first, again = (drawn(groups, 30, batch=6), drawn(Groups(groups.members), 30, batch=6)[::-1])
    for (indices, positions), (same, others) in zip(first, again[::-1], strict=True):
        np.testing.assert_array_equal(indices, same)
        np.testing.assert_array_equal(positions, others)
    positions = np.concatenate([part[1] for part in first])
    assert positions.tolist() == list(range(90))  # no crop is seen twice, though images are
    assert any((a[0] != b[0]).any() for a, b in zip(first, drawn(groups, 30, seed=1, batch=6), strict=True))


def test_images_of_several_classes_and_of_none_are_in_groups():
    masks = np.array([[[0, 1]], [[0, 0]], [[IGNORE, IGNORE]]], dtype=np.uint8)
    found = composition(Segmentation("ab"), masks.__getitem__, 3)
    assert [group.tolist() for group in found.groups.members] == [[0, 1], [0], [2]]
    assert found.counts.tolist() == [3, 1]
