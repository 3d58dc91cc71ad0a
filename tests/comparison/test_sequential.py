"""Seeds in stages: the rule at every stage, stopping, and thousands of simulated tables."""

import dataclasses
import itertools

import numpy as np
import pytest
from benchmarks.sequential import CHANCES, IMAGES, compare, draw

from saccade import InputError
from saccade.comparison.sequential import Plan, plan_for, scale_for, stages_of, walk
from saccade.comparison.statistics import judge

PLAN = Plan(seeds=5, arms=3, stages=(2, 3, 4, 5), levels=(0.0, 0.3, 0.3, 1.0))


def some_tables(count=200, arms=3, effect=2.0, seed=0):
    return draw(CHANCES[0], np.linspace(0, effect, arms), 5, count, np.random.default_rng(seed))


def test_a_single_stage_is_the_rule_itself():
    """With all seeds at once and the whole level, nothing else is left of the stages."""
    tables = some_tables()
    found = walk(tables, Plan(seeds=5, arms=3, stages=(5,), levels=(1.0,)), 0.3)
    expected = judge(tables, 0.3)
    np.testing.assert_array_equal(found.claim, np.where(expected.claim, np.sign(expected.mean), 0))
    for name in ("mean", "p", "half_width"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-9)
    assert not found.open.any()
    assert 0.2 < (found.claim != 0).mean() < 0.8


def deviation_by_least_squares(table):
    """Fit arm + seed to the scores that are there, with one column for each."""
    rows = [(arm, seed) for arm, seed in itertools.product(*map(range, table.shape)) if not np.isnan(table[arm, seed])]
    design = np.zeros((len(rows), sum(table.shape)))
    for row, (arm, seed) in enumerate(rows):
        design[row, arm] = design[row, table.shape[0] + seed] = 1
    values = np.array([table[one] for one in rows])
    coefficients, _, rank, _ = np.linalg.lstsq(design, values)
    df = len(rows) - rank
    return np.sqrt(np.square(values - design @ coefficients).sum() / df), df


def test_the_deviation_of_arms_that_stop_at_different_stages_is_that_of_least_squares():
    """The last of three arms is judged at 5 seeds after the others stopped at 3 and 4, one of them by a claim."""
    from scipy import stats

    tables, checked = some_tables(1000, effect=3.0), 0
    every = walk(tables, PLAN)
    for table in tables[(np.sort(every.seeds) == [3, 4, 5]).all(axis=1) & every.claim.any(axis=1)][:12]:
        found = walk(table, PLAN)
        last = int(np.argmax(found.seeds))
        used = table.copy()
        for arm, count in enumerate(found.seeds):
            used[arm + 1, count:] = np.nan
        pooled, df = deviation_by_least_squares(used)
        d = table[last + 1] - table[0]
        se = max(pooled, d.std(ddof=1) / np.sqrt(2)) * np.sqrt(2 / 5)
        assert found.p[last] == pytest.approx(2 * stats.t.sf(abs(d.mean()) / se, df), rel=1e-8)
        checked += 1
    assert checked > 5


def test_scores_that_are_not_there_are_waited_for_and_never_read():
    """Taken stage by stage, with NaN for what is not run, every table ends as it does at once."""
    for table in some_tables(12, effect=4.0, seed=3):
        known, rounds = np.full_like(table, np.nan), 0
        while (now := walk(known, PLAN)).waiting:
            rows = [0, *(1 + np.flatnonzero(now.open))]
            assert np.isnan(known[rows, : now.waiting]).any()
            known[rows, : now.waiting] = table[rows, : now.waiting]
            rounds += 1
        whole = walk(table, PLAN)
        for field in dataclasses.fields(whole):
            np.testing.assert_array_equal(getattr(now, field.name), getattr(whole, field.name))
        assert np.isnan(known).sum() == 5 * 4 - whole.seeds.sum() - whole.seeds.max()
        assert 1 <= rounds <= 4


def test_a_table_decided_by_hand():
    control = np.array([0.60, 0.61, 0.62, 0.63, 0.64])
    noise = 0.001 * np.array([1.0, -1, 1, -1, 1])
    table = np.array([control, control + 0.1 + noise, control - 0.1 - noise, control + noise])
    found = walk(table, PLAN)
    assert found.claim.tolist() == [1, -1, 0]
    assert found.seeds.tolist() == [3, 3, 2]  # claims need 3 seeds, and what does not differ stops at 2
    assert found.unlikely.tolist() == [False, False, True]
    assert not walk(table, PLAN, 0.2).claim.any()  # the test images take the claims back


def test_more_seeds_are_not_added_where_the_test_images_are_what_is_unsure():
    control = np.zeros(5)
    table = np.array([control, control + 0.02 + 0.001 * np.array([1, -1, 1, -1, 1])] * 2)[:2]
    plan = dataclasses.replace(PLAN, arms=1)
    assert walk(table, plan, 0.02).seeds.tolist() == [2]
    assert walk(table, plan).claim.tolist() == [1]


def test_tables_without_spread_make_no_claim_and_absent_arms_take_no_part():
    table = np.array([[0.1, 0.2, 0.3, 0.4, 0.5]] * 4) + np.array([0, 0.1, 0.0, 0.0])[:, None]
    found = walk(table, PLAN)
    assert (found.claim.any(), found.half_width.any(), found.seeds.tolist()) == (False, False, [5, 5, 5])
    without = walk(np.where(np.arange(4)[:, None] == 2, np.nan, table), PLAN, absent=[False, True, False])
    assert (without.waiting, without.seeds.tolist()) == (0, [5, 0, 5])


@pytest.mark.parametrize("seeds", [3, 4, 5, 6, 7, 10, 37, 1000])
def test_plans(seeds):
    stages = stages_of(seeds)
    assert stages[0] == 2
    assert stages[-1] == seeds
    assert 3 in stages
    assert len(stages) <= 5
    assert list(stages) == sorted(set(stages))
    for arms in (1, 2, 5, 24):
        plan = plan_for(seeds, arms)
        assert plan.levels[0] == 0 < plan.levels[1]
        assert len(plan.levels) == len(plan.stages)
        assert max(plan.levels) == plan.levels[-1] == scale_for(seeds, arms) <= 1


def test_plans_that_nothing_is_known_of_are_refused():
    with pytest.raises(InputError, match="at least 3 seeds; received seeds=2"):
        plan_for(2, 3)
    with pytest.raises(InputError, match=r"at most 24 arms .*received 25"):
        plan_for(5, 25)


@pytest.mark.parametrize("arms", [1, 3, pytest.param(8, marks=pytest.mark.full)])
def test_all_stages_together_keep_the_level_and_the_power(arms):
    """What ``python -m benchmarks.sequential`` shows on 20,000 tables each, on fewer."""
    random = np.random.default_rng(arms)
    for chance in (*CHANCES, IMAGES):
        for effects in (np.zeros(arms), np.where(np.arange(arms) < arms // 2, 4.0, 0.0)):
            found = compare(chance, effects, 5, 2000, random)
            assert found.wrong[0] <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / 2000)
            assert found.covered[0] >= 0.95 - 0.015
    strong = compare(CHANCES[0], np.full(arms, 3.0), 5, 2000, random)
    assert strong.power[0] > strong.power[1] - 0.07
    assert compare(CHANCES[0], np.zeros(arms), 5, 2000, random).saved > 0.35
