"""All of these tests on each backend: Keras reads its backend once, so each has processes of its own."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes
FILES = (
    "test_golden.py",
    "test_blocks.py",
    "test_layers.py",
    "test_insertion.py::test_saved_files_hold_the_mechanisms",
    "test_insertion.py::test_other_networks_are_refused_with_what_to_do",
)


@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_everything_holds_on_another_backend(backend):
    if find_spec(backend) is None:
        pytest.skip(f"no {backend}")
    here = Path(__file__).parent
    quick = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"  # to compile, not to run
    environment = os.environ | {
        "KERAS_BACKEND": backend, "JAX_ENABLE_X64": "1", "XLA_FLAGS": quick, "TF_CPP_MIN_LOG_LEVEL": "3",
    }  # fmt: skip
    files = [str(here / file) for file in FILES]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "worksteal", "-m", "not processes",
         "-p", "no:cacheprovider", *files],
        capture_output=True, text=True, env=environment, cwd=here.parent.parent, timeout=1800, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout[-5000:] + ran.stderr[-2000:]
