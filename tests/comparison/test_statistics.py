"""The rule claims what it may: held to least squares, scipy, plain loops, and thousands of simulated tables."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
from scipy import stats

from saccade.comparison.statistics import bootstrap_se, differences, holm, images_to_show, judge, mean_interval
from saccade.errors import InputError
from saccade.tasks.ratios import score, scores
from tests.suites import everyday


def random_counts(*shape, seed=0):
    """Counts of classes of which some are missing in most images, as in real label maps."""
    random = np.random.default_rng(seed)
    union = random.integers(0, 60, size=shape) * (random.random(shape) < 0.4)
    return np.stack([random.binomial(union, 0.7), union], axis=-1)


def plain_score(counts):
    ratios = []
    for k in range(counts.shape[1]):
        above, below = sum(counts[:, k, 0].tolist()), sum(counts[:, k, 1].tolist())
        if below > 0:
            ratios.append(above / below)
    return sum(ratios) / len(ratios)


# score


def test_score_sums_over_images_and_leaves_out_absent_classes():
    counts = np.array([[[1, 2], [0, 0], [3, 3]], [[1, 6], [0, 0], [0, 1]]])  # class 1 occurs nowhere
    assert score(counts) == pytest.approx((2 / 8 + 3 / 4) / 2)


def test_score_counts_a_class_that_is_never_right():
    assert score(np.array([[[4, 4], [0, 5]]])) == 0.5


def test_accuracy_is_the_share_of_right_answers():
    counts = np.stack([np.array([1, 0, 1, 1, 0]), np.ones(5, dtype=np.int64)], axis=-1)[:, None]
    assert score(counts) == pytest.approx(3 / 5)


def test_scores_are_the_scores_of_each_run():
    counts = random_counts(2, 3, 20, 7)
    expected = [[plain_score(run) for run in runs] for runs in counts]
    np.testing.assert_allclose(scores(counts), expected, rtol=1e-14)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.zeros((3, 2, 2), dtype=np.int64), "nothing to score"),
        (np.zeros((3, 2), dtype=np.int64), r"received shape \(3, 2\)"),
        (np.ones((4, 3, 2, 2), dtype=np.int64), r"of one run; received shape \(4, 3, 2, 2\)"),
        (np.ones((3, 2, 4), dtype=np.int64), r"received shape \(3, 2, 4\)"),
    ],
)
def test_score_names_what_is_wrong(counts, message):
    with pytest.raises(InputError, match=message):
        score(counts)


# bootstrap_se


@pytest.mark.parametrize(("images", "classes"), [(40, 5), (1500, 1)])
def test_bootstrap_agrees_with_a_plain_loop(images, classes):
    control, arm = random_counts(3, images, classes, seed=1), random_counts(3, images, classes, seed=2)
    random, found = np.random.default_rng(7), []
    for _ in range(20):
        drawn = random.integers(images, size=images)
        found.append(
            np.mean([plain_score(a[drawn]) - plain_score(c[drawn]) for c, a in zip(control, arm, strict=True)])
        )
    assert bootstrap_se(control, arm, draws=20, seed=7) == pytest.approx(np.std(found, ddof=1), rel=1e-12)


def test_bootstrap_of_an_accuracy_is_its_standard_error():
    random = np.random.default_rng(0)
    correct = (random.random((2, 1, 800)) < np.array([0.6, 0.7])[:, None, None]).astype(np.int64)
    control, arm = np.stack([correct, np.ones_like(correct)], axis=-1)[..., None, :]
    expected = np.std(correct[1] - correct[0]) / math.sqrt(800)
    assert bootstrap_se(control, arm, draws=4000) == pytest.approx(expected, rel=0.05)


def test_bootstrap_of_equal_or_single_images_is_0():
    counts = random_counts(2, 30, 4)
    assert bootstrap_se(counts, counts) == 0
    assert bootstrap_se(random_counts(2, 1, 4, seed=3), random_counts(2, 1, 4, seed=4)) == pytest.approx(0, abs=1e-15)


def test_bootstrap_copes_with_draws_that_hold_no_class():
    counts = np.zeros((1, 6, 1, 2), dtype=np.int64)
    counts[0, 0, 0] = [1, 4]  # a third of the draws miss the only image that counts
    assert 0 < bootstrap_se(np.zeros_like(counts), counts) < 0.25


@pytest.mark.parametrize("shape", [(2, 9, 4, 2), (3, 10, 4, 2), (2, 10, 4), (0, 10, 4, 2)])
def test_bootstrap_names_what_is_wrong(shape):
    with pytest.raises(InputError, match=r"the same numbers of seeds|one run"):
        bootstrap_se(np.ones((2, 10, 4, 2), dtype=np.int64), np.ones(shape, dtype=np.int64))
    with pytest.raises(InputError, match="`draws` must be at least 2; received draws=1"):
        bootstrap_se(random_counts(2, 10, 4), random_counts(2, 10, 4), draws=1)


# mean_interval


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
def test_mean_interval_agrees_with_scipy(seeds, level):
    values = np.random.default_rng(seeds).normal(0.7, 0.01, size=seeds)
    mean, low, high = mean_interval(values, level)
    expected = stats.t.interval(level, seeds - 1, values.mean(), stats.sem(values))
    assert (mean, low, high) == pytest.approx((values.mean(), *expected), rel=1e-12)


def test_mean_interval_of_one_seed_has_no_bounds():
    assert mean_interval([0.25]) == (0.25, None, None)


@pytest.mark.parametrize("values", [[], [0.5, math.nan], [[0.1, 0.2]]])
def test_mean_interval_refuses_what_is_no_score(values):
    with pytest.raises(InputError, match="at least one finite score"):
        mean_interval(values)


# holm


def closed_test(p, level):
    """Holm's procedure as a closed test: reject i if Bonferroni rejects every set of hypotheses that holds i."""
    k = len(p)
    subsets = [s for size in range(1, k + 1) for s in itertools.combinations(range(k), size)]
    return [all(min(p[j] for j in s) <= level / len(s) for s in subsets if i in s) for i in range(k)]


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_holm_is_the_closed_bonferroni_test(k):
    random = np.random.default_rng(k)
    p = random.random((200, k)) * random.choice([0.02, 0.1, 1], size=(200, k))
    assert holm(p, 0.05).tolist() == [closed_test(row, 0.05) for row in p]
    assert 0.1 < holm(p, 0.05).mean() < 0.9


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        ([0.01, 0.04, 0.03], [True, False, False]),  # 0.03 > 0.05 / 2 stops it, though 0.04 <= 0.05 / 1
        ([0.04, 0.01, 0.025], [True, True, True]),
        ([0.02, 0.001], [True, True]),
        ([0.03, 0.03], [False, False]),
        ([0.05], [True]),
    ],
)
def test_holm_by_hand(p, expected):
    assert holm(p, 0.05).tolist() == expected


