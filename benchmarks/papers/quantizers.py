"""Codes of embeddings by hashers that need no label: what they find of the nearest, and how they rank classes.

`python -m benchmarks.papers.quantizers digits fashion_mnist cifar10 embeddings.npz:embeddings` (from the repository's
root) compares them on the leading 128 principal components of images, whose labels give the mean average precision,
and on arrays of embeddings as they are.
"""

from __future__ import annotations

import functools
import itertools
import time

import click
import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from benchmarks.papers.features import flat
from benchmarks.papers.grid import Cell, Grid
from benchmarks.papers.options import command, name_of
from benchmarks.papers.tables import Mean, seeds_used, table, write_markdown
from fasthash import asymmetric_topk, hamming_topk
from fasthash.data import load_dataset, read_array
from fasthash.evaluate import mean_average_precision
from fasthash.hashers import H2Q, ITQ, LSH, NeighborHashing

N_QUERIES, N_NEAREST, N_COMPONENTS = 1000, 10, 128
HASHERS = {"LSH": LSH, "ITQ": ITQ, "H2Q": H2Q, "NeighborHashing": NeighborHashing}
COLUMNS = {
    "Hamming, recall@10": Mean("hamming", 4),
    "float queries": Mean("asymmetric", 4),
    "mAP": Mean("mAP", 4),
    "fit s": Mean("fit_s", 1),
}


def is_array(data: str) -> bool:
    """Whether it is a place of embeddings, as `read_array` has them, and not a data set."""
    return ":" in data


def database_and_queries(data, data_root, seed):
    """Float32 rows, with labels or None, of the database and of the queries."""
    if is_array(data):
        rows = np.asarray(read_array(data), dtype=np.float32)
        parts = train_test_split(np.arange(len(rows)), test_size=min(N_QUERIES, len(rows) // 4), random_state=seed)
        return [(rows[part], None) for part in parts]
    dataset = load_dataset(data, data_root)
    if "test" in dataset.splits:
        test = np.random.default_rng(seed).permutation(dataset.splits["test"])[:N_QUERIES]
        parts = dataset.splits["train"], test
    else:
        parts = train_test_split(np.arange(len(dataset.items)), test_size=297, random_state=seed)
    pixels = flat(dataset.items)
    pca = PCA(min(N_COMPONENTS, pixels.shape[1]), svd_solver="covariance_eigh").fit(pixels[parts[0]])
    return [(pca.transform(pixels[part]).astype(np.float32), dataset.labels[part]) for part in parts]


def nearest(rows, queries):
    """The exact ten nearest rows of each query by their Euclidean distances, int64 [q, 10]."""
    rows, queries = torch.from_numpy(rows), torch.from_numpy(queries)
    return torch.cat([torch.cdist(part, rows).topk(N_NEAREST, largest=False).indices for part in queries.split(100)])


def recall(true, found):
    return (true[:, :, None] == torch.from_numpy(found)[:, None, :]).any(2).float().mean().item()


def measured(hasher, database, queries, true):
    """The row of a hasher."""
    (rows, labels), (asked, asked_labels) = database, queries
    start = time.process_time()
    hasher.fit(rows)
    seconds = time.process_time() - start
    codes, query_codes = hasher.encode(rows), hasher.encode(asked)
    row = {
        "hamming": f"{recall(true, hamming_topk(query_codes, codes, N_NEAREST).ids):.4f}",
        "asymmetric": f"{recall(true, asymmetric_topk(hasher.transform(asked), codes, N_NEAREST).ids):.4f}",
        "fit_s": f"{seconds:.2f}",
    }
    if labels is not None:
        row["mAP"] = f"{mean_average_precision(query_codes, asked_labels, codes, labels):.4f}"
    return row


def report(rows, facts):
    lines = [
        "# Codes of embeddings, without labels",
        "",
        f"Written by `python -m benchmarks.papers.quantizers`, {seeds_used(rows)} of queries and hashers, "
        f"{facts['threads']} threads, fasthash level {facts['level']}.",
        "Of images the features are the leading 128 principal components of the pixels (64 of the digits); the",
        "database is the training part, the queries are 1,000 of the test part (297 of the digits). Of arrays 1,000",
        "rows ask. Recall is that of the exact ten nearest among the first ten found, by the Hamming distance and by",
        "queries of 4 bits a number (`asymmetric_topk`); fit s is the processor time of `fit`.",
    ]
    for data, n_bits in dict.fromkeys((row["data"], row["bits"]) for row in rows):
        chosen = [row for row in rows if (row["data"], row["bits"]) == (data, n_bits)]
        lines += ["", f"## {data}, {n_bits} bits", "", *table(chosen, {"hasher": "hasher"}, COLUMNS)]
    return lines


@command(bits=(16, 32, 64, 128, 256, 384), seeds=3)
@click.argument("datasets", nargs=-1, required=True)
def main(datasets, bits, seeds, options):
    """Compare hashers on DATASETS: names, or arrays of embeddings, file.npz:name; bits beyond columns are left out."""
    by_name = {name_of(data): data for data in datasets}
    cells = [
        Cell({"data": data, "bits": n_bits, "hasher": hasher, "seed": seed}, given={"dataset": by_name[data]})
        for data, seed, n_bits, hasher in itertools.product(by_name, range(seeds), bits, HASHERS)
    ]
    grid = Grid("quantizers", cells, options)

    @functools.lru_cache(1)
    def prepared(data, seed):
        database, queries = database_and_queries(by_name[data], options.data_root, seed)
        return database, queries, nearest(database[0], queries[0])

    def work(cell):
        data, n_bits, hasher, seed = cell.key.values()
        database, queries, true = prepared(data, seed)
        if n_bits <= database[0].shape[1]:
            fitted = HASHERS[hasher](n_bits, random_state=seed)
            yield {**cell.key, **measured(fitted, database, queries, true)}

    rows = grid.run(work)
    if rows is not None:
        rows.sort(key=lambda row: (list(by_name).index(row["data"]), row["bits"]))
        write_markdown(options.out / "quantizers.md", report(rows, grid.facts()))


if __name__ == "__main__":
    main()
