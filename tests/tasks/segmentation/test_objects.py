"""Objects are those that scipy and scikit-image find; the IoU by bucket is the plain IoU, divided fairly."""

import numpy as np
import pytest
from scipy import ndimage
from skimage import measure
from sklearn.metrics import jaccard_score

from saccade.errors import InputError
from saccade.tasks.segmentation.objects import SIZES, THINNESS, find_objects, iou_by_object, match_objects


def read(*rows):
    """A label map from its rows, `.` for 0 and `x` for ignored pixels."""
    return np.array([[{".": 0, "x": 255}.get(c, c) for c in row] for row in rows]).astype(np.uint8)


def rectangles(n=4, height=40, width=33, classes=5, each=14, seed=0):
    random = np.random.default_rng(seed)
    labels = np.zeros((n, height, width), dtype=np.uint8)
    for one in labels:
        for _ in range(each):
            top, left, h, w = random.integers([height, width, 14, 14])
            one[top : top + h + 1, left : left + w + 1] = random.integers(classes)
    return labels


def noise(n=3, height=37, width=41, classes=2, seed=0):
    return np.random.default_rng(seed).integers(classes, size=(n, height, width), dtype=np.uint8)


def spiral(side=61):
    """One arm of 1 pixel, wound inwards: the longest way from end to end."""
    labels = np.zeros((1, side, side), dtype=np.uint8)
    y = x = 0
    for turn, length in enumerate([side - 1, *(s for s in range(side - 1, 0, -2) for _ in (0, 1))]):
        dy, dx = ((0, 1), (1, 0), (0, -1), (-1, 0))[turn % 4]
        for _ in range(length):
            labels[0, y, x] = 1
            y, x = y + dy, x + dx
    return labels


MAPS = {
    "rectangles": rectangles(),
    "two-class-noise": noise(),  # near the percolation threshold: large ragged components
    "noise": noise(classes=7, seed=1),
    "spiral": spiral(),
    "one-pixel": np.ones((2, 1, 1), dtype=np.uint8),
    "one-row": noise(height=1, seed=2),
    "one-column": noise(width=1, seed=3),
    "one-class": np.full((3, 5, 4), 2, dtype=np.uint8),
}


def components_by_scipy(labels):
    """(n, H, W) numbers of the components, map by map and class by class."""
    numbered, count = np.zeros(labels.shape, dtype=np.int64), 0
    for one, out in zip(labels, numbered, strict=True):
        for c in np.unique(one):
            found, more = ndimage.label(one == c)
            out[found > 0] = found[found > 0] + count
            count += more
    return numbered


@pytest.mark.parametrize("labels", MAPS.values(), ids=MAPS.keys())
def test_objects_are_the_components_of_scipy(labels):
    found = find_objects(labels)
    ours = found.paint(np.arange(len(found.area))).reshape(labels.shape)
    theirs = components_by_scipy(labels)
    pairs = np.unique(np.stack([ours.reshape(-1), theirs.reshape(-1)]), axis=1)
    assert pairs.shape[1] == len(found.area) == theirs.max()  # one of theirs for each of ours, and back
    np.testing.assert_array_equal(found.area, np.bincount(ours.reshape(-1)))
    np.testing.assert_array_equal(found.paint(found.label), labels.reshape(-1))


@pytest.mark.parametrize("labels", MAPS.values(), ids=MAPS.keys())
def test_elongation_is_that_of_the_moments_of_scikit_image(labels):
    found = find_objects(labels)
    numbers = 1 + found.paint(np.arange(len(found.area))).reshape(labels.shape)
    expected = {}
    for one in numbers:
        for region in measure.regionprops(one):
            m = region.moments_central / region.area
            small, large = np.linalg.eigvalsh([[m[2, 0] + 1 / 12, m[1, 1]], [m[1, 1], m[0, 2] + 1 / 12]])
            expected[region.label] = np.sqrt(large / small)
    np.testing.assert_allclose(found.elongation, [expected[i + 1] for i in range(len(expected))], rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("rows", "area", "elongation"),
    [
        (["1"], 1, 1),
        (["11111"], 5, 5),
        (["1", "1", "1"], 3, 3),
        (["111111", "111111"], 12, 3),
        # Variances 1/4 and 1/2, covariance 1/4; with 1/12 on the diagonal the eigenvalues are (11 ± 3 sqrt 5) / 24.
        (["11.", ".11"], 4, np.sqrt((11 + 3 * np.sqrt(5)) / (11 - 3 * np.sqrt(5)))),
    ],
)
def test_shapes_by_hand(rows, area, elongation):
    labels = read(*rows)[None]
    found = find_objects(labels)
    assert found.area[found.label == 1].tolist() == [area]
    assert found.elongation[found.label == 1].tolist() == pytest.approx([elongation], abs=1e-6)


def test_equal_shapes_are_equal_however_they_lie():
    random = np.random.default_rng(0)
    labels, corner = np.zeros((60, 30, 40), dtype=np.uint8), random.integers([20, 30], size=(60, 2))
    blob = np.tri(10, 8, 1)
    for turn, (one, (top, left)) in enumerate(zip(labels, corner, strict=True)):
        turned = np.rot90(blob, turn % 4)
        one[top : top + turned.shape[0], left : left + turned.shape[1]] = turned
    found = find_objects(labels)
    elongation = found.elongation[found.label == 1]
    assert len(elongation) == 60
    assert len(set(elongation.tolist())) == 1


# IoU by size and thinness


def by_object(predictions, labels, classes=5, background=True):
    return iou_by_object(*match_objects(predictions, labels, classes), background=background)


