"""Children forked while other threads search."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fork_while_searching.py")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_child_forked_at_any_moment_can_make_every_call():
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", SCRIPT, "50"], capture_output=True, text=True, timeout=600
    )
    assert (done.returncode, done.stderr) == (0, "")
