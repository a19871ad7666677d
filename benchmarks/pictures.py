"""The pictures of benchmarks' tables: a question each, of every family of rows the fastest; and a line a row over n."""

from __future__ import annotations

import re
import textwrap
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

# Rows are of the first family that their name begins with.
FAMILIES = {
    "fasthash planes": "#0b3d66",
    "fasthash rows": "#7fb0dc",
    "fasthash Hamming": "#a9c9e6",
    "fasthash, factors": "#0b3d66",
    "fasthash FlatIndex": "#7fb0dc",
    "fasthash MultiIndex": "#0b3d66",
    "fasthash torch": "#7fb0dc",
    "fasthash reference": "#7fb0dc",
    "fasthash": "#1f6fb4",
    "FAISS IndexRaBitQFastScan": "#d98a2b",
    "FAISS IndexRaBitQ": "#ecc08a",
    "FAISS IndexFlatIP": "#8a5a1f",
    "faiss IndexBinaryIVF": "#ecc08a",
    "faiss IndexBinaryMultiHash": "#8a5a1f",
    "faiss MultiHash": "#8a5a1f",
    "faiss": "#d98a2b",
    "usearch": "#6a994e",
    "POT": "#8a6fb4",
    "torch.sort": "#b4551f",
    "torch": "#b4551f",
    "parametrizations.orthogonal": "#e0a184",
    "reflection after reflection": "#7a7a7a",
    "original": "#b4551f",
    "sliced": "#8a6fb4",
    "none": "#c9c9c9",
    "numpy": "#7a7a7a",
    "dict": "#7a7a7a",
    "a sort": "#7a7a7a",
    "BK-tree": "#7a7a7a",
    "floor": "#c9c9c9",
}


@dataclass(frozen=True)
class Question:
    """What one picture answers.

    Attributes:
        name: of the picture's file, after the room's.
        title: what is asked.
        groups: which groups of the table, as a whole; what is in brackets tells them apart.
        without: rows that are left out.
    """

    name: str
    title: str
    groups: str
    without: str | None = None


QUESTIONS: dict[str, Sequence[Question]] = {
    "asymmetric": [
        Question("many", "100 real queries of 4 bits, 10^6 codes", r"(\d+ bits) n=1e6 q=100 k=10 clustered"),
        Question("one", "One real query of 4 bits, 10^6 codes", r"(\d+ bits) n=1e6 q=1 k=10 clustered"),
    ],
    "hamming": [
        Question(
            "lengths",
            "Lengths of codes: 100 queries, 10^6 codes, k = 10",
            r"(\d+ bits) n=1e6 q=100 k=10",
            without=r"^(usearch|torch|numpy)",
        ),
        Question("one", "One query, 10^6 codes, k = 10", r"(\d+ bits) n=1e6 q=1 k=10"),
        Question("queries", "Queries at once: 10^7 codes, k = 10", r"(\d+ bits) n=1e7 (q=\d+) k=10"),
        Question("hits", "Hits of a query: 100 queries, 10^7 codes", r"(\d+ bits) n=1e7 q=100 (k=\d+)"),
        Question("data", "Uniform and clustered codes: 256 queries, 10^6", r"(\d+ bits) n=1e6 q=256 k=10( clustered)?"),
        Question("threads", "Threads: 512 queries, 10^6 codes, k = 10", r"(\d+ bits) n=1e6 q=512 k=10( 2 threads)?"),
    ],
    "multi_index": [
        Question(
            "codes",
            "Number of codes: 64 bits, clustered, 50 queries, k = 10",
            r"64 bits (n=\S+) clustered 0.1 q=50 k=10",
        ),
        Question(
            "hits",
            "Hits of a query: 10^7 clustered codes of 64 bits, 50 queries; FAISS's inexact ones from recall .99",
            r"64 bits n=1e7 clustered 0.1 q=50 ((?:k|radius)=\d+)",
            without=r"recall 0\.(?!99)",
        ),
        Question(
            "data",
            "Data: 10^7 codes of 64 bits, k = 10; FAISS's inexact ones from recall .99",
            r"64 bits n=1e7 (uniform|clustered \S+) (q=\d+) k=10",
            without=r"recall 0\.(?!99)",
        ),
    ],
    "pairs": [
        Question("uniform", "All pairs of uniform codes", r"pairs: (\S+ x \d+ bits), uniform, (r=\d+)"),
        Question(
            "data", "All pairs of other codes", r"pairs: (1e6 x 64 bits, (?:clustered|half of the bits|each bit).*)"
        ),
    ],
    "planes": [
        Question("queries", "Queries at once: 10^7 uniform codes, k = 10", r"(\d+ bits) n=1e\+07 (q=\d+) k=10"),
        Question(
            "clustered", "Queries at once: 10^7 clustered codes, k = 10", r"(\d+ bits) n=1e\+07 (q=\d+) k=10 clustered"
        ),
        Question("threads", "Two threads: 10^7 uniform codes, k = 10", r"(\d+ bits) n=1e\+07 (q=\d+) k=10 2 threads"),
        Question("writing", "Writing and reading 10^6 codes, all at once", r"((?:write|read) \d+ bits) n=1e\+06"),
        Question("appending", "Adding 10^4 codes, one by one", r"append (\d+ bits) n=1e\+04, one by one"),
    ],
    "wasserstein": [
        Question("hswd", "HSWD, forward and backward", r"hswd forward and backward, (.*) float32"),
        Question(
            "between", "Between two samples, forward and backward", r"wasserstein_1d forward and backward, (.*) float32"
        ),
        Question("sliced", "Sliced distance, forward and backward", r"sliced distance forward and backward, (.*)"),
        Question(
            "papers",
            "A batch's distance to bits, forward and backward",
            r"the papers' distances of a batch to bits, forward and backward, (.*)",
        ),
    ],
}

