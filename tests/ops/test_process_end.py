"""Processes that end while daemon threads search."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("end_while_searching.py")


@pytest.mark.parametrize("seconds_of_ending", ["0", "0.3"])
def test_a_process_ends_in_peace_while_threads_search(seconds_of_ending):
    done = subprocess.run([sys.executable, SCRIPT, seconds_of_ending], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_is_left_to_be_looked_up_without_the_gil():
    """Pybind11 looks up NumPy's functions when first needed, in a way that a fork or an end in the midst ruins."""
    script = "import sys; from fasthash import _core; print('numpy' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "True\n"
