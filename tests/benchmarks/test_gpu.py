"""`python -m benchmarks.gpu` at small sizes, on whatever device there is; how it goes on, and what it reports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

pytest.importorskip("triton")

from benchmarks.gpu import __main__ as command
from benchmarks.gpu import hamming, run
from benchmarks.gpu.bench import Bench, Row
from benchmarks.gpu.records import Records
from benchmarks.gpu.report import markdown
from benchmarks.gpu.steps import OPTIONAL, STEPS, Step

ROOT = Path(__file__).parents[2]


@pytest.fixture
def records(tmp_path):
    return Records(tmp_path / "gpu")


def invoke(*arguments):
    return CliRunner().invoke(command.main, list(map(str, arguments)))


def measuring(device, records, quick=True):
    return Bench(torch.device(device), quick, "a step", records)


@pytest.mark.slow
def test_checks_and_times_everything_and_writes_a_table(records):
    """One step in a process of its own, the others in one together, which begins once."""
    first, *others = STEPS
    together = [sys.executable, "-m", "benchmarks.gpu", *others, "--here", "--quick", "--out", records.folder]
    subprocess.run(together, cwd=ROOT, check=True)
    result = invoke("--quick", "--out", records.folder)
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"== {first}\n")
    assert {r["step"]: r["status"] for r in records.last("end")} == dict.fromkeys(STEPS, "passed")
    checked = " ".join(r["check"] for r in records.last("check", "check"))
    for word in (
        "hamming_topk",
        "asymmetric_topk",
        "hamming_radius",
        "hamming_pairs",
        "pack_bits",
        "hswd",
        "wasserstein_1d",
        "householder",
        "H2Q",
        "compile",
        "2 ranks",
    ):
        assert word in checked
    table = (records.folder / "gpu.md").read_text()
    rows = records.last("row", "group", "row")
    for row in rows:
        assert 0 < row["min_ms"] <= row["median_ms"]
        assert row["call_ms"] > 0
        assert f"## {row['group']}" in table
    groups = {row["group"] for row in rows}
    for words in ("by filter", "by where the codes are", "float64", "float16", "bfloat16"):
        assert any(group.endswith(words) for group in groups)
    assert len({row["row"] for row in rows if row["row"].startswith("torch")}) == 6
    if not torch.cuda.is_available():
        assert "No speed of a GPU" in table
    before = records.path.read_text()
    assert invoke("--quick", "--out", records.folder).exit_code == 0
    assert records.path.read_text() == before


def test_a_wrong_answer_fails_the_command_and_stands_in_the_table(records, monkeypatch):
    right = hamming.hamming.hamming_topk

    def wrong(queries, codes, k, mask=None):
        distances, ids = right(queries, codes, k, mask=mask)
        return distances, ids + (ids == 0)

    monkeypatch.setattr(hamming.hamming, "hamming_topk", wrong)
    monkeypatch.setattr(command, "run_steps", lambda steps, records, quick, end: run.run_here(steps, records, quick))
    result = invoke("sizes", "--quick", "--out", records.folder)
    assert result.exit_code == 1
    assert " failed: hamming_topk" in result.output
    assert "FAILED: hamming_topk" in (records.folder / "gpu.md").read_text()
    assert records.left(["sizes", "h2q"]) == ["h2q", "sizes"]


def test_refuses_to_measure_without_a_gpu(records, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = invoke("--out", records.folder)
    assert result.exit_code == 1
    assert "expected a CUDA device" in result.output
    assert not records.folder.exists() or not list(records.folder.iterdir())


def test_refuses_records_of_another_machine(records):
    records.add("h2q", "begin", facts={"device": "NVIDIA H200"}, quick=False)
    result = invoke("--quick", "--out", records.folder)
    assert result.exit_code == 1
    assert "expected --out without another machine's records or sizes, got those of NVIDIA H200" in result.output


def test_a_deadline_ends_the_command_and_says_what_is_left(records, monkeypatch):
    asked = []
    monkeypatch.setattr(run, "run_process", lambda arguments, seconds: asked.append((arguments[4], seconds)) or "")
    result = invoke("--quick", "--out", records.folder, "--deadline", 100)
    assert [step for step, _ in asked] == list(STEPS)
    assert all(run.LEAST_SECONDS <= seconds <= 100 for _, seconds in asked)
    assert result.exit_code == 1
    assert "not done yet: ceilings, packing" in result.output
    asked.clear()
    result = invoke("--quick", "--out", records.folder, "--deadline", 1)
    assert not asked
    assert "not begun: filters" in result.output


def test_what_hangs_is_killed_with_what_it_started_and_recorded(records, monkeypatch):
    """And the next step is begun."""
    marker = records.folder / "alive"
    hangs = f"import subprocess, sys; subprocess.run(['sh', '-c', 'sleep 3; touch {marker}'])"
    run_process = run.run_process
    scripts = iter([hangs, "import os; os._exit(7)", "import os; os.abort()", ""])
    monkeypatch.setattr(
        run, "run_process", lambda _, seconds: run_process([sys.executable, "-c", next(scripts)], seconds)
    )
    monkeypatch.setattr(run, "LEAST_SECONDS", 0)
    monkeypatch.setitem(run.STEPS, "packing", Step(STEPS["packing"].run, 1))
    run.run_steps(["packing", "h2q", "sizes", "steps"], records, True, None)
    ends = {r["step"]: r["status"] for r in records.last("end")}
    assert ends == {"packing": "ended after 1 s", "h2q": "exit status 7", "sizes": "exit status -6"}
    assert records.failures() == [f"{step}: {status}" for step, status in ends.items()]
    time.sleep(3)
    assert not marker.exists()


def test_records_survive_an_end_in_the_midst_of_a_line(records):
    records.add("a", "check", check="x", error="")
    with records.path.open("a") as file:
        file.write('{"step": "a", "ki')
    assert [r["check"] for r in records] == ["x"]
    with records.path.open("a") as file:
        file.write("\n{}\n")
    with pytest.raises(json.JSONDecodeError):
        list(records)


def test_what_a_step_recorded_counts_until_it_is_run_to_its_end_again(records):
    def begin(*checks):
        records.add("a", "begin", facts={"device": "a CPU"}, quick=True)
        for check, error in checks:
            records.add("a", "check", check=check, error=error)

    def known():
        return {r["check"]: r["error"] for r in records.last("check", "check")}

    begin(("x", "wrong"), ("y", "wrong"))
    records.add("a", "end", status="ended after 3 s", seconds=3)
    begin(("y", ""), ("z", ""))
    assert known() == {"x": "wrong", "y": "", "z": ""}
    assert records.failures() == ["x", "a: ended after 3 s"]
    records.add("a", "end", status="passed", seconds=1)
    assert known() == {"y": "", "z": ""}
    assert records.failures() == []
    assert records.left(["a", "b"]) == ["b"]


def test_the_tuning_table_of_a_device_is_written_beside_the_records(tmp_path):
    entries = [{"up_to_bits": 4096}]
    hamming.write_tuning(tmp_path, (9, 0), entries)
    own = import_module("fasthash.ops.hamming.kernel_triton").TUNING
    assert json.loads((tmp_path / "tuning.json").read_text()) == {**own, "9.0": entries}


def test_what_cannot_be_timed_is_no_row_and_fails_the_step(records):
    bench = measuring("cpu", records)
    assert bench.time("a", "breaks", lambda: 1 / 0) is None
    assert bench.failed
    assert not records.last("row", "group", "row")
    (check,) = records.last("check", "check")
    assert "ZeroDivisionError" in check["error"]


def test_a_row_is_recorded_as_soon_as_it_is_known(records):
    bench, seen = measuring("cpu", records), []
    assert bench.time("a", "first", lambda: None).call_ms > 0
    bench.time("a", "second", lambda: seen.append([r["row"] for r in records.last("row", "row")]))
    assert seen[0] == ["first"]


@pytest.mark.parametrize(
    ("card", "target"), [("NVIDIA H200", 2.4), ("NVIDIA H100 80GB HBM3", 3.4), ("NVIDIA A100", None)]
)
def test_targets_are_those_of_the_card(records, monkeypatch, card, target):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: card)
    assert measuring("cuda", records, quick=False).target(H200=2.4, H100=3.4) == target


def test_the_report_judges_by_graphs_and_by_what_the_device_itself_can_do(records):
    records.add("ceilings", "begin", facts={"device": "NVIDIA H200"}, quick=False)
    records.add("ceilings", "ceilings", copy_bytes_per_s=4e12, product_flop_per_s=8e14)
    for name, row in {
        "met": Row("g", "met", 0.02, 0.03, 0.2, graph_ms=0.0014, n_bytes=4 * 10**6, share=0.7),
        "slow": Row("g", "slow", 0.001, 0.001, 0.2, n_bytes=4 * 10**6, share=0.7),
        "named": Row("g", "named", 0.001, 0.001, 20.0, target_ms=30.0, wanted="10 times"),
    }.items():
        records.add(name, "row", **vars(row))
    lines = {line.split(" | ")[0].strip("| "): line for line in markdown(records).splitlines() if line.startswith("|")}
    assert lines["met"] == "| met | 0.0200 | 0.0300 | 0.2000 | 0.0014 | 1.0000 | 0.0010 | 0.0014 | yes |"
    assert lines["slow"].endswith("|  | 142.9 | 0.0010 | 0.0014 | no |")
    assert lines["named"].endswith("| 30.0 | yes 10 times |")


def test_every_step_has_its_time():
    assert all(step.seconds >= 60 for step in (STEPS | OPTIONAL).values())
    assert not set(STEPS) & set(OPTIONAL)


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_checkout_without_a_core_says_how_to_build_one(tmp_path):
    """Where an installed fasthash, if there is one, is not found: the checkout's folder goes before it."""
    files = subprocess.check_output(["git", "ls-files", "-z", "*.py", "*.pyi", "*.toml"], cwd=ROOT)
    for name in filter(None, files.decode().split("\0")):
        if not name.startswith("tests/") and (ROOT / name).exists():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    unbuilt = subprocess.run(
        [sys.executable, "-S", "-m", "benchmarks.gpu", "ceilings", "--quick"],  # no site: no editable install
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path and Path(path) != ROOT)},
        capture_output=True,
        text=True,
    )
    assert unbuilt.returncode == 1
    assert "make core" in unbuilt.stderr