TITLES = {  # of the pictures of all groups
    "evaluate": "Mean average precision by counting, beside a sort of each query",
    "h2q": "Training a rotation",
    "hashers": "ITQ beside FAISS's",
    "householder": "A product of reflections, forward and backward",
    "id_map": "Ids: adding, finding, removing",
    "index": "Building, saving and opening indexes",
    "losses": "Steps of losses that learn codes of the training set",
    "packing": "Packing and encoding",
    "ranking": "Ranking for evaluation, by distance and by place",
    "supervised": "An epoch of training, and its quantisation term",
}


def family(row: str) -> str:
    """Return which family a row is of.

    Raises:
        ValueError: if it is of none.
    """
    for name in FAMILIES:
        if row.startswith(name):
            return name
    raise ValueError(f"pictures: expected a row of one of the families {', '.join(FAMILIES)}, got {row!r}")


def questions(room: str, groups: Iterable[str]) -> dict[str, tuple[str, dict[str, str]]]:
    """Return the pictures of a room: by the name of its file the title, and by group what it is called there.

    Groups that no question asks for are in the table alone; a room without questions has one picture of all groups.
    """
    groups = list(dict.fromkeys(groups))
    found = {}
    for question in QUESTIONS.get(room, ()):
        matches = {group: re.fullmatch(question.groups, group) for group in groups}
        named = {
            group: ", ".join(part.strip() for part in match.groups() if part)
            for group, match in matches.items()
            if match
        }
        if named:
            found[f"{room}-{question.name}"] = (question.title, named)
    return found or {room: (TITLES.get(room, room), {group: group for group in groups})}


def bars(title: str, labels: Mapping[str, str], rows: Sequence[Mapping[str, object]], without: str | None) -> Figure:
    """Draw of every family the fastest row of each group: comparisons a second, or milliseconds if there are none."""
    rows = [
        row
        for row in rows
        if row["group"] in labels
        and "kernel alone" not in str(row["row"])  # the others' have autograd
        and not (without and re.search(without, str(row["row"])))
    ]
    compares = all(row["gcomparisons_per_s"] for row in rows)
    value, fastest = ("gcomparisons_per_s", max) if compares else ("min_ms", min)
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        of_group, name, x = found[str(row["group"])], family(str(row["row"])), float(str(row[value]))
        of_group[name] = fastest(of_group.get(name, x), x)
    order = sorted(found, key=lambda group: [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", labels[group])])
    ticks, lines = [], 0.0
    drawn: dict[str, list[tuple[float, float]]] = {name: [] for name in FAMILIES}
    texts = {group: textwrap.fill(labels[group], 40) for group in order}
    for group in order:
        names = [name for name in FAMILIES if name in found[group]]
        ticks.append(lines + (len(names) - 1) / 2)
        for i, name in enumerate(names):
            drawn[name].append((lines + i, found[group][name]))
        lines += max(len(names), 0.8 * len(texts[group].splitlines())) + 0.6
    names = [name for name, points in drawn.items() if points]
    figure = Figure(figsize=(7.5, 0.19 * lines + 1.6), layout="constrained")
    figure.suptitle(title, fontsize=11)
    unit = "10^9 comparisons a second, longer is better" if compares else "milliseconds, shorter is better"
    values = [x for of_group in found.values() for x in of_group.values()]
    is_wide = max(values) > 20 * min(values)
    axes = figure.add_subplot(xlabel=f"{unit}; log scale" if is_wide else unit, xscale="log" if is_wide else "linear")
    for name in names:
        places, lengths = zip(*drawn[name], strict=True)
        of_name = axes.barh(places, lengths, 0.92, label=name, color=FAMILIES[name])
        numbers = [f"{length:,.0f}" if length >= 1000 else f"{length:.3g}" for length in lengths]
        axes.bar_label(of_name, numbers, padding=2, fontsize=8)
    axes.margins(x=0.12)
    axes.set_ylim(lines - 0.6, -1)
    axes.set_yticks(ticks, list(texts.values()), fontsize=9)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter(NullFormatter())
    figure.legend(loc="outside lower center", ncols=min(3, len(names)), fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    return figure


def pictures(room: str, rows: Sequence[Mapping[str, object]]) -> dict[str, Figure]:
    """Return a room's pictures, by the name of the file."""
    without = {f"{room}-{question.name}": question.without for question in QUESTIONS.get(room, ())}
    asked = questions(room, (str(row["group"]) for row in rows))
    return {name: bars(title, labels, rows, without.get(name)) for name, (title, labels) in asked.items()}


def scaling(title: str, entries: Iterable[Mapping[str, dict]]) -> Figure:
    """Draw queries a second against the number of codes, a line a row."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.add_subplot(title=f"{title}: queries a second, one thread", xlabel="codes", ylabel="queries a second")
    lines = defaultdict(list)
    for entry in entries:
        info = entry["extra_info"]
        lines[info["row"]].append((info["codes"], info["queries"] / entry["stats"]["min"]))
    for row, points in lines.items():
        if len(points) > 1:
            axes.plot(*zip(*sorted(points), strict=True), marker="o", label=row)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right upper")  # many lines, which a legend among them covers
    return figure
