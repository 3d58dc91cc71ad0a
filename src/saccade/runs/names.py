"""Names of the files in the folders of runs and comparisons, each said once."""

from __future__ import annotations

from saccade.files import LOCK
from saccade.saving.store import BEST, LAST
from saccade.training.checkpoint import FOLDER as CHECKPOINTS
from saccade.training.log import GATES, LOG, TENSORBOARD

__all__ = ["BEST", "CHECKPOINTS", "GATES", "LAST", "LOCK", "LOG", "TENSORBOARD"]

# Of both: the state of every file of the data.
DATA = "data.json"

# A training run.
RUN = "run.json"
RESULT = "result.json"
SPLIT = "split.json"

# A comparison.
SETTINGS = "settings.json"
EXPERIMENT = "experiment.json"
PLACES = "places.json"
PLAN = "plan.json"
COSTS = "costs.json"
RESULTS = "results.json"
REPORT = "report.html"
CACHE = "cache"
RUNS = "runs"
TRIALS = "trials"
TUNED = "tuned"
START = "start"
PICTURES = "pictures"
LOGS = "logs"
NODES = "nodes.json"

# A run of a comparison, besides weights, log and result.
CONFIG = "config.json"
EVIDENCE = "evidence.npz"
GROUPS = "groups.json"
