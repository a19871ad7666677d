"""`python -m benchmarks.gpu` at small sizes, on whatever device there is."""

from __future__ import annotations

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks import gpu

for package in ("faiss", "triton"):
    pytest.importorskip(package)


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
    groups = {row["group"] for row in written["rows"]}
    assert any(group.endswith("by filter") for group in groups)
    assert any(group.endswith("by where the codes are") for group in groups)
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
    for step in ("check_gradients", "time_streaming", "time_training", "time_h2q", "time_filters"):
        monkeypatch.setattr(gpu, step, lambda bench: None)
    result = CliRunner().invoke(gpu.main, ["--quick", "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "checks failed" in result.output
    assert "FAILED: hamming_topk" in (tmp_path / "gpu.md").read_text()


@pytest.mark.parametrize("options", [[], ["--tune"], ["--quick", "--tune"]])
def test_refuses_to_measure_without_a_gpu(tmp_path, monkeypatch, options):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    result = CliRunner().invoke(gpu.main, [*options, "--out", str(tmp_path)])
    assert result.exit_code == 1
    assert "expected a CUDA device" in result.output
    assert not list(tmp_path.iterdir())


def test_tuning_keeps_the_number_of_queries_from_which_products_win(tmp_path, monkeypatch):
    bench = gpu.Bench(torch.device("cpu"), quick=False)
    monkeypatch.setattr(bench, "sized", lambda full, quick: quick)

    def product_wins_from_16_queries(group, name, function, **info):
        q = int(group.split()[0])
        return 16 if name == "int8 product" else q

    monkeypatch.setattr(bench, "time", product_wins_from_16_queries)
    entries = gpu.time_filters(bench)
    assert [entry["product"]["from_queries"] for entry in entries] == [32] * len(entries)  # at 16 neither does
    table = tmp_path / "tuning.json"
    table.write_text(json.dumps({"default": [], "8.0": []}))
    monkeypatch.setattr(gpu.hamming, "__file__", str(tmp_path / "__init__.py"))
    gpu.keep_tuning("9.0", entries)
    assert json.loads(table.read_text()) == {"default": [], "8.0": [], "9.0": entries}


def test_what_cannot_be_timed_is_no_row_and_fails_the_command():
    bench = gpu.Bench(torch.device("cpu"), quick=True)
    assert bench.time("a", "breaks", lambda: 1 / 0) == float("inf")
    assert not bench.rows
    assert "ZeroDivisionError" in bench.checks[0].error
    assert bench.floor_ms(1) is None
    assert 0 < bench.time("a", "runs", lambda: None) < float("inf")
