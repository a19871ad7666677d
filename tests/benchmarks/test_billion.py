"""`python -m benchmarks.billion` with few codes: what it makes, how it goes on, and what it reports."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import fasthash as fh
from benchmarks import billion

ROOT = Path(__file__).parents[2]
FEW = ["--n", "100000", "--part", "17000", "-k", "20", "--rounds", "1"]  # the last of 6 parts is smaller
ENDED = """
import os, signal, sys
from benchmarks import billion

class Ended(billion.Build):
    def _make_part(self, layout, i, path):
        if len(self.done) == 8:
            os.kill(os.getpid(), signal.SIGKILL)
        super()._make_part(layout, i, path)

billion.Build = Ended
billion.main(sys.argv[1:])
"""

pytestmark = pytest.mark.skipif(shutil.which("c++") is None, reason="a plain read needs a C++ compiler")


def arguments(folder):
    return [*FEW, "--folder", str(folder / "parts"), "--out", str(folder / "result.md")]


def invoke(folder, *more):
    return CliRunner().invoke(billion.main, [*arguments(folder), *more])


def contents(folder):
    return {path.name: path.read_bytes() for path in (folder / "parts").glob("*.index")}


def test_a_run_that_was_killed_goes_on_behind_the_parts_that_are_done(tmp_path):
    process = subprocess.run([sys.executable, "-c", ENDED, *arguments(tmp_path)], cwd=ROOT, capture_output=True)
    assert process.returncode == -signal.SIGKILL
    before = {path: os.stat(path).st_mtime_ns for path in (tmp_path / "parts").glob("*.index")}
    assert len(before) == 8
    result = invoke(tmp_path)
    assert result.exit_code == 0, result.output
    assert "making 4 parts" in result.output
    assert all(os.stat(path).st_mtime_ns == when for path, when in before.items())
    assert len(contents(tmp_path)) == 12
    again = tmp_path / "again"
    assert invoke(again).exit_code == 0
    assert contents(again) == contents(tmp_path)


def test_parts_are_searched_as_one_index(tmp_path):
    codes = billion.Codes(n=40_000, bits=128, seed=3, part=9_000)
    build = billion.Build(tmp_path, codes)
    build.make(billion.LAYOUTS)
    database = np.concatenate([codes.draw(i) for i in range(len(codes.firsts))])
    assert database.shape == (40_000, 16)
    queries = billion.draw_queries(codes, 6)
    expected = fh.hamming_topk(queries, database, 50)
    assert (expected.distances[1::2, 0] == 8).all()  # of planted ones
    assert (expected.distances[::2, 0] > 8).all()
    for layout in billion.LAYOUTS:
        found = billion.Parts(codes, build.paths(layout)).search(queries, 50, 2)
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.distances, expected.distances)
    np.testing.assert_array_equal(billion.nearest_by_counting(codes, queries, 50, block=1000), np.stack(expected))


def test_a_run_reports_and_deletes_what_it_made(tmp_path):
    result = invoke(tmp_path, "--queries", "1", "--queries", "3", "--note", "A note.", "--delete")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "result.json").read_text())
    rows = record["rows"]
    assert [(row["layout"], row["queries"]) for row in rows] == [(x, q) for x in billion.LAYOUTS for q in (1, 3)]
    assert [row["read_bytes"] == record["layouts"][row["layout"]]["bytes"] for row in rows] == [False] * 4  # no headers
    assert rows[0]["read_bytes"] == rows[1]["read_bytes"] == 800_000
    assert rows[2]["read_bytes"] < 0.6 * rows[3]["read_bytes"]
    text = (tmp_path / "result.md").read_text()
    assert text in result.output
    assert "# 100,000 codes of 64 bits on disk" in text
    assert "A note." in text
    assert list((tmp_path / "parts").iterdir()) == []


def test_other_hits_than_a_count_finds_are_an_error(tmp_path, monkeypatch):
    search = billion.Parts.search
    monkeypatch.setattr(billion.Parts, "search", lambda self, q, k, threads: search(self, q ^ 1, k, threads))
    result = invoke(tmp_path)
    assert result.exit_code == 1
    assert "expected the hits that a count finds, got others" in result.output
    assert not (tmp_path / "result.md").exists()


def test_a_part_that_is_not_as_the_manifest_says_is_made_again(tmp_path):
    build = billion.Build(tmp_path, billion.Codes(1000, 64, 0, 400))
    build.make(["rows"])
    whole = build.paths("rows")[1].read_bytes()
    build.paths("rows")[1].write_bytes(whole[:-1])
    billion.Build(tmp_path, build.codes).make(["rows"])
    assert build.paths("rows")[1].read_bytes() == whole


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--bits", "72"], "expected a multiple of 64, got 72"),
        (["-k", "100001"], "expected at most --n, 100000, got 100001"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, more, message):
    result = invoke(tmp_path, *more)
    assert result.exit_code == 2
    assert message in result.output


def test_a_folder_of_other_codes_and_a_full_disk_are_refused(tmp_path, monkeypatch):
    billion.Build(tmp_path / "parts", billion.Codes(1000, 64, 0, 400)).make(["rows"])
    result = invoke(tmp_path)
    assert result.exit_code == 1
    assert "to hold parts of {'n': 100000," in result.output
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, billion.SPARE_BYTES))
    result = invoke(tmp_path / "other")
    assert result.exit_code == 1
    assert "bytes to be free" in result.output
