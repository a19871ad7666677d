"""`fasthash cluster`: what its commands write, one after the other."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from fasthash import cli
from tests.cluster.conftest import BITS, encoded_folder, flat_of, near_codes, save_codes, sign_hasher, write_embeddings

pytest.importorskip("pyarrow")


def run(*arguments, exit_code=0):
    result = CliRunner().invoke(cli.main, ["cluster", *map(str, arguments)])
    assert result.exit_code == exit_code, result.output
    return result.output


def test_embeddings_become_codes_an_index_hits_and_pairs(tmp_path):
    codes, ids, queries = near_codes(2000), np.arange(2000) * 5, near_codes(7, seed=1)
    write_embeddings(tmp_path / "source", codes, ids)
    sign_hasher().save(tmp_path / "model.safetensors")
    encoded, index = tmp_path / "codes", tmp_path / "index"
    columns = ("--column", "x", "--id-column", "key")
    output = run("encode", tmp_path / "model.safetensors", tmp_path / "source" / "*.parquet", encoded, *columns)
    assert output == f"written: {encoded}, 2000 codes of 32 bits in 3 parts\n"
    output = run("build", encoded, index, "--shards", 4, "--layout", "planes")
    assert output == f"written: {index}, 2000 codes of 32 bits in 4 shards\n"
    np.save(tmp_path / "queries.npy", queries)
    one = flat_of(codes, ids)
    output = run("search", index, tmp_path / "queries.npy", tmp_path / "hits.npz", "-k", 5)
    assert output == f"written: {tmp_path / 'hits.npz'}, 7 queries among 2000 codes\n"
    for name, expected in one.search(queries, 5)._asdict().items():
        assert (np.load(tmp_path / "hits.npz")[name] == expected).all()
    vectors, projections = np.random.default_rng(0).normal(size=(2, 2000, BITS)).astype(np.float32)
    for name, array in {"vectors": vectors, "wanted": vectors[:7], "projections": projections[:7]}.items():
        np.save(tmp_path / f"{name}.npy", array)
    rerank = ("--rerank", tmp_path / "vectors.npy", "--rerank-queries", tmp_path / "wanted.npy", "--metric", "l2")
    run("search", index, tmp_path / "queries.npy", tmp_path / "hits.npz", *rerank, "--factor", 20)
    expected = one.search(queries, 10, rerank=vectors, rerank_queries=vectors[:7], metric="l2", factor=20)
    assert (np.load(tmp_path / "hits.npz")["ids"] == expected.ids).all()
    np.save(tmp_path / "norms.npy", np.arange(2000.0))
    scores = ("--query-bits", 6, "--factors", tmp_path / "norms.npy")
    run("search", index, tmp_path / "projections.npy", tmp_path / "hits.npz", *scores)
    expected = one.search(projections[:7], 10, bits=6, factors=np.arange(2000, dtype=np.float32))
    assert (np.load(tmp_path / "hits.npz")["distances"] == expected.distances).all()
    lines = run("search", index, tmp_path / "queries.npy", "-", "--radius", 3, "--partial").splitlines()
    near = one.radius_search(queries, 3)
    assert json.loads(lines[1])["ids"] == near.ids[near.offsets[1] : near.offsets[2]].tolist()
    output = run("duplicates", index, tmp_path / "pairs", "--radius", 1)
    n_pairs = len(one.hamming_pairs(1).i)
    assert output == f"written: {tmp_path / 'pairs'}, {n_pairs} pairs of 2000 codes in 10 files\n"


def test_what_is_missing_is_said(tmp_path):
    from fasthash.cluster import ShardedIndex

    made = ShardedIndex.build(save_codes(tmp_path / "codes", near_codes(90)), tmp_path / "index", n_shards=3)
    file = made.manifest.shards[1].file
    (made.folder / file).unlink()
    np.save(tmp_path / "queries.npy", near_codes(2))
    arguments = ("search", made.folder, tmp_path / "queries.npy", tmp_path / "hits.npz")
    assert f"got none of 1, {file} for one" in run(*arguments, exit_code=1)
    assert f"missing: {file}: " in run(*arguments, "--partial")
    assert not np.isin(np.load(tmp_path / "hits.npz")["ids"], np.arange(30, 60)).any()


def test_wrong_arguments_are_refused(tmp_path):
    codes = save_codes(tmp_path / "codes", near_codes(90))
    assert "Error: expected --layout to be one of" in run(
        "build", codes, tmp_path / "x", "--shards", 1, "--layout", "q", exit_code=1
    )
    assert "expected a folder with manifest.json" in run("build", tmp_path, tmp_path / "x", "--shards", 1, exit_code=1)
    run("build", codes, tmp_path / "index", "--shards", 2, "--bits", BITS)
    queries = ("search", tmp_path / "index", codes / "0.npy", "-")
    assert "expected -k or --radius, got both" in run(*queries, "-k", 3, "--radius", 2, exit_code=2)
    encoded_folder(tmp_path / "encoded", near_codes(40), np.arange(40) + 1)
    output = run("build", tmp_path / "encoded", tmp_path / "index", "--shards", 2, exit_code=1)
    assert "expected a folder without another index, got one at" in output
