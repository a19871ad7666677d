"""What grids share that compare quantisation terms, each by several weights of which validation chooses one."""

from __future__ import annotations

import click

from benchmarks.papers.tables import Mean, against_first, chosen, table

QUANTIZATIONS = {"original": "original", "-S": "swd", "-C": "hswd", "none": "none"}
QUANTIZED = ("dsdh", "hashnet", "greedyhash", "dch", "csq", "dbdh")
WEIGHTS = {
    "type": click.FloatRange(0),
    "multiple": True,
    "default": (0.1, 0.3, 1.0),
    "show_default": True,
    "help": "Of the terms.",
}
OWN_WEIGHTS = {"dsdh": 0.01, "csq": 0.001}  # of their original terms, which the others have among the weights tried


def weights_of(method, variant, weights):
    """What is tried; None where there is no term, as HashNet has none of its own."""
    if variant == "none" or (method, variant) == ("hashnet", "original"):
        return [None]
    if variant != "original":
        return sorted(weights)
    return sorted({*weights, OWN_WEIGHTS[method]} if method in OWN_WEIGHTS else weights)


def best_weights(rows):
    """Of what was trained with several weights the rows of the best for each loss, length and quantisation."""
    validated = [row for row in rows if "validation_mAP" in row]
    return chosen(validated, "validation_mAP", ["weight"], "table", "method", "bits", "variant")


def variants_table(rows, title, metric="mAP"):
    """A line a loss and length, a column a variant; then how the others compare with the first."""
    lines_of = [row for row in rows if row["table"] == title]
    variants = list(dict.fromkeys(row["variant"] for row in lines_of))
    beside = ("quantization_angle", "bit_entropy") if metric == "mAP" else ()
    columns = {
        variant: Mean(metric, where={"variant": variant}, beside=beside, against={"variant": variants[0]})
        for variant in variants
    }
    if metric == "mAP" and any("weight" in row for row in lines_of):
        columns["weights"] = lambda line, rows: " / ".join(
            dict.fromkeys(f"{row['variant']}: {row['weight']:g}" for row in rows if "weight" in row)
        )
    lines = table(lines_of, {"loss": "method", "bits": "bits"}, columns)
    return [*lines, *against_first(lines_of, metric, "variant", "method", "bits")]


def weights_tried(rows):
    """What was tried, and how one was chosen."""
    tried = sorted({row["weight"] for row in rows if "weight" in row})
    if not tried:
        return []
    return [
        f"The term's weight is, of those tried ({', '.join(f'{weight:g}' for weight in tried)}), the one with the "
        "highest mAP of the validation items, the mean over the seeds,",
        "for each loss, length and quantisation; of equals the smallest.",
        "",
    ]
