"""The scripts in `examples/`, each in a folder of its own, and again where it has run before."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_the_same_when_it_runs_again(example, tmp_path):
    first, again = (subprocess.check_output([sys.executable, example], cwd=tmp_path, text=True) for _ in range(2))
    assert first
    assert again == first


def test_an_own_network_and_loss_learn(tmp_path):
    script = next(path for path in EXAMPLES if path.stem == "own_network_and_loss")
    output = subprocess.check_output([sys.executable, script], cwd=tmp_path, text=True)
    assert float(output.split()[1].rstrip(";")) > 0.8  # mAP; 0.1 by chance
