from __future__ import annotations

import csv
import importlib.util
import inspect
import itertools
import json
import os
import shlex
import subprocess
import sys
import types
from pathlib import Path

import click
import numpy as np
import pytest
import torch
from click.testing import CliRunner

import fasthash as fh
from fasthash.cli import codes as code_commands
from fasthash.cli import main
from fasthash.cli.fit import drawn
from fasthash.cli.hits import WRITERS
from fasthash.recipes.networks import HashingNetwork
from tests.test_docs import check_options


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
        (["bench", "--bits", "63"], "expected a multiple of 8, got 63"),
        (["bench", "--codes", "5"], "expected at most the 5 codes, got 10"),
        (["search-everything"], "No such command"),
        (["train", "superwised"], "expected a recipe, supervised, "),
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


@pytest.mark.parametrize("has_faiss", [True, False])
def test_bench_times_both_and_writes_a_table(tmp_path, monkeypatch, has_faiss):
    if has_faiss:
        pytest.importorskip("faiss")
    else:
        find_spec = importlib.util.find_spec
        absent = ("faiss", "matplotlib")
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name, *rest: None if name in absent else find_spec(name, *rest)
        )
    few = ["--bits", "64", "--bits", "40", "--codes", "500", "--queries", "3", "--seconds", "0", "-k", "7"]
    result = run("bench", "--out", str(tmp_path), *few)
    assert result.exit_code == 0, result.output
    with (tmp_path / "bench.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["bits"], row["queries"]) for row in rows] == [("64", "3"), ("40", "3")]
    for row in rows:
        assert 0 < float(row["fasthash"]) <= float(row["fasthash_median"])
        if has_faiss:
            assert float(row["ratio"]) == pytest.approx(float(row["faiss"]) / float(row["fasthash"]))
            assert f"{float(row['faiss']):.2f}" in result.output
        else:
            assert row["faiss"] == row["ratio"] == ""
    assert ("FAISS is not installed" in result.output) != has_faiss
    assert (tmp_path / "bench.png").exists() == (has_faiss and importlib.util.find_spec("matplotlib") is not None)


def test_bench_refuses_distances_that_are_others(tmp_path, monkeypatch):
    faiss = pytest.importorskip("faiss")
    monkeypatch.setattr(faiss.IndexBinaryFlat, "search", lambda self, x, k: (np.zeros((len(x), k), np.int32), None))
    result = run("bench", "--out", str(tmp_path), "--bits", "64", "--codes", "500", "--seconds", "0")
    assert isinstance(result.exception, RuntimeError) or "expected the distances that FAISS finds" in result.output
    assert result.exit_code != 0
    assert not (tmp_path / "bench.csv").exists()


@pytest.fixture
def arrays(tmp_path, digits):
    """The digits as .npy files, the first 100 as queries, and a function from names to their paths."""
    pixels, labels = digits
    parts = {"queries": pixels[:100], "items": pixels[100:], "query_labels": labels[:100], "labels": labels[100:]}
    for name, array in parts.items():
        np.save(tmp_path / f"{name}.npy", array)
    np.savez(tmp_path / "several.npz", pixels=pixels, labels=labels)
    return lambda name: str(tmp_path / name)


def commands(command, names=()):
    """The names of a command and of all below it."""
    yield names
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            yield from commands(command.get_command(context, name), (*names, name))


@pytest.mark.parametrize(
    ("line", "found"),
    [("fasthash se", "search"), ("fasthash fit it", "itq"), ("fasthash train supervised --met", "--method")],
)
def test_shells_complete_commands_and_options(line, found):
    environment = {"_FASTHASH_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    result = CliRunner().invoke(main, prog_name="fasthash", env=environment)
    assert f"plain,{found}" in result.output.split()


@pytest.mark.parametrize("names", [names for names in commands(main) if names], ids=" ".join)
def test_the_help_of_a_command_ends_with_an_example_of_it(names):
    output = run(*names, "--help").output
    command = main
    for name in names:
        command = command.get_command(click.Context(main), name)
    if isinstance(command, click.Group):
        return
    example = output.rstrip().splitlines()
    assert example[-2].strip() == "Example:"
    called, *arguments = shlex.split(example[-1])
    assert [called, *arguments[: len(names)]] == ["fasthash", *names]
    check_options(arguments)


def test_every_method_and_recipe_is_among_the_commands():
    found = set(commands(main))
    assert found >= {("fit", name) for name in fh.hashers.HASHERS} | {("train", name) for name in fh.recipes.RECIPES}


@pytest.mark.parametrize("names", list(commands(main)), ids=" ".join)
def test_help_is_given_without_what_takes_long_to_import(names):
    script = """
import sys
from pathlib import Path
from fasthash.cli import main
from fasthash.cli.fit import drawn

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


@pytest.mark.parametrize("method", fh.hashers.HASHERS)
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
    assert "expected ITEMS of shape [n, 8, 8], got [n, 64]" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("fit", "itq", "several.npz", "new.safetensors"), "expected one array, or a name as in several.npz:name"),
        (("fit", "itq", "several.npz:more", "new.safetensors"), "expected the array 'more', got pixels, labels"),
        (("fit", "itq", "absent.npy", "new.safetensors"), "does not exist"),
        (("fit", "itq", "absent.npz:pixels", "new.safetensors"), "does not exist"),
        (("fit", "itq", "text.md", "new.safetensors"), "expected a file in .npy, .npz, .parquet, .arrow, "),
        (("fit", "itq", "items.npy", "absent/new.safetensors"), "expected a file in a folder that exists"),
        (("fit", "itq", "items.npy", "new.npy"), "expected a file in .safetensors, got"),
        (("fit", "itq", "items.npy", "new.safetensors", "--bits", "65"), "expected --bits for X of 64"),
        (("fit", "itq", "items.npy", "new.safetensors", "--epochs", "3"), "No such option"),
        (("fit", "itq", "items.npy", "new.safetensors", "--sample", "0"), "0 is not in the range x>=1"),
        (("fit", "h2q", "items.npy", "new.safetensors", "--epochs", "many"), "'many' is not a valid integer"),
        (("fit", "h2q", "items.npy", "new.safetensors", "--loss", "l3"), "Error: expected --loss to be one of 'l2'"),
        (("fit", "best", "items.npy", "new.safetensors"), "No such command 'best'"),
        (("fit", "itq", "labels.npy", "new.safetensors"), "expected X of shape [n, d], got [1697]"),
        (("encode", "items.npy", "items.npy", "new.npy"), "expected a hasher's or a network's safetensors file"),
        (("encode", "items.npy", "items.npy", "new.csv"), "expected a file in .npy, got"),
        (("index", "items.npy", "new"), "expected CODES of dtype uint8"),
        (("index", "items.npy", "new.npy"), "expected another extension for an index"),
        (("index", "labels.npy", "new"), "expected codes of shape [n, n_bits / 8]"),
        (("search", "items.npy", "items.npy", "new.npz"), "expected an index file"),
        (("search", "items.npy", "items.npy", "new"), "expected a file in .npz, .csv, .jsonl, .parquet, or - for"),
        (("search", "items.npy", "items.npy", "new.json"), "expected a file in .npz, .csv, .jsonl, .parquet, or -"),
        (
            ("search", "items.npy", "items.npy", "new.npz", "--rerank", "asymmetric"),
            "--rerank-queries, both or neither",
        ),
        (("search", "items.npy", "items.npy", "new.npz", "--rerank-queries", "items.npy"), "both or neither"),
        (
            ("search", "items.npy", "items.npy", "new.npz", "--rerank", "symmetric", "--rerank-queries", "items.npy"),
            "Invalid value for '--rerank': File 'symmetric' does not exist",
        ),
        (("evaluate", "items.npy", "labels.npy", "items.npy", "labels.npy"), "expected QUERY_CODES of dtype uint8"),
    ],
)
def test_a_bad_file_is_named_and_nothing_is_written(arrays, tmp_path, arguments, message):
    (tmp_path / "text.md").write_text("text")
    before = sorted(tmp_path.iterdir())
    files = (arrays(word) if "." in word or "new" in word else word for word in arguments)
    result = run(*files)
    assert result.exit_code != 0
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(("order", "n_bits"), [("big", 64), ("big", 36), ("little", 64)])  # little has whole bytes
def test_hexadecimal_hashes_are_codes(arrays, tmp_path, rng, order, n_bits):
    codes = fh.pack_bits(rng.integers(0, 2, (50, n_bits)) > 0)
    queries, labels = codes[:5] ^ np.uint8(1), np.arange(50) % 3
    digits = fh.to_hashes(codes, "hex", n_bits, bitorder=order)
    lines = [f"picture {i}.jpg,{label},{each}\n" for i, (label, each) in enumerate(zip(labels, digits, strict=True))]
    (tmp_path / "table.csv").write_text("".join(["path,label,hash\n", *lines]))
    (tmp_path / "hashes.txt").write_text("\n".join(fh.to_hashes(queries, "hex", n_bits, bitorder=order)))
    np.save(arrays("labels.npy"), labels[:5])
    options = [] if order == "big" else ["--bitorder", order]
    output = ran("index", arrays("table.csv:hash"), arrays("index"), *options)
    assert f"50 codes of {n_bits} bits" in output
    index = fh.load_index(arrays("index"))
    np.testing.assert_array_equal(index.codes, codes)
    ran("search", arrays("index"), arrays("hashes.txt"), arrays("hits.npz"), "-k", "3", *options)
    with np.load(arrays("hits.npz")) as hits:
        np.testing.assert_array_equal(hits["distances"], index.search(queries, 3).distances)
    labelled = [arrays(name) for name in ("hashes.txt", "labels.npy", "table.csv:hash", "table.csv:label")]
    expected = fh.evaluate.mean_average_precision(queries, labels[:5], codes, labels)
    assert f"mAP                  {expected:.4f}\n" in ran("evaluate", *labelled, *options)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "index digits.csv:hash new",
            "in digits.csv:hash, got [2]; hexadecimal hashes that are decimal digits alone need a 0x before, or a .txt",
        ),
        (
            "index hashes.csv new",
            "column 2.; hexadecimal hashes are read from a column, hashes.csv:name, or a .txt file, one a line",
        ),
        (
            "index one.csv new",
            "in one.csv, got [1]; hexadecimal hashes are read from a column, one.csv:name, or a .txt file, one a line",
        ),
        (
            "index short.txt new --bits 64",
            "short.txt: from_hashes: expected hashes of 16 hexadecimal digits each, got 4 in hashes[0]",
        ),
        ("index short.txt new --bits 0", "short.txt: from_hashes: expected n_bits from 1 to 4096, got 0"),
        (
            "index odd.txt new --bitorder little",
            "odd.txt: from_hashes: expected hashes of whole bytes in little bitorder, got 3 digits",
        ),
        (
            "search index short.txt new.npz",
            "short.txt: from_hashes: expected hashes of 2 hexadecimal digits each, got 4 in hashes[0]",
        ),
        ("fit lsh short.txt new.safetensors", "LSH.fit: expected X to be a numeric array, got dtype <U4"),
    ],
)
def test_hashes_that_are_not_as_they_should_be_are_told_of(tmp_path, monkeypatch, command, message):
    monkeypatch.chdir(tmp_path)
    for name, text in {
        "digits.csv": "path,hash\na,1234\nb,5678\n",
        "hashes.csv": "path,hash\n1,ab12\n",
        "one.csv": "ab12\n1234\n",
        "short.txt": "ab12\n",
        "odd.txt": "ab1\n",
    }.items():
        (tmp_path / name).write_text(text)
    fh.FlatIndex(8).save("index")
    result = run(*command.split())
    assert result.exit_code == 1
    assert message in result.output
    assert not list(tmp_path.glob("new*"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--rerank items.npy --rerank-queries queries.npy --radius 2", "expected --rerank or --radius, got both"),
        ("-k 3 --radius 2", "expected -k or --radius, got both"),
        ("--metric l2", "expected --metric only with --rerank, got it alone"),
        ("--factor 3", "expected --factor only with --rerank, got it alone"),
    ],
)
def test_options_that_would_be_passed_over_are_refused(arrays, options, message):
    files = (arrays(word) if "." in word else word for word in options.split())
    result = run("search", arrays("items.npy"), arrays("items.npy"), arrays("new.npz"), *files)
    assert result.exit_code == 2
    assert message in result.output


@pytest.fixture
def searched(arrays):
    """Codes of the queries and an index of those of the items, the ids 7 apart."""
    hasher = fh.hashers.ITQ(24).fit(np.load(arrays("items.npy")))
    queries, items = (hasher.encode(np.load(arrays(f"{name}.npy"))) for name in ("queries", "items"))
    index = fh.FlatIndex(24)
    index.add(items, 7 * np.arange(len(items)))
    index.save(arrays("index"))
    np.save(arrays("codes.npy"), queries)
    np.save(arrays("projections.npy"), hasher.transform(np.load(arrays("queries.npy"))))
    return queries, index


def written_hits(path):
    """The hits of a file, a list of (id, distance) for each query; output is that of the command."""
    if path.endswith(".npz"):
        with np.load(path) as file:
            ids, distances = file["ids"], file["distances"]
            if "offsets" in file:
                bounds = file["offsets"][1:-1]
                ids, distances = np.split(ids, bounds), np.split(distances, bounds)
            return [
                [(int(i), float(d)) for i, d in zip(*each, strict=True) if i >= 0]
                for each in zip(ids, distances, strict=True)
            ]
    if path.endswith(".jsonl"):
        with open(path) as file:
            return lines_of(file.read())
    if path.endswith(".csv"):
        with open(path, newline="") as file:
            rows = [tuple(map(float, row.values())) for row in csv.DictReader(file)]
    else:
        parquet = pytest.importorskip("pyarrow.parquet")
        table = parquet.read_table(path).to_pydict()
        assert list(table) == ["query", "rank", "id", "distance"]
        rows = list(zip(*table.values(), strict=True))
    found = [[] for _ in range(100)]
    for query, rank, i, distance in rows:
        found[int(query)].append((int(i), distance))
        assert rank == len(found[int(query)])
    return found


def lines_of(text):
    lines = [json.loads(line) for line in text.splitlines()]
    assert [line["query"] for line in lines] == list(range(100))
    return [[(i, d) for i, d in zip(line["ids"], line["distances"], strict=True)] for line in lines]


@pytest.mark.parametrize("place", ["a.parquet:code", "a.arrow:code", "a.h5:inner/code"])
def test_codes_are_read_from_columns(tmp_path, place):
    codes = np.random.default_rng(0).integers(0, 256, (30, 4), dtype=np.uint8)
    if place.startswith("a.h5"):
        with pytest.importorskip("h5py").File(tmp_path / "a.h5", "w") as file:
            file["inner/code"], file["label"] = codes, np.arange(30)
    else:
        arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        rows = arrow.array([row.tobytes() for row in codes], arrow.binary(4))
        table = arrow.table({"code": rows, "label": range(30)})
        if place.startswith("a.arrow"):
            with arrow.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as file:
                file.write_table(table)
        else:
            parquet.write_table(table, tmp_path / "a.parquet")
    assert run("index", f"{tmp_path}/{place}", str(tmp_path / "codes.index")).exit_code == 0
    index = fh.load_index(tmp_path / "codes.index")
    np.testing.assert_array_equal(index.search(codes, 1).ids[:, 0], np.arange(30))


@pytest.mark.parametrize("options", [("-k", "5"), ("-k", "1700"), ("--radius", "3")], ids=" ".join)
@pytest.mark.parametrize("extension", [*WRITERS, "-"])
def test_hits_are_written_in_the_format_of_the_extension(arrays, searched, extension, options):
    queries, index = searched
    if options[0] == "-k":
        expected = index.search(queries, int(options[1]))
        rows = [zip(*each, strict=True) for each in zip(expected.ids, expected.distances, strict=True)]
        wanted = [[(int(i), float(d)) for i, d in row if i >= 0] for row in rows]
    else:
        offsets, distances, ids = index.radius_search(queries, int(options[1]))
        flat = list(zip(ids.tolist(), map(float, distances), strict=True))
        wanted = [flat[start:end] for start, end in itertools.pairwise(offsets)]
    place = "-" if extension == "-" else arrays(f"hits{extension}")
    output = ran("search", arrays("index"), arrays("codes.npy"), place, *options)
    assert (lines_of(output) if extension == "-" else written_hits(place)) == wanted


def test_hits_for_no_queries_are_written(arrays, searched):
    np.save(arrays("none.npy"), np.empty((0, 3), np.uint8))
    for extension in WRITERS:
        for options in ((), ("--radius", "3")):
            ran("search", arrays("index"), arrays("none.npy"), arrays(f"hits{extension}"), *options)


@pytest.mark.parametrize("extension", [".npz", ".csv", ".jsonl", ".parquet"])
def test_hits_are_reranked(arrays, searched, extension):
    queries, index = searched
    vectors, query_vectors, projections = (
        np.load(arrays(f"{name}.npy")) for name in ("items", "queries", "projections")
    )
    for command, options in (
        (
            ("--rerank", arrays("items.npy"), "--rerank-queries", arrays("queries.npy"), "--metric", "l2"),
            {"rerank": vectors, "rerank_queries": query_vectors, "metric": "l2"},
        ),
        (
            ("--rerank", "asymmetric", "--rerank-queries", arrays("projections.npy"), "--factor", "3"),
            {"rerank": "asymmetric", "rerank_queries": projections, "factor": 3},
        ),
    ):
        ran("search", arrays("index"), arrays("codes.npy"), arrays(f"hits{extension}"), "-k", "4", *command)
        expected = index.search(queries, 4, **options)
        found = np.array(written_hits(arrays(f"hits{extension}")))
        assert np.array_equal(found[..., 0], expected.ids)
        np.testing.assert_allclose(found[..., 1], expected.distances, rtol=1e-6)


def test_projections_are_encoded_in_parts(arrays, monkeypatch):
    monkeypatch.setattr(code_commands, "ROWS_ENCODED_AT_ONCE", 100)
    hasher, x = arrays("hasher.safetensors"), np.load(arrays("items.npy"))
    ran("fit", "itq", arrays("items.npy"), hasher, "--bits", "13")
    said = ran("encode", hasher, arrays("items.npy"), arrays("p.npy"), "--projections")
    assert f"{len(x)} projections to 13 numbers" in said
    projections = np.load(arrays("p.npy"))
    assert projections.dtype == np.float32
    np.testing.assert_allclose(projections, fh.hashers.Hasher.load(hasher).transform(x), rtol=1e-5, atol=1e-5)
    x = x.astype(float)
    x[130, 0] = np.nan
    np.save(arrays("nan.npy"), x)
    result = run("encode", hasher, arrays("nan.npy"), arrays("n.npy"))
    assert result.exit_code == 1
    assert "got one at row 30, column 0, in the part that begins with row 100" in result.output


@pytest.mark.parametrize(
    ("queries", "options"),
    [
        ("codes.npy", ("-k", "4")),
        ("codes.npy", ("--radius", "5")),
        ("projections.npy", ("-k", "4")),
        ("codes.npy", ("-k", "4", "--rerank", "items.npy", "--rerank-queries", "queries.npy")),
    ],
)
def test_queries_are_searched_for_in_parts(arrays, searched, monkeypatch, queries, options):
    monkeypatch.chdir(Path(arrays("codes.npy")).parent)
    ran("search", "index", queries, "whole.jsonl", *options)
    monkeypatch.setattr(code_commands, "QUERIES_AT_ONCE", 7)
    ran("search", "index", queries, "parts.jsonl", *options)
    assert Path("parts.jsonl").read_text() == Path("whole.jsonl").read_text()
    ran("search", "index", queries, "hits.npz", *options)


def test_a_bad_query_of_a_later_part_is_told(arrays, searched, monkeypatch):
    monkeypatch.setattr(code_commands, "QUERIES_AT_ONCE", 7)
    projections = np.load(arrays("projections.npy"))
    projections[10, 2] = np.nan
    np.save(arrays("nan.npy"), projections)
    result = run("search", arrays("index"), arrays("nan.npy"), arrays("h.npz"))
    assert result.exit_code == 1
    assert "row 3" in result.output
    assert "in the part that begins with row 7" in result.output


def test_as_many_rerank_queries_as_queries_are_wanted(arrays, searched):
    vectors = np.load(arrays("queries.npy"))
    np.save(arrays("more.npy"), np.concatenate([vectors, vectors[:1]]))
    rerank = ("--rerank", arrays("items.npy"), "--rerank-queries", arrays("more.npy"))
    result = run("search", arrays("index"), arrays("codes.npy"), arrays("h.npz"), *rerank)
    assert result.exit_code == 1
    assert f"expected rerank queries for the {len(vectors)} queries, got {len(vectors) + 1}" in result.output


def test_projections_are_compared_asymmetrically(arrays, searched):
    _, index = searched
    projections = np.load(arrays("projections.npy"))
    for options, bits in (((), 4), (("--query-bits", "2"), 2)):
        ran("search", arrays("index"), arrays("projections.npy"), arrays("hits.npz"), "-k", "4", *options)
        expected = index.search(projections, 4, bits=bits)
        with np.load(arrays("hits.npz")) as found:
            np.testing.assert_array_equal(found["ids"], expected.ids)
            np.testing.assert_array_equal(found["distances"], expected.distances)
    for name, value in (("--query-bits", "2"), ("--factors", arrays("items.npy"))):
        refused = run("search", arrays("index"), arrays("codes.npy"), arrays("hits.npz"), name, value)
        assert f"expected {name} only with QUERIES that are projections, got uint8 codes" in refused.output


def test_codes_have_factors_and_offsets(arrays, searched):
    _, index = searched
    projections, numbers = np.load(arrays("projections.npy")), np.linspace(0.5, 2, len(index))
    np.save(arrays("numbers.npy"), numbers)
    options = ("--factors", arrays("numbers.npy"), "--offsets", arrays("numbers.npy"))
    ran("search", arrays("index"), arrays("projections.npy"), arrays("hits.npz"), "-k", "4", *options)
    numbers = numbers.astype(np.float32)
    expected = index.search(projections, 4, factors=numbers, offsets=numbers)
    with np.load(arrays("hits.npz")) as found:
        np.testing.assert_array_equal(found["ids"], expected.ids)
        np.testing.assert_array_equal(found["distances"], expected.distances)
    refused = run("search", arrays("index"), arrays("projections.npy"), arrays("h.npz"), "--radius", "1", *options)
    assert "expected --factors or --radius, got both" in refused.output


def test_a_distance_that_is_not_finite_is_null_in_json(arrays, searched):
    projections = np.load(arrays("projections.npy"))
    projections[3] = np.nan
    np.save(arrays("projections.npy"), projections)
    rerank = ("--rerank", "asymmetric", "--rerank-queries", arrays("projections.npy"))
    lines = ran("search", arrays("index"), arrays("codes.npy"), "-", "-k", "2", *rerank).splitlines()
    assert json.loads(lines[3])["distances"] == [None, None]
    assert "Infinity" not in lines[3]


def test_parquet_without_pyarrow_is_told_of_before_the_search(arrays, searched, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    result = run("search", arrays("index"), arrays("codes.npy"), arrays("hits.parquet"))
    assert result.exit_code == 1
    assert "pip install 'torch-fasthash[parquet]'" in result.output


@pytest.mark.parametrize("ids", [None, 3])
@pytest.mark.parametrize("kind", code_commands.INDEXES)
def test_binary_indexes_of_faiss_are_searched_and_indexed(arrays, searched, kind, ids):
    faiss = pytest.importorskip("faiss")
    queries, index = searched
    theirs = faiss.IndexBinaryFlat(24)
    if ids is None:
        theirs.add(index.codes.numpy())
    else:
        theirs = faiss.IndexBinaryIDMap2(theirs)
        theirs.add_with_ids(index.codes.numpy(), ids * np.arange(len(index)))
    faiss.write_index_binary(theirs, arrays("theirs.faiss"))
    ran("index", arrays("theirs.faiss"), arrays("ours"), "--kind", kind)
    assert fh.load_index(arrays("ours")).ids.tolist() == [i * (ids or 1) for i in range(len(index))]
    for place in ("theirs.faiss", "ours"):
        ran("search", arrays(place), arrays("codes.npy"), arrays("hits.npz"), "-k", "5")
        with np.load(arrays("hits.npz")) as hits:
            expected = index.search(queries, 5).ids // 7 * (ids or 1)
            assert np.array_equal(hits["ids"], expected)


@pytest.mark.parametrize(("option", "value"), [("ids", "labels.npy"), ("bitorder", "big")])
def test_a_faiss_index_has_its_own_ids_and_order_of_bits(arrays, option, value):
    faiss = pytest.importorskip("faiss")
    faiss.write_index_binary(faiss.IndexBinaryFlat(24), arrays("theirs"))
    value = arrays(value) if option == "ids" else value
    result = run("index", arrays("theirs"), arrays("new"), f"--{option}", value)
    assert result.exit_code == 1
    assert f"expected no {option} for {arrays('theirs')}, which has its own, got {value}" in result.output


def test_a_faiss_index_that_is_cut_off_or_of_another_kind_is_named(arrays, searched, monkeypatch):
    faiss = pytest.importorskip("faiss")
    theirs = faiss.IndexBinaryFlat(24)
    theirs.add(searched[1].codes.numpy())
    faiss.write_index_binary(theirs, arrays("theirs"))
    with open(arrays("theirs"), "r+b") as file:
        file.truncate(1000)
    faiss.write_index_binary(faiss.IndexBinaryHash(24, 8), arrays("hash"))
    for name in ("theirs", "hash"):
        result = run("index", arrays(name), arrays("new"))
        assert result.exit_code == 1
        assert f"expected a binary index of FAISS that gives its codes at {arrays(name)}, got" in result.output
    faiss.write_index_binary(theirs, arrays("theirs"))
    assert "which has its own" in run("index", arrays("theirs"), arrays("new"), "--ids", arrays("labels.npy")).output
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert "pip install 'torch-fasthash[faiss]'" in run("index", arrays("theirs"), arrays("new")).output


def test_every_format_of_arrays_is_taken(arrays, searched):
    """Integers of formats that know no others are vectors, codes and ids all the same."""
    codes, items = searched[1].codes.numpy(), np.load(arrays("items.npy"))
    np.savetxt(arrays("items.csv"), items, "%d", delimiter=",")
    np.savetxt(arrays("codes.csv"), codes, "%d", delimiter=",")
    np.savetxt(arrays("ids.csv"), 7 * np.arange(len(codes)), "%d")
    ran("fit", "itq", arrays("items.npy"), arrays("a.safetensors"), "--bits", "24")
    ran("fit", "itq", arrays("items.csv"), arrays("b.safetensors"), "--bits", "24")
    for model, place in (("a", "items.npy"), ("b", "items.csv")):
        ran("encode", arrays(f"{model}.safetensors"), arrays(place), arrays(f"{model}.npy"))
    assert np.array_equal(np.load(arrays("a.npy")), np.load(arrays("b.npy")))
    ran("index", arrays("codes.csv"), arrays("again"), "--ids", arrays("ids.csv"))
    assert torch.equal(fh.load_index(arrays("again")).codes, searched[1].codes)
    assert torch.equal(fh.load_index(arrays("again")).ids, searched[1].ids)


@pytest.mark.parametrize(
    ("method", "options", "parameters"),
    [
        ("lsh", ("--no-center", "--random-state", "3"), {"center": False, "random_state": 3}),
        ("spectral", (), {}),
        ("itq", ("--n-iterations", "3"), {"n_iterations": 3, "progress": False}),
        ("h2q", ("--loss", "l1", "--epochs", "2", "--learning-rate", "0.01"), {"loss": "l1", "epochs": 2}),
        ("h2q", ("--epochs", "1"), {"learning_rate": None, "patience": None, "progress": False}),
    ],
)
def test_a_hasher_s_settings_are_options(arrays, method, options, parameters):
    ran("fit", method, arrays("items.npy"), arrays("a.safetensors"), "--bits", "16", *options)
    fitted = fh.hashers.Hasher.load(arrays("a.safetensors")).get_params()
    assert fitted.items() >= {"n_bits": 16, **parameters}.items()
    for option in inspect.signature(fh.hashers.HASHERS[method]).parameters:
        shown = "bits" if option == "n_bits" else option.replace("_", "-")
        assert (f"--{shown}" in ran("fit", method, "--help")) == (option not in ("progress", "packed_output"))


def test_a_hasher_is_fitted_to_a_sample(arrays):
    items = np.load(arrays("items.npy"))
    ran("fit", "itq", arrays("items.npy"), arrays("all.safetensors"), "--bits", "8", "--sample", "100000")
    whole = fh.hashers.ITQ(8).fit(items)
    assert np.array_equal(fh.hashers.Hasher.load(arrays("all.safetensors")).encode(items), whole.encode(items))
    rows = drawn(len(items), 300, 5)
    assert len(np.unique(rows)) == 300
    assert (np.diff(rows) > 0).all()
    assert rows[-1] - rows[0] > len(items) * 0.9
    options = ["--bits", "8", "--sample", "300", "--random-state", "5"]
    ran("fit", "itq", arrays("items.npy"), arrays("some.safetensors"), *options)
    fitted = fh.hashers.ITQ(8, random_state=5).fit(items[rows])
    assert np.array_equal(fh.hashers.Hasher.load(arrays("some.safetensors")).encode(items), fitted.encode(items))


@pytest.mark.parametrize("sample", [(), ("--sample", "10")])
def test_a_seed_below_zero_is_told_alike(arrays, sample):
    result = run("fit", "itq", arrays("items.npy"), arrays("new.safetensors"), "--random-state", "-1", *sample)
    assert (result.exit_code, result.output) == (1, "Error: expected --random-state at least 0, got -1\n")


def test_of_a_file_larger_than_memory_only_the_sample_is_read(arrays):
    """2^40 bytes, of which the file system keeps the last rows."""
    place = arrays("huge.npy")
    huge = np.lib.format.open_memmap(place, "w+", np.float32, (2**34, 16))
    huge[-1] = 1
    huge.flush()
    ran("fit", "lsh", place, arrays("few.safetensors"), "--bits", "8", "--sample", "100")


def test_the_help_of_a_setting_is_its_documentation():
    output = " ".join(ran("fit", "h2q", "--help").split())
    assert "--batch-size INTEGER rows a step; by default 128, and beyond 128 bits 4 n_bits." in output
    assert '--init TEXT "identity", to start from the embeddings as they are; or "itq"' in output
    assert (
        "--random-state INTEGER of the held-out rows, the order of the others, and random rotations. [default: 0]"
        in output
    )


@pytest.mark.parametrize("method", ["itq", "h2q"])
def test_fitting_shows_how_far_it_is_on_a_terminal(arrays, method, monkeypatch):
    shown = []
    hasher = fh.hashers.HASHERS[method]
    fit = hasher.fit
    monkeypatch.setattr(hasher, "fit", lambda self, x: (shown.append(self.progress), fit(self, x))[1])
    terminal = types.SimpleNamespace(isatty=lambda: True)
    monkeypatch.setattr(sys.modules["fasthash.cli.fit"], "sys", types.SimpleNamespace(stderr=terminal))
    ran("fit", method, arrays("items.npy"), arrays("a.safetensors"), "--bits", "8")
    assert shown == [True]
    assert fh.hashers.Hasher.load(arrays("a.safetensors")).progress is False


def test_an_evaluation_as_json_and_as_pictures(arrays, searched):
    pytest.importorskip("matplotlib")
    np.save(arrays("items-codes.npy"), searched[1].codes.numpy())
    names = ("codes.npy", "query_labels.npy", "items-codes.npy", "labels.npy")
    places = [arrays(name) for name in names]
    output = ran("evaluate", *places, "--json", "--plots", arrays("a/b"), "--at", "50")
    truth = [np.load(place) for place in places]
    values = json.loads(output)
    assert list(values) == ["mAP@50", "precision_at_100", "precision_at_1000", "precision_within_2"]
    assert values["mAP@50"] == fh.evaluate.mean_average_precision(*truth, at=50)
    assert sorted(os.listdir(arrays("a/b"))) == ["precision_at_k.png", "precision_recall.png"]
    for name in os.listdir(arrays("a/b")):
        with open(os.path.join(arrays("a/b"), name), "rb") as file:
            assert file.read(4) == b"\x89PNG"


EVALUATIONS = {
    "--at -1": {"at": -1},
    "--at 7 --ties index --unanswered skip_unfound": {"at": 7, "ties": "index", "unanswered": "skip_unfound"},
    "--within 3 --ties pessimistic --unanswered skip": {"within": 3, "ties": "pessimistic", "unanswered": "skip"},
    "--ties cosine --at 20 --within 9": {"ties": "cosine", "at": 20, "within": 9},
    "--ties inner_product": {"ties": "inner_product"},
    "--leave-one-out --ties index": {"ties": "index", "leave_one_out": True},
}


@pytest.mark.parametrize("options", EVALUATIONS)
def test_an_evaluation_by_each_rule(arrays, digits, options):
    settings, asked = EVALUATIONS[options], options.split()
    embeddings = digits[0].reshape(len(digits[0]), -1).astype(np.float32)
    codes = fh.pack_bits(embeddings[:, 16:40] - 4)
    np.save(arrays("codes.npy"), codes)
    own = settings.get("leave_one_out", False)
    parts = (slice(None), slice(None)) if own else (slice(100), slice(100, None))
    if settings.get("ties") in ("cosine", "inner_product"):
        for name, part in zip(("query-embeddings", "embeddings"), parts, strict=True):
            np.save(arrays(f"{name}.npy"), embeddings[part])
            asked += [f"--{name}", arrays(f"{name}.npy")]
        settings = settings | {"query_embeddings": embeddings[parts[0]], "embeddings": embeddings[parts[1]]}
    places, truth = [], []
    for name, part in zip(("asked", "searched"), parts, strict=True):
        for kind, array in (("codes", codes), ("labels", digits[1])):
            truth.append(array[part])
            places.append(arrays(f"{name}-{kind}.npy"))
            np.save(places[-1], truth[-1])
    values = json.loads(ran("evaluate", *places, *asked, "--json", "--curves", arrays("curves.csv")))
    assert next(iter(values.values())) == fh.evaluate.mean_average_precision(*truth, **settings)
    ranked = {k: v for k, v in settings.items() if k in ("ties", "leave_one_out", "query_embeddings", "embeddings")}
    assert values["precision_at_100"] == fh.evaluate.precision_at(100, *truth, **ranked)
    near = {"unanswered": "skip" if "unanswered" in settings else "zero", "leave_one_out": own}
    assert values["precision_within_2"] == fh.evaluate.precision_within(2, *truth, **near)
    with open(arrays("curves.csv"), newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["rank", "precision", "recall"]
    expected = fh.evaluate.precision_recall_by_rank(*truth, at=settings.get("at"), **ranked)
    ranks, precision, recall = np.array(rows, dtype=float).T
    assert np.array_equal(ranks, np.arange(1, len(expected.precision) + 1))
    assert np.array_equal(precision, expected.precision)
    assert np.array_equal(recall, expected.recall)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--at", "-2"], "-2 is not in the range -1<=x<="),
        (["--ties", "none"], "'none' is not one of 'expected'"),
        (["--curves", "a.txt"], "expected a .csv file, got a.txt"),
        (["--curves", "not/there/a.csv"], "expected a file in a folder that there is, got not"),
    ],
)
def test_what_an_evaluation_does_not_take(arrays, options, message):
    result = run("evaluate", *[arrays("labels.npy")] * 4, *options)
    assert result.exit_code == 2
    assert message in result.output


def test_embeddings_are_asked_for(arrays, digits):
    np.save(arrays("codes.npy"), fh.pack_bits(np.ones((len(digits[1]), 8), np.float32)))
    np.save(arrays("all.npy"), digits[1])
    result = run("evaluate", *[arrays("codes.npy"), arrays("all.npy")] * 2, "--ties", "cosine")
    assert result.exit_code == 1
    assert "expected --query-embeddings and --embeddings with ties 'cosine' or 'inner_product'" in result.output


def test_pictures_without_matplotlib_are_told_of_before_any_work(arrays, monkeypatch):
    monkeypatch.delitem(sys.modules, "fasthash.evaluate.plots", raising=False)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("evaluate", *[arrays("labels.npy")] * 4, "--plots", arrays("new"))
    assert result.exit_code == 1
    assert "pip install 'torch-fasthash[plots]'" in result.output
    assert not os.path.exists(arrays("new"))


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


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_codes_of_the_other_order_of_bits_are_turned(arrays, searched, dtype):
    queries, index = searched
    np.save(arrays("big.npy"), fh.to_hashes(index.codes.numpy(), dtype))
    ran("index", arrays("big.npy"), arrays("turned"), "--bitorder", "big")
    assert np.array_equal(fh.load_index(arrays("turned")).codes, index.codes)
    np.save(arrays("big.npy"), fh.to_hashes(queries, dtype))
    ran("search", arrays("turned"), arrays("big.npy"), arrays("hits.npz"), "--bitorder", "big", "-k", "5")
    with np.load(arrays("hits.npz")) as hits:
        assert np.array_equal(hits["distances"], index.search(queries, 5).distances)


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64"])
@pytest.mark.parametrize("n_bits", [16, 21])
def test_integers_of_minus_and_plus_one_are_signs(tmp_path, rng, monkeypatch, dtype, n_bits):
    monkeypatch.chdir(tmp_path)
    signs = np.where(rng.standard_normal((5000, n_bits)) > 0, 1, -1).astype(dtype)
    signs[:4990] = signs[0]  # the last ones are told apart alone
    codes, labels = fh.pack_bits(signs > 0), np.arange(5000) % 3
    np.save("signs.npy", signs)
    np.save("some.npy", signs[4985:])
    np.save("labels.npy", labels)
    np.save("some-labels.npy", labels[4985:])
    assert f"5000 codes of {n_bits} bits" in ran("index", "signs.npy", "signs.index")
    np.testing.assert_array_equal(fh.load_index("signs.index").codes, codes)
    ran("search", "signs.index", "some.npy", "hits.npz", "-k", "3")
    with np.load("hits.npz") as hits:
        np.testing.assert_array_equal(hits["distances"], fh.hamming_topk(codes[4985:], codes, 3).distances)
    retrieval = signs[4985:], labels[4985:], signs, labels
    found = json.loads(
        ran("evaluate", "some.npy", "some-labels.npy", "signs.npy", "labels.npy", "--within", "4", "--json")
    )
    assert found["mAP within 4"] == fh.evaluate.mean_average_precision(*retrieval, within=4)
    ran("duplicates", "some.npy", "--radius", "4", "--out", "pairs.npz")
    with np.load("pairs.npz") as pairs:
        np.testing.assert_array_equal(pairs["j"], fh.hamming_pairs(codes[4985:], 4).j)


def test_int8_are_bytes_where_they_are_not_signs_or_said_to_be(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    likely, unlikely = np.int8([[1, -1], [1, 2]]), np.int8([[1, -1], [1, 1]])
    np.save("likely.npy", likely)
    np.save("unlikely.npy", unlikely)
    np.save("int64.npy", unlikely.astype(np.int64))
    np.save("ones.npy", np.ones((3, 2), np.int64))  # bytes in a format that knows none
    for name, options, codes in (
        ("likely.npy", (), fh.from_hashes(likely)),
        ("unlikely.npy", ("--bitorder", "big"), fh.from_hashes(unlikely)),
        ("unlikely.npy", ("--bitorder", "little"), fh.from_hashes(unlikely, bitorder="little")),
        ("unlikely.npy", ("--bits", "16"), fh.from_hashes(unlikely)),
        ("unlikely.npy", ("--bits", "2"), fh.pack_bits(unlikely > 0)),
        ("ones.npy", (), np.ones((3, 2))),
    ):
        ran("index", name, "codes.index", *options)
        np.testing.assert_array_equal(fh.load_index("codes.index").codes, codes)
    result = run("index", "int64.npy", "codes.index", "--bitorder", "big")
    assert "int64.npy: expected no bitorder for codes of -1 and +1, got big" in result.output


@pytest.mark.parametrize("name", ["hits.csv", "hits.jsonl", "hits.parquet"])
def test_ids_below_zero_are_written(arrays, searched, name):
    codes = np.load(arrays("codes.npy"))
    np.save(arrays("ids.npy"), 2 * np.arange(len(codes)) - 300)
    ran("index", arrays("codes.npy"), arrays("negative"), "--ids", arrays("ids.npy"))
    ran("search", arrays("negative"), arrays("codes.npy"), arrays(name), "-k", "3")
    expected = fh.load_index(arrays("negative")).search(codes, 3).ids.ravel().tolist()
    if name != "hits.parquet":
        with open(arrays(name)) as file:
            lines = file.read().splitlines()
    if name == "hits.csv":
        found = [int(line.split(",")[2]) for line in lines[1:]]
    elif name == "hits.jsonl":
        found = [i for line in lines for i in json.loads(line)["ids"]]
    else:
        found = pytest.importorskip("pyarrow.parquet").read_table(arrays(name))["id"].to_pylist()
    assert found == expected


def test_an_index_is_made_of_an_array_in_a_file_of_several(arrays, searched):
    np.savez(arrays("several.npz"), codes=np.load(arrays("codes.npy")), others=np.zeros(3))
    ran("index", arrays("several.npz") + ":codes", arrays("of-several"))
    assert np.array_equal(fh.load_index(arrays("of-several")).codes, np.load(arrays("codes.npy")))
