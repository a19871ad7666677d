"""The scripts in `examples/`, each in a folder of its own, and again, as notebooks, where they have run before."""

from __future__ import annotations

import ast
import difflib
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from tools.notebooks import FOLDER, SCRIPTS, notebook

EXAMPLES = sorted((Path(__file__).parents[1] / "examples").glob("*.py"))
PAGE = (Path(__file__).parents[1] / "docs" / "examples.md").read_text()
LIGHTNING, RETRIEVAL = (
    next(x for x in EXAMPLES if x.stem == name) for name in ("lightning_digits", "binary_embeddings")
)
OTHERS = [path for path in EXAMPLES if path not in (LIGHTNING, RETRIEVAL, *SCRIPTS)]


@pytest.mark.parametrize("example", OTHERS, ids=lambda path: path.stem)
def test_an_example_says_the_same_when_it_runs_again(example, tmp_path):
    first, again = (subprocess.check_output([sys.executable, example], cwd=tmp_path, text=True) for _ in range(2))
    assert first
    assert again == first


def check_search(output):
    assert re.search(r"^[\d,]+ codes of 64 bits$", output, re.MULTILINE)
    near, below = (
        [ast.literal_eval(row) for row in re.findall(r"\[.*?\]", line)]
        for line in output.splitlines()
        if line.startswith("distances")
    )
    assert len(near) == len(below) == 3
    for all_places, those_below in zip(near, below, strict=True):
        assert all_places == sorted(all_places)
        assert all_places[0] == 0 < all_places[1] <= those_below[0]
        assert those_below[-1] < 20  # of 64 bits; 32 by chance
    assert re.search(r"fasthash [\d.]+ ms, NumPy [\d.]+ ms$", output)


def check_fit_hasher(output):
    rows = {line.split()[0]: np.float64(re.findall(r"\d\.\d+", line)) for line in output.splitlines()[1:]}
    assert rows.keys() == {"LSH", "ITQ", "H2Q", "NeighborHashing"}
    assert (rows["ITQ"] > rows["LSH"]).all()
    for values in rows.values():
        recall, precision = values.reshape(3, 2).T
        assert (np.diff(recall) > 0).all()  # the more bits
        assert recall[-1] > 0.4
        assert (precision > 0.3).all()  # 0.1 by chance


def check_own_training_loop(output):
    found = re.findall(r"^(.*?) +mAP ([\d.]+), angle to the signs (\d+) degrees$", output, re.MULTILINE)
    assert [name for name, *_ in found] == ["before", "CSQ alone", "CSQ with HSWD"]
    before, alone, with_hswd = (np.float64(values) for _, *values in found)
    assert before[0] < 0.6 < 0.85 < min(alone[0], with_hswd[0])
    assert with_hswd[1] < alone[1] < before[1]


def check_own_network_and_loss(output):
    mean, share = re.fullmatch(r"mAP ([\d.]+); of the ten nearest, (\d+)% are of the query's class", output).groups()
    assert float(mean) > 0.8  # 0.1 by chance
    assert int(share) > 85


def recalls(output):
    found = [float(value) for value in re.findall(r"^recall@10  (\d\.\d+)  ", output, re.MULTILINE)]
    assert len(found) == 4
    assert found[0] < found[1] < found[2]  # Hamming, asymmetric, reranked by int8 and by float32
    return found


def check_binary_embeddings(output):
    assert recalls(output)[3] > 0.95
    assert re.search(r"wait until a thread has ended\n  threading\.", output)


def check_near_duplicates(output):
    chosen = int(re.search(r"^china.jpg: radius (\d+) ", output).group(1))
    radius, precision, recall = re.search(
        r"^flower.jpg, radius (\d+): precision (.*), recall (.*)$", output, re.MULTILINE
    ).groups()
    assert int(radius) == chosen < 20
    assert float(precision) > 0.9
    assert float(recall) > 0.8
    counts = re.search(
        r"^(\d+) pictures of (\d+) originals: (\d+) groups, (\d+) of one original$", output, re.MULTILINE
    )
    n_pictures, n_originals, n_groups, n_pure = map(int, counts.groups())
    assert n_pictures == 5 * n_originals
    assert 0.8 * n_originals < n_pure <= n_groups < 1.3 * n_originals


def check_compare_methods(output):
    rows = [line.split(maxsplit=3) for line in output.splitlines()[1:]]
    assert [int(bits) for bits, *_ in rows] == [8, 16, 24]
    for _, itq, h2q, rest in rows:
        assert min(float(itq), float(h2q)) > 0.4  # 0.1 by chance
        middle, low, high = map(float, re.findall(r"[+-]\d\.\d+", rest))
        assert abs(float(h2q) - float(itq) - middle) < 0.0016
        assert low < middle < high
        assert rest.endswith("  not significant") == (low <= 0 <= high)