def test_rows_by_hand():
    labels = read("1.111122", "x.......")[None].reshape(1, 2, 8)
    predictions = read("1.111..2", "111....2")[None].reshape(1, 2, 8)
    rows, false = match_objects(predictions, labels, 3)
    assert rows[:, [0, 1, 3]].tolist() == [[1, 1, 1], [0, 8, 5], [1, 4, 3], [2, 2, 1]]
    assert rows[[0, 2, 3], 2].tolist() == [1, 4, 2]
    assert false.tolist() == [2, 2, 1]  # one of the three wrong ones lies on an ignored pixel


def test_buckets_by_hand():
    labels = read(
        "1.22.333",
        "..22.333",
        "1....333",
        "..44444.",
        "xx......",
    )[None]
    size, thinness = by_object(labels, labels)
    # Areas 1 1 4 5 9: one third of five objects is reached by the second, two thirds by the fourth.
    assert size.limits == (1, 5)
    # Elongations 1 1 1 1 5: both limits are 1, and none lies between.
    assert thinness.limits == (1, 1)
    assert size.iou == {"small": 1.0, "medium": 1.0, "large": 1.0}
    assert thinness.iou == {"compact": 1.0, "medium": None, "thin": 1.0}
    assert (tuple(size.iou), tuple(thinness.iou)) == (SIZES, THINNESS)
    predictions = labels.copy()
    predictions[labels == 2] = 4  # of medium size, compact
    size, thinness = by_object(predictions, labels)
    # Class 4: 5 pixels, all found, and 4 false ones.
    assert size.iou == pytest.approx({"small": 1.0, "medium": (0 + 5 / 9) / 2, "large": 1.0})
    assert thinness.iou == {"compact": pytest.approx(2 / 3), "medium": None, "thin": pytest.approx(5 / 9)}


@pytest.mark.parametrize("labels", [MAPS["rectangles"], MAPS["noise"]], ids=["rectangles", "noise"])
def test_buckets_are_thirds_of_the_objects(labels):
    found, limits = find_objects(labels), by_object(labels, labels, 7)[0].limits
    areas = np.sort(found.area[found.label > 0])
    share = [(areas <= limit).mean() for limit in limits]
    strictly = [(areas < limit).mean() for limit in limits]
    assert strictly[0] < 1 / 3 <= share[0]
    assert strictly[1] < 2 / 3 <= share[1]


def test_background_and_ignored_pixels_are_no_objects():
    labels = read("00x", "011", "x23")[None]
    assert by_object(labels, labels)[0].limits == (1, 1)  # 1 1 2
    assert by_object(labels, labels, background=False)[0].limits == (1, 2)  # and 3


@pytest.mark.parametrize("labels", [read("...", "..."), read(".1.", "..x"), read("1.2", "...")], ids=["0", "1", "2"])
def test_fewer_than_three_objects_are_in_no_bucket(labels):
    for found in by_object(labels[None], labels[None]):
        assert found.limits is None
        assert set(found.iou.values()) == {None}


def test_equal_objects_lie_in_the_first_bucket():
    labels = read("1.1.1.1")[None]
    assert by_object(labels, labels)[0].iou == {"small": 1.0, "medium": None, "large": None}


def test_one_bucket_is_the_plain_iou():
    """Objects of one size, so that one bucket has them all."""
    labels = np.kron(np.random.default_rng(0).permutation(4 * 100).reshape(1, 20, 20) % 5, np.eye(2)).astype(np.uint8)
    labels[:, ::2, 1::2] = labels[:, 1::2, ::2] = 255  # each object is one pixel
    labels[:, :3] = 255
    predictions = np.where(np.random.default_rng(1).random(labels.shape) < 0.5, labels, labels[:, ::-1] % 5)
    scored = labels != 255
    predictions[~scored] = 0
    plain = jaccard_score(labels[scored], predictions[scored], average="macro")
    found = by_object(predictions, labels, background=False)
    assert found[0].iou == {"small": pytest.approx(plain, rel=1e-12), "medium": None, "large": None}


def test_what_is_kept_of_batches_adds_up():
    labels, predictions = rectangles(n=6), rectangles(n=6, seed=5)
    parts = [match_objects(predictions[s], labels[s], 5) for s in (slice(0, 2), slice(2, 6))]
    rows, false = (np.concatenate([p[0] for p in parts]), sum(p[1] for p in parts))
    assert iou_by_object(rows, false, background=True) == by_object(predictions, labels)
    assert all(value is not None for found in by_object(predictions, labels) for value in found.iou.values())


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.int32, np.int64])
def test_any_integers_will_do(kind):
    labels, predictions = rectangles(classes=200), rectangles(classes=200, seed=1)
    found = by_object(predictions.astype(kind), labels.astype(kind), 200)
    assert found == by_object(predictions, labels, 200)


@pytest.mark.parametrize(
    ("predictions", "labels", "message"),
    [
        (read("12"), read("13"), "label 3 is none of the 3 classes 0 to 2"),
        (read("19"), read("12"), "prediction 9 is none of the 3 classes"),
        (read("12").astype(np.int64) - 2, read("12"), "prediction -1 is none"),
        (read("12", "12"), read("12"), r"received shape \(1, 1, 2\) of uint8, \(1, 2, 2\)"),
        (read("12"), np.ones((1, 2)), r"expected label maps \(n, H, W\) of integers"),
    ],
)
def test_what_is_wrong_is_named(predictions, labels, message):
    with pytest.raises(InputError, match=message):
        match_objects(predictions[None], labels[None], 3)


def test_one_map_alone_is_refused():
    with pytest.raises(InputError, match=r"expected label maps \(n, H, W\) of integers"):
        match_objects(read("12"), read("12"), 3)