# the rule


def residual_sd_by_least_squares(table):
    """Fit score = arm + seed with one column for each, and share the squared misfit by what is left free."""
    arms, seeds = table.shape
    design = np.zeros((arms * seeds, arms + seeds))
    for row, (arm, seed) in enumerate(itertools.product(range(arms), range(seeds))):
        design[row, arm] = design[row, arms + seed] = 1
    coefficients, _, rank, _ = np.linalg.lstsq(design, table.reshape(-1))
    misfit = table.reshape(-1) - design @ coefficients
    return math.sqrt(np.square(misfit).sum() / (arms * seeds - rank))


@pytest.mark.parametrize("test_se", [0.0, 0.004], ids=["seeds-only", "with-test-images"])
@pytest.mark.parametrize(("k", "n"), [(1, 3), (2, 3), (3, 5), (8, 4)])
def test_the_rule_written_out(k, n, test_se):
    random = np.random.default_rng(10 * k + n)
    table = 0.7 + 0.01 * random.standard_normal((k + 1, n)) + 0.05 * random.standard_normal(n)
    table[1:] += 0.02 * np.arange(k)[:, None]  # from no difference to a plain one
    table[-1] += 0.02 * random.standard_normal(n)  # an arm that spreads more than the others
    p, found = [], differences(table, test_se)
    pooled = residual_sd_by_least_squares(table)
    for row, answer in zip(table[1:], found, strict=True):
        d = row - table[0]
        s = max(pooled, np.std(d, ddof=1) / math.sqrt(2))
        se = math.sqrt(2 * s**2 / n + test_se**2)
        half = stats.t.ppf(1 - 0.025 / k, k * (n - 1)) * se
        p.append(2 * stats.t.sf(abs(d.mean()) / se, k * (n - 1)))
        assert answer.mean == pytest.approx(d.mean(), rel=1e-12)
        assert answer.interval == pytest.approx((d.mean() - half, d.mean() + half), rel=1e-9)
        assert answer.p == pytest.approx(p[-1], rel=1e-8)
    claims = [answer.verdict != "can't tell" for answer in found]
    assert claims == closed_test(p, 0.05)


