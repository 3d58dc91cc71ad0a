"""The query pixel of the report lies where control and best arm disagree."""

import numpy as np

from saccade.tasks.segmentation.task import Segmentation


def test_the_question_is_asked_where_the_arms_disagree():
    target = np.zeros((8, 8), dtype=np.uint8)
    target[1:4, 1:4], target[6, 6] = 3, 2
    control, best = np.zeros_like(target), target.copy()
    task = Segmentation("abcd")
    assert task.query(target, control, best) == (2, 2)
    assert task.query(target, best, best) is None
