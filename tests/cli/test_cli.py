from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import fasthash as fh
from fasthash.cli import codes as code_commands
from fasthash.cli import main
from fasthash.recipes.networks import HashingNetwork


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


@pytest.mark.slow
def test_demo_writes_a_table_and_pictures(tmp_path):
    pytest.importorskip("matplotlib")
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
    pytest.importorskip("matplotlib")
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
    monkeypatch.delitem(sys.modules, "fasthash.evaluate.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("demo", "--out", str(tmp_path / "new"))
    assert result.exit_code == 1
    assert "pip install 'torch-fasthash[plots]'" in result.output
    assert not (tmp_path / "new").exists()


@pytest.fixture
def arrays(tmp_path, digits):
    """The digits as .npy files, the first 100 as queries, and a function from names to their paths."""
    pixels, labels = digits
    parts = {"queries": pixels[:100], "items": pixels[100:], "query_labels": labels[:100], "labels": labels[100:]}
    for name, array in parts.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.savez(tmp_path / "several.npz", pixels)
    return lambda name: str(tmp_path / name)


def commands(command, names=()):
    """The names of a command and of all below it."""
    yield names
    for name, below in getattr(command, "commands", {}).items():
        yield from commands(below, (*names, name))


@pytest.mark.parametrize("names", list(commands(main)), ids=" ".join)
def test_help_is_given_without_what_takes_long_to_import(names):
    script = """
import sys
from fasthash.cli import main

try:
    main(sys.argv[1:], prog_name="fasthash")
finally:
    print(sorted({"torch", "scipy", "sklearn", "safetensors", "fasthash._core"} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", script, *names, "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Usage: {' '.join(('fasthash', *names))} ")
    assert done.stdout.endswith("[]\n")


def test_the_package_is_the_command_too():
    output = subprocess.check_output([sys.executable, "-m", "fasthash", "--version"], text=True)
    assert output == f"fasthash, version {fh.__version__}\n"


def ran(*arguments):
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.parametrize("method", code_commands.HASHERS)
def test_from_embeddings_to_metrics(arrays, method, monkeypatch):
    monkeypatch.setattr(code_commands, "ROWS_ENCODED_AT_ONCE", 700)
    hasher = arrays("hasher.safetensors")
    ran("fit", method, arrays("items.npy"), hasher, "--bits", "13")
    for name in ("queries", "items"):
        ran("encode", hasher, arrays(f"{name}.npy"), arrays(f"{name}-codes.npy"))
    queries, codes = (np.load(arrays(f"{name}-codes.npy")) for name in ("queries", "items"))
    assert np.array_equal(codes, fh.hashers.Hasher.load(hasher).encode(np.load(arrays("items.npy"))))
    ids = 7 * np.arange(len(codes))
    np.save(arrays("ids.npy"), ids)
    for kind in code_commands.INDEXES:
        options = ("--kind", kind, "--bits", "13", "--ids", arrays("ids.npy"))
        assert "1697 codes of 13 bits" in ran("index", arrays("items-codes.npy"), arrays("index"), *options)
        ran("search", arrays("index"), arrays("queries-codes.npy"), arrays("hits.npz"), "-k", "5")
        expected = fh.hamming_topk(queries, codes, 5)
        with np.load(arrays("hits.npz")) as hits:
            assert np.array_equal(hits["distances"], expected.distances)
            assert np.array_equal(hits["ids"], ids[expected.ids])
        ran("search", arrays("index"), arrays("queries-codes.npy"), arrays("hits.npz"), "--radius", "2")
        within = fh.hamming_radius(queries, codes, 2)
        with np.load(arrays("hits.npz")) as hits:
            assert np.array_equal(hits["offsets"], within.offsets)
            assert np.array_equal(hits["ids"], ids[within.ids])
    labelled = [arrays(f"{name}.npy") for name in ("queries-codes", "query_labels", "items-codes", "labels")]
    output = ran("evaluate", *labelled, "--at", "50", "--ties", "index")
    truth = [np.load(path) for path in labelled]
    assert f"mAP@50               {fh.evaluate.mean_average_precision(*truth, at=50, ties='index'):.4f}" in output
    assert f"precision_at_100     {fh.evaluate.precision_at(100, *truth, ties='index'):.4f}" in output


def test_encodes_images_by_a_trained_network(arrays, digits):
    torch.manual_seed(0)
    network = HashingNetwork("cnn", (8, 8), 24)
    network.save(arrays("network.safetensors"))
    images = digits[0].reshape(-1, 8, 8).astype(np.uint8)
    np.save(arrays("images.npy"), images)
    ran("encode", arrays("network.safetensors"), arrays("images.npy"), arrays("codes.npy"))
    with torch.inference_mode():
        expected = fh.pack_bits(network.eval()(torch.from_numpy(images[:1000])))
    assert np.array_equal(np.load(arrays("codes.npy"))[:1000], expected.numpy())
    result = run("encode", arrays("network.safetensors"), arrays("items.npy"), arrays("new.npy"))
    assert "expected items of shape [n, 8, 8], got [n, 64]" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "itq", "several.npz", "new"), "several.npz: expected a file in .npy, got .npz"),
        (("fit", "itq", "absent.npy", "new"), "does not exist"),
        (("fit", "itq", "items.npy", "absent/new"), "expected a file in a folder that exists"),
        (("fit", "itq", "items.npy", "new", "--bits", "65"), "expected n_bits"),
        (("fit", "itq", "labels.npy", "new"), "floating-point"),
        (("encode", "items.npy", "items.npy", "new"), "expected a hasher's or a network's safetensors file"),
        (("index", "items.npy", "new"), "expected codes of dtype uint8"),
        (("index", "labels.npy", "new"), "expected codes of shape [n, n_bits / 8]"),
        (("search", "items.npy", "items.npy", "new.npz"), "expected an index file"),
        (("evaluate", "items.npy", "labels.npy", "items.npy", "labels.npy"), "expected query_codes of dtype uint8"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(arrays, tmp_path, arguments, message):
    before = sorted(tmp_path.iterdir())
    files = (arrays(word) if "." in word or "new" in word else word for word in arguments)
    result = run(*files)
    assert result.exit_code != 0
    assert message in result.output
    assert "Traceback" not in result.output
    assert sorted(tmp_path.iterdir()) == before


def test_a_training_that_diverges_is_told_without_a_traceback(tmp_path):
    options = [
        "--dataset",
        "digits",
        "--protocol",
        "digits-v1",
        "--network",
        "mlp",
        "--method",
        "dpsh",
        "--epochs",
        "1",
    ]
    options += ["--optimizer", "sgd", "--learning-rate", "1e30", "--device", "cpu", "--out", str(tmp_path)]
    result = run("train", "supervised", *options)
    assert result.exit_code == 1
    assert "Error: train: the loss is" in result.output