def test_a_table_by_hand():
    # Less seed and arm means, in hundredths: 0 0 0, -1 1 0, 1 -1 0. Squares 4 over 2 (3 - 1) degrees: s_pool = 1.
    # s_own = 1 / sqrt 2 for both arms, so se^2 = 2 / 3. t = 3 / se, t^2 = 13.5; with 4 degrees of freedom
    # p = 1 - sin(a) (1 + cos(a)^2 / 2) with tan(a) = t / 2: 0.0213, under 0.05 / 2. The factor t(0.9875, 4) is 3.4954.
    first, second = differences([[0.50, 0.60, 0.70], [0.52, 0.64, 0.73], [0.51, 0.59, 0.70]])
    assert (first.mean, second.mean) == pytest.approx((0.03, 0))
    assert (first.p, second.p) == pytest.approx((0.021312, 1), rel=1e-4)
    assert first.interval == pytest.approx((0.03 - 0.02854, 0.03 + 0.02854), abs=1e-5)
    assert second.interval == pytest.approx((-0.02854, 0.02854), abs=1e-5)
    assert (first.verdict, second.verdict) == ("better", "can't tell")


@pytest.mark.parametrize("n", [3, 5])
def test_one_arm_is_the_paired_t_test(n):
    table = np.random.default_rng(n).normal(0.7, 0.01, size=(2, n))
    found = differences(table)[0]
    expected = stats.ttest_rel(table[1], table[0])
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    assert found.interval == pytest.approx(tuple(expected.confidence_interval(0.95)), rel=1e-9)


def test_verdicts_follow_the_sign():
    control = np.array([0.60, 0.61, 0.62, 0.63])
    noise = 0.001 * np.array([1, -1, 1, -1])
    found = differences([control, control + 0.1 + noise, control - 0.1 - noise, control + noise])
    assert [d.verdict for d in found] == ["better", "worse", "can't tell"]
    assert [d.reason for d in found] == [None, None, None]


def test_the_test_images_can_take_a_claim_back():
    table = np.array([[0.60, 0.61, 0.62], [0.64, 0.65, 0.661]])
    assert differences(table)[0].verdict == "better"
    assert differences(table, test_se=[0.03])[0].verdict == "can't tell"


def test_judge_takes_many_tables_as_one():
    tables = np.random.default_rng(3).normal(size=(5, 4, 3))
    together = judge(tables)
    for i, table in enumerate(tables):
        for field in dataclasses.fields(together):
            np.testing.assert_array_equal(getattr(together, field.name)[i], getattr(judge(table), field.name))


# special tables


def test_identical_runs_are_named_and_leave_the_others_as_they_were():
    table = np.array([[0.61, 0.62, 0.64], [0.61, 0.62, 0.64], [0.65, 0.66, 0.67]])
    same, other = differences(table, [0.0, 0.001], identical=[True, False])
    assert dataclasses.astuple(same) == (0.0, (0.0, 0.0), None, "can't tell", "identical runs")
    assert other == differences(table[[0, 2]], 0.001)[0]


@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_a_table_of_identical_runs(seeds):
    found = differences(np.full((3, seeds), 0.7), identical=[True, True])
    assert [(d.interval, d.p, d.verdict, d.reason) for d in found] == [
        ((0, 0), None, "can't tell", "identical runs")
    ] * 2


def test_a_tie_of_scores_is_not_called_identical():
    table = np.array([[0.625, 0.75, 0.625]] * 2 + [[0.75, 0.75, 0.875]])
    tie, other = differences(table, 0.04, images=24)
    assert (tie.mean, tie.p, tie.verdict, tie.reason) == (0.0, None, "can't tell", "same score on every seed")
    assert tie.interval == pytest.approx((-judge(table, 0.04).half_width[0], judge(table, 0.04).half_width[0]))
    assert other.mean - other.interval[0] >= tie.interval[1]  # it counts among the arms, as those that do not tie


@pytest.mark.parametrize("images", [1, 12, 1000])
def test_where_no_image_tells_arms_apart_the_interval_is_that_of_the_images(images):
    """The largest share of discordant images that leaves a chance of 2.5% to draw `images` without one."""
    tie = differences(np.full((2, 3), 0.5), images=images)[0]
    assert stats.binom.pmf(0, images, tie.interval[1]) == pytest.approx(0.025)
    assert tie.interval[0] == -tie.interval[1]
    assert differences(np.full((2, 3), 0.5))[0].interval is None  # nothing is known of the images


@pytest.mark.parametrize("arms", [1, 4])
def test_images_that_a_difference_needs_to_show(arms):
    """The sign test rejects when an arm is right where the control is wrong, on 2% of the images, and never wrong."""
    images = images_to_show(0.02, arms)
    discordant = round(0.02 * images)
    assert stats.binomtest(discordant, discordant).pvalue <= 0.05 / arms
    assert stats.binomtest(discordant - 1, discordant - 1).pvalue > 0.05 / arms


def test_one_seed_never_makes_a_claim():
    found = differences([[0.1], [0.9], [0.4]])
    assert [(d.mean, d.interval, d.p) for d in found] == [
        (pytest.approx(0.8), None, None),
        (pytest.approx(0.3), None, None),
    ]
    assert {(d.verdict, d.reason) for d in found} == {("can't tell", "fewer than 3 seeds")}


