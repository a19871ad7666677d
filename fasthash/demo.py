"""The main job, end to end, on scikit-learn's handwritten digits."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tqdm import tqdm

from fasthash.evaluate import mean_average_precision, precision_at, precision_recall_curve
from fasthash.files import replacing
from fasthash.hashers import H2Q, ITQ, LSH
from fasthash.index import FlatIndex

N_QUERIES = 297
SHOWN_QUERIES, SHOWN_HITS = 8, 10
COLUMNS = ("method", "bits", "mAP", "P@10", "P@100")


def run_demo(out: Path, bits: Sequence[int] = (16, 32, 64), seed: int = 0) -> list[dict[str, str]]:
    """Hash, search and evaluate the digits; write a table and pictures to `out`; return the table's rows."""
    from fasthash.evaluate.plots import precision_recall_figure, retrieval_grid

    pixels, labels = load_digits(return_X_y=True)
    database, queries, database_labels, query_labels = train_test_split(
        pixels.astype(np.float32), labels, test_size=N_QUERIES, stratify=labels, random_state=seed
    )
    hashers = [method(n_bits, random_state=seed) for n_bits in bits for method in (LSH, ITQ, H2Q)]
    rows, curves = [], {}
    for hasher in tqdm(hashers, desc="digits", unit="code"):
        name = type(hasher).__name__
        codes = hasher.fit(database).encode(database)
        retrieval = (hasher.encode(queries), query_labels, codes, database_labels)
        rows.append(
            {
                "method": name,
                "bits": str(hasher.n_bits),
                "mAP": f"{mean_average_precision(*retrieval):.3f}",
                "P@10": f"{precision_at(10, *retrieval):.3f}",
                "P@100": f"{precision_at(100, *retrieval):.3f}",
            }
        )
        curves[f"{name}, {hasher.n_bits} bits"] = precision_recall_curve(*retrieval)

    index = FlatIndex(hasher.n_bits)
    index.add(codes)
    distances, ids = index.search(hasher.encode(queries[:SHOWN_QUERIES]), SHOWN_HITS)
    grid = retrieval_grid(
        queries[:SHOWN_QUERIES].reshape(-1, 8, 8),
        database[ids].reshape(-1, SHOWN_HITS, 8, 8),
        database_labels[ids] == query_labels[:SHOWN_QUERIES, None],
        captions=[[f"{distance} bits" for distance in row] for row in distances],
        title=f"Ten nearest digits by Hamming distance ({name}, {hasher.n_bits} bits)",
    )
    curve = precision_recall_figure(curves, "Digits: precision and recall by Hamming radius")

    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "results.csv") as path, path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for name, figure in (("retrieval", grid), ("precision_recall", curve)):
        with replacing(out / f"{name}.png") as path:
            figure.savefig(path, format="png", dpi=120)
    return rows
