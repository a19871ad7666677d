"""The tables and plots of benchmarks."""

from __future__ import annotations

import csv
import errno
import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

pytest.importorskip("matplotlib")

from benchmarks import pictures, report

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
OF_A_PAPER = RESULTS / "unsupervised-cifar10.csv"
OF_THE_SUITE = [table for table in sorted(RESULTS.glob("*.csv")) if table.read_text().startswith("group,row,")]


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


def drawn(figure):
    """The lengths of a picture's bars, by the name of the family and what the group is called."""
    (axes,) = figure.axes
    ticks = dict(zip(axes.get_yticks(), (label.get_text() for label in axes.get_yticklabels()), strict=True))
    return {
        (
            bars.get_label(),
            ticks[min(ticks, key=lambda y: abs(y - bar.get_y() - bar.get_height() / 2))],
        ): bar.get_width()
        for bars in axes.containers
        for bar in bars
    }


def test_a_picture_is_of_one_question_and_has_the_fastest_of_each_family():
    measured = [
        ("64 bits n=1e6 q=1 k=10", "fasthash cpu-avx2", 9),
        ("64 bits n=1e6 q=1 k=10", "fasthash cpu-v2", 3),
        ("64 bits n=1e6 q=1 k=10", "faiss heap", 2),
        ("8 bits n=1e6 q=1 k=10", "fasthash", 12),
        ("64 bits n=1e7 q=4 k=10", "fasthash", 5),
        ("64 bits n=1e7 q=9 k=7", "fasthash", 6),
    ]
    rows = [{"group": group, "row": row, "gcomparisons_per_s": x, "min_ms": 1} for group, row, x in measured]
    figures = pictures.pictures("hamming", rows)
    assert figures.keys() == {"hamming-one", "hamming-queries"}
    assert drawn(figures["hamming-one"]) == {
        ("fasthash", "8 bits"): 12, ("fasthash", "64 bits"): 9, ("faiss", "64 bits"): 2
    }  # fmt: skip
    assert [label.get_text() for label in figures["hamming-one"].axes[0].get_yticklabels()] == ["8 bits", "64 bits"]
    assert pictures.pictures("unasked", rows).keys() == {"unasked"}
    inexact = [
        {"group": "64 bits n=1e7 clustered 0.1 q=50 k=10", "row": f"faiss IndexBinaryIVF, recall {recall}"}
        | {"gcomparisons_per_s": x, "min_ms": 1}
        for recall, x in ((0.8, 100), (0.994, 20))
    ]
    assert drawn(pictures.pictures("multi_index", inexact)["multi_index-hits"]) == {
        ("faiss IndexBinaryIVF", "k=10"): 20
    }


@pytest.mark.parametrize("table", OF_THE_SUITE, ids=lambda path: path.stem)
def test_committed_tables_have_their_pictures(table):
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name in pictures.pictures(table.stem, rows):
        assert (RESULTS / f"{name}.png").is_file()
    assert all(pictures.family(row["row"]) for row in rows)


def test_a_table_of_a_paper_is_refused(tmp_path):
    result = CliRunner().invoke(report.main, [str(OF_A_PAPER), str(tmp_path / "out")])
    assert result.exit_code == 1
    assert "expected a table of the columns group,row," in result.output
    assert "got row,protocol,features,epochs,batch_size,learning_rate,split,method,bits,mAP" in result.output
    assert not (tmp_path / "out").exists()


def test_a_row_of_no_family_is_refused():
    with pytest.raises(ValueError, match=r"pictures: expected a row of one of the families .*, got 'scann'"):
        pictures.family("scann")


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
