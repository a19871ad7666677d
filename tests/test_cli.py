from __future__ import annotations

import csv

import pytest
from click.testing import CliRunner

import fasthash as fh
from fasthash.cli import main


def run(*arguments):
    return CliRunner().invoke(main, arguments)


def test_info_names_level_kernels_and_versions():
    output = run("info").output
    assert f"fasthash     {fh.__version__}" in output
    assert f"hamming      cpu: cpu-{fh._core.active_isa()}" in output
    for word in ("torch", "triton", "cuda", "threads"):
        assert word in output


def test_info_says_which_kernels_are_absent(monkeypatch):
    monkeypatch.setattr(fh._core, "runnable_isas", lambda: ["baseline"])
    assert f"no cpu-{fh._core.built_isas()[-1]}: this processor has no" in run("info").output


def test_demo_writes_a_table_and_pictures(tmp_path):
    result = run("demo", "--out", str(tmp_path / "a" / "b"), "--bits", "16", "--bits", "32")
    assert result.exit_code == 0, result.output
    with (tmp_path / "a" / "b" / "results.csv").open() as file:
        rows = {(row["method"], row["bits"]): float(row["mAP"]) for row in csv.DictReader(file)}
    assert set(rows) == {(method, bits) for method in ("LSH", "ITQ", "H2Q") for bits in ("16", "32")}
    assert all(min(rows["ITQ", bits], rows["H2Q", bits]) > rows["LSH", bits] > 0.2 for bits in ("16", "32"))
    assert all(
        (tmp_path / "a" / "b" / name).stat().st_size > 10_000 for name in ("precision_recall.png", "retrieval.png")
    )
    assert f"{rows['ITQ', '32']:.3f}" in result.output


def test_demo_with_a_width_that_fills_no_byte(tmp_path):
    result = run("demo", "--out", str(tmp_path), "--bits", "13")
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--bits", "65"], "65 is not in the range 1<=x<=64"),
        (["demo", "--bits", "many"], "'many' is not a valid integer range"),
        (["demo", "--seed", "-1"], "-1 is not in the range x>=0"),
        (["demo", "--out", __file__], "is a file"),
        (["search-everything"], "No such command"),
    ],
)
def test_bad_arguments(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_demo_without_matplotlib(monkeypatch, tmp_path):
    from fasthash import cli

    monkeypatch.setattr(cli.util, "find_spec", lambda name: None)
    result = run("demo", "--out", str(tmp_path / "new"))
    assert result.exit_code == 1
    assert "pip install 'torch-fasthash[plots]'" in result.output
    assert not (tmp_path / "new").exists()
