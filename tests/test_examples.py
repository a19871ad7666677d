"""The scripts in `examples/`, each in a folder of its own, and again where it has run before."""

from __future__ import annotations

import difflib
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
LIGHTNING, RETRIEVAL = (
    next(x for x in EXAMPLES if x.stem == name) for name in ("lightning_digits", "binary_embeddings")
)
OTHERS = [path for path in EXAMPLES if path not in (LIGHTNING, RETRIEVAL)]


@pytest.mark.parametrize("example", OTHERS, ids=lambda path: path.stem)
def test_an_example_says_the_same_when_it_runs_again(example, tmp_path):
    first, again = (subprocess.check_output([sys.executable, example], cwd=tmp_path, text=True) for _ in range(2))
    assert first
    assert again == first


LOOPS = Path(__file__).parents[1] / "examples" / "loops"


@pytest.mark.parametrize("port", ["hashnet", "csq", "h2q"])
def test_a_port_of_a_loop_has_few_lines_of_its_own(port):
    plain, ported = ((LOOPS / f"{port}{kind}.py").read_text().splitlines() for kind in ("_plain", ""))
    written = [line for line in difflib.ndiff(plain, ported) if line.startswith("+ ")]
    assert 0 < len(written) <= 10


def test_loops_and_their_ports_have_the_same_results():
    output = subprocess.check_output([sys.executable, LOOPS / "compare.py"], text=True)
    assert re.findall(r"^(\w+): loss .* both ways$", output, re.MULTILINE) == ["hashnet", "csq", "h2q"]


def test_an_own_network_and_loss_learn(tmp_path):
    script = next(path for path in EXAMPLES if path.stem == "own_network_and_loss")
    output = subprocess.check_output([sys.executable, script], cwd=tmp_path, text=True)
    assert float(output.split()[1].rstrip(";")) > 0.8  # mAP; 0.1 by chance


def recalls(output):
    found = [float(value) for value in re.findall(r"^recall@10  (\d\.\d+)  ", output, re.MULTILINE)]
    assert len(found) == 4
    assert found[0] < found[1] < found[2]  # Hamming, asymmetric, reranked by int8 and by float32
    return found


def test_binary_embeddings_of_a_file_answer(tmp_path):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((800, 12)) @ rng.standard_normal((12, 64))).astype(np.float32)
    x[-1] = x[5]
    np.savez(tmp_path / "x.npz", embeddings=x, sentences=[f"sentence {i}" for i in range(800)])
    np.save(tmp_path / "x.npy", x)
    command = [sys.executable, RETRIEVAL]
    output = subprocess.check_output([*command, tmp_path / "x.npz"], text=True)
    assert recalls(output)[3] > 0.95
    assert "64 dimensions: 256 bytes each as floats, 8 as codes" in output
    assert "sentence 799\n  sentence 5\n" in output
    assert subprocess.check_output([*command, tmp_path / "x.npy"], text=True) == output.replace("sentence ", "row ")


@pytest.mark.slow
def test_binary_embeddings_of_real_text_answer():
    output = subprocess.check_output([sys.executable, RETRIEVAL], text=True)
    assert recalls(output)[3] > 0.95
    assert re.search(r"wait until a thread has ended\n  threading\.", output)


@pytest.mark.slow
@pytest.mark.parametrize("n_processes", [1, 2])
def test_lightning_trains_and_evaluates(n_processes, tmp_path):
    pytest.importorskip("torchmetrics")
    if find_spec("lightning") is None:  # whose import takes seconds, and warns
        pytest.skip("needs lightning")
    command = [sys.executable, LIGHTNING, str(n_processes)]
    output = subprocess.check_output(command, cwd=tmp_path, text=True, timeout=300)
    values = dict(re.findall(r"([^ ,]+) ([\d.]+)", output))
    assert values.keys() == {"mAP", "precision@10"}
    assert all(float(value) > 0.9 for value in values.values())  # 0.1 by chance
