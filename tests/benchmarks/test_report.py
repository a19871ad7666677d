"""The tables and plots of benchmarks."""

from __future__ import annotations

import csv
import errno
import json
import os

import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")

from benchmarks import report


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A function that makes a report of two rows, at two sizes each, and the folder that it is written to."""
    monkeypatch.setattr(report, "facts", lambda machine: machine["name"])
    entries = [
        {
            "fullname": "benchmarks/bench_hamming.py::test_topk[x]",
            "group": "top 10",
            "stats": {"min": seconds * codes / 1000, "median": 2 * seconds, "rounds": 5},
            "extra_info": {"row": row, "comparisons": 100 * codes, "bytes": 8 * codes, "codes": codes, "queries": 100},
        }
        for row, seconds in (("fasthash", 0.001), ("faiss", 0.004))
        for codes in (1000, 2000)
    ]
    results = tmp_path / "results.json"
    results.write_text(json.dumps({"machine_info": {"name": "a machine"}, "benchmarks": entries}))
    return lambda: CliRunner().invoke(report.main, [str(results), str(tmp_path / "out")]), tmp_path / "out"


def test_a_report_has_a_table_of_each_kind_and_plots(written):
    write, out = written
    assert write().exit_code == 0
    with (out / "hamming.csv").open() as file:
        rows = [(row["row"], row["min_ms"], row["times_other"]) for row in csv.DictReader(file)]
    assert rows[0] == ("fasthash", "1.000", "4.0")
    assert rows[1:] == [("fasthash", "2.000", "2.0"), ("faiss", "4.000", "1.0"), ("faiss", "8.000", "0.5")]
    text = (out / "hamming.md").read_text()
    assert "a machine" in text
    assert "| fasthash | 1.000 | 2.000 | 0.10 | 0.0 | 4.0 |" in text
    for name in ("hamming.png", "hamming-scaling.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")


def test_a_report_that_cannot_be_written_leaves_the_old_one(written, monkeypatch):
    write, out = written
    names = ["hamming.csv", "hamming.md", "hamming.png", "hamming-scaling.png"]
    out.mkdir()
    for name in names:
        (out / name).write_text("old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert isinstance(write().exception, OSError)
    assert {path.name: path.read_text() for path in out.iterdir()} == dict.fromkeys(names, "old")