def test_two_seeds_show_an_interval_and_make_no_claim():
    found = differences([[0.1, 0.11], [0.9, 0.911]])[0]
    assert found.interval[0] > 0.5
    assert (found.p, found.verdict, found.reason) == (None, "can't tell", "fewer than 3 seeds")


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_a_constant_difference_without_any_spread_is_no_claim(seeds):
    control = np.linspace(0.1, 0.7, seeds)
    found = differences([control, control + 0.1])[0]  # the sums round differently: a spread of 1e-17
    assert (found.interval, found.p, found.verdict) == (None, None, "can't tell")
    assert found.reason == "no spread to judge by"


def test_a_constant_difference_with_spread_over_images_is_a_claim():
    control = np.array([0.5, 0.25, 0.75])
    assert differences([control, control + 0.125], test_se=0.01)[0].verdict == "better"


@pytest.mark.parametrize(
    ("arms", "seeds", "scale"),
    everyday([(1, 1, 1.0), (1, 3, 1e-12), (2, 2, 1e12)], itertools.product([1, 2, 4], [1, 2, 3], [1e-12, 1.0, 1e12])),
)
def test_every_number_is_a_number(arms, seeds, scale):
    values = itertools.product([0.0, 0.5 * scale, scale], repeat=min(6, (arms + 1) * seeds))
    for chosen in itertools.islice(values, 0, None, 5):
        found = differences(np.resize(chosen, (arms + 1, seeds)))
        json.dumps([dataclasses.asdict(d) for d in found], allow_nan=False)


@pytest.mark.parametrize(
    ("arm", "seed", "value", "message"),
    [
        (0, 2, math.nan, r"the control \(row 0\) in seed 2 .* is nan"),
        (2, 1, math.inf, r"arm 2 \(row 2\) in seed 1 .* is inf"),
    ],
)
def test_a_score_that_is_no_number_is_named(arm, seed, value, message):
    table = np.full((3, 4), 0.5)
    table[arm, seed] = value
    with pytest.raises(InputError, match=message):
        differences(table)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        ([[0.1, 0.2]], {}, r"received shape \(1, 2\)"),
        ([0.1, 0.2], {}, r"received shape \(2,\)"),
        (np.zeros((2, 0)), {}, r"received shape \(2, 0\)"),
        (np.eye(3), {"test_se": [0.1, 0.1, 0.1]}, "must be one number or 2"),
        (np.eye(3), {"test_se": -0.1}, "at least 0"),
        (np.eye(3), {"test_se": math.nan}, "all finite"),
        (np.eye(3), {"level": 1.5}, "received level=1.5"),
    ],
)
def test_differences_names_what_is_wrong(table, options, message):
    with pytest.raises(InputError, match=message):
        differences(table, **options)


# thousands of tables


def simulated(k, n, tables=4000, seed_sd=1.0):
    """Runs that do not differ: equal Gaussian residuals of deviation 1 beside what a seed does to all its runs."""
    random = np.random.default_rng([k, n])
    return 20 + random.standard_normal((tables, k + 1, n)) + seed_sd * random.standard_normal((tables, 1, n))


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("k", [3, 8])
def test_at_most_5_percent_of_tables_hold_a_wrong_claim(k, n):
    wrong = judge(simulated(k, n)).claim.any(axis=1).mean()
    assert 0.015 < wrong <= 0.05


@pytest.mark.parametrize("k", [3, 8])
def test_intervals_cover_together(k):
    judged = judge(simulated(k, 3))
    assert (np.abs(judged.mean) <= judged.half_width).all(axis=1).mean() >= 0.95


def test_five_seeds_find_a_difference_of_three_residual_deviations():
    tables = simulated(3, 5)
    tables[:, 1] += 3
    assert judge(tables).claim[:, 0].mean() >= 0.9


@pytest.mark.parametrize(("n", "expected"), [(3, 0.72), (5, 0.98)])
def test_power_at_three_deviations_of_a_run(n, expected):
    shared = 0.28  # correlation of two runs of one seed, as measured on the demo
    tables = simulated(3, n, seed_sd=math.sqrt(shared / (1 - shared)))
    tables[:, 1] += 3 / math.sqrt(1 - shared)
    judged = judge(tables)
    assert judged.claim[:, 0].mean() == pytest.approx(expected, abs=0.03)
    assert (judged.mean[:, 0][judged.claim[:, 0]] > 0).all()


def test_the_shipped_verdicts_are_those_of_the_simulation():
    tables = simulated(3, 3, tables=60)
    tables[:, 1] += 4
    for table, claims in zip(tables, judge(tables).claim, strict=True):
        assert [d.verdict != "can't tell" for d in differences(table)] == claims.tolist()