def check_scale_out(output):
    engine, parts, distances, same, changed = output.splitlines()
    assert engine.startswith("Ray, two processors" if find_spec("ray") else "Ray is not installed")
    n = re.match(r"([\d,]+) codes in 8 parts$", parts).group(1)
    found = [ast.literal_eval(row) for row in re.findall(r"\[.*?\]", distances)]
    assert all(row == sorted(row) and row[0] == 0 for row in found)
    assert same == f"the same answers as of one index of {n} codes"
    n_pairs, n_left = (int(x.replace(",", "")) for x in re.findall(r"([\d,]+) (?:pairs|codes)", changed))
    assert n_pairs > 1000
    assert n_left == int(n.replace(",", "")) - len(found)


CHECKS = {
    "search": check_search,
    "fit_hasher": check_fit_hasher,
    "own_training_loop": check_own_training_loop,
    "own_network_and_loss": check_own_network_and_loss,
    "binary_embeddings": check_binary_embeddings,
    "near_duplicates": check_near_duplicates,
    "compare_methods": check_compare_methods,
    "scale_out": check_scale_out,
}
PICTURES = CHECKS.keys() - {"binary_embeddings", "scale_out"}
IN_A_NOTEBOOK = {"near_duplicates"}  # the others' cells are their scripts', too
LONG = {"binary_embeddings", "compare_methods"}


def check(script, output, folder):
    CHECKS[script.stem](output.strip())
    if script.stem in PICTURES:
        from matplotlib.image import imread

        picture = imread(folder / "out" / f"{script.stem}.png")
        assert min(picture.shape[:2]) > 300
        assert picture[..., :3].std() > 0.05  # not blank


@pytest.fixture(
    scope="module",
    params=[pytest.param(x, id=x.stem, marks=[pytest.mark.slow] if x.stem in LONG else []) for x in SCRIPTS],
)
def ran(request, tmp_path_factory):
    """A script, what it printed and where; of this scope, that its notebook follows and it runs once."""
    script = request.param
    for module in re.findall(r"^(?:import|from) (\w+)", script.read_text(), re.MULTILINE):
        pytest.importorskip(module)
    for use, module in (("load_sample_image", "PIL"), ("fasthash.cluster", "pyarrow")):
        if use in script.read_text():
            pytest.importorskip(module)
    folder = tmp_path_factory.mktemp(script.stem)
    return script, subprocess.check_output([sys.executable, script], cwd=folder, text=True), folder


def test_a_script_shows_what_it_promises(ran):
    check(*ran)


def test_a_script_prints_what_its_page_shows_but_for_the_numbers(ran):
    script, output, _ = ran
    shown = re.search(rf"^\*\*{script.stem}\*\*.*?```text\n(.*?)\n```$", PAGE, re.MULTILINE | re.DOTALL).group(1)
    lines, printed = (re.sub(r"[+-]?\d+([.,]\d+)*", "#", text).split("\n") for text in (shown, output))
    assert lines == [line for line in printed if line in lines]


def timeless(output):
    return re.sub(r"[\d.]+ ms", "- ms", output)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what kernels and their packages warn of
@pytest.mark.parametrize("ran", [x for x in SCRIPTS if x.stem in IN_A_NOTEBOOK], ids=lambda x: x.stem, indirect=True)
def test_a_notebook_says_what_its_script_says(ran):
    script, expected, folder = ran
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    made = nbformat.read(FOLDER / f"{script.stem}.ipynb", as_version=4)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(made, timeout=300, kernel_name="python3", resources=where).execute()
    outputs = [output for cell in made.cells for output in cell.get("outputs", ())]
    printed = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert timeless(printed) == timeless(expected)
    assert any("image/png" in output.get("data", ()) for output in outputs) == (script.stem in PICTURES)


def test_notebooks_are_what_their_scripts_give():
    pytest.importorskip("jupytext")
    assert {path.stem for path in FOLDER.glob("*.ipynb")} == {path.stem for path in SCRIPTS} == CHECKS.keys()
    for script in SCRIPTS:
        assert (FOLDER / f"{script.stem}.ipynb").read_text() == notebook(script), "make notebooks"


LOOPS = Path(__file__).parents[1] / "examples" / "loops"


@pytest.mark.parametrize("port", ["hashnet", "csq", "h2q"])
def test_a_port_of_a_loop_has_few_lines_of_its_own(port):
    plain, ported = ((LOOPS / f"{port}{kind}.py").read_text().splitlines() for kind in ("_plain", ""))
    written = [line for line in difflib.ndiff(plain, ported) if line.startswith("+ ")]
    assert 0 < len(written) <= 10


def test_loops_and_their_ports_have_the_same_results():
    output = subprocess.check_output([sys.executable, LOOPS / "compare.py"], text=True)
    assert re.findall(r"^(\w+): loss .* both ways$", output, re.MULTILINE) == ["hashnet", "csq", "h2q"]


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
