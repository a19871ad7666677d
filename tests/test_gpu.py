"""`python -m benchmarks.gpu` at small sizes, on whatever device there is."""

from __future__ import annotations

import json

import torch
from click.testing import CliRunner

from benchmarks import gpu


def test_checks_and_times_everything_and_writes_a_table(tmp_path):
    result = CliRunner().invoke(gpu.main, ["--quick", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    written = json.loads((tmp_path / "gpu.json").read_text())
    checked = " ".join(check["check"] for check in written["checks"])
    for word in ("hamming_topk", "hamming_radius", "pack_bits", "hswd", "wasserstein_1d", "householder", "H2Q"):
        assert word in checked
    table = (tmp_path / "gpu.md").read_text()
    for row in written["rows"]:
        assert 0 < row["min_ms"] <= row["median_ms"]
        assert f"## {row['group']}" in table
    others = [row["row"] for row in written["rows"] if row["row"].startswith("torch")]
    assert len(set(others)) == 3
    if not torch.cuda.is_available():
        assert "no speed of a GPU" in table


def test_a_wrong_answer_fails_the_command_and_stands_in_the_table(tmp_path, monkeypatch):
    right = gpu.hamming.hamming_topk

    def wrong(queries, codes, k, mask=None):
        distances, ids = right(queries, codes, k, mask=mask)
        return distances, ids + (ids == 0)

    monkeypatch.setattr(gpu.hamming, "hamming_topk", wrong)
    monkeypatch.setattr(gpu, "check_gradients", lambda bench: None)
    monkeypatch.setattr(gpu, "time_training", lambda bench: None)
    result = CliRunner().invoke(gpu.main, ["--quick", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "checks failed" in result.output
    assert "FAILED: hamming_topk" in (tmp_path / "gpu.md").read_text()


def test_refuses_to_measure_without_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(gpu.main, ["--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "expected a CUDA device" in result.output
    assert not list(tmp_path.iterdir())
