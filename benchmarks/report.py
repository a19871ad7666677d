"""Turns pytest-benchmark's JSON into the tables and plots that are committed: one CSV, Markdown and PNG a room,
and another PNG for a room that has a case at several sizes."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

import click
from matplotlib.figure import Figure

from fasthash import _core
from fasthash.files import replacing

COLUMNS = ("group", "row", "threads", "min_ms", "median_ms", "rounds", "gcomparisons_per_s", "gb_per_s", "times_other")

OURS = ("fasthash", "floor")  # what the names of rows begin with that are no other library's


def rows_of(benchmarks: Iterable[dict]) -> list[dict[str, object]]:
    """One row a benchmark, grouped by question in the order they ran, the fastest first within one."""
    groups = defaultdict(list)
    for entry in benchmarks:
        groups[entry["group"]].append(entry)
    rows = []
    for group, entries in groups.items():
        rivals = [entry["stats"]["min"] for entry in entries if not entry["extra_info"]["row"].startswith(OURS)]
        for entry in sorted(entries, key=lambda entry: entry["stats"]["min"]):
            info, fastest = entry["extra_info"], entry["stats"]["min"]
            rows.append(
                {
                    "group": group,
                    "row": info["row"],
                    "threads": info.get("threads", 1),
                    "min_ms": f"{fastest * 1e3:.3f}",
                    "median_ms": f"{entry['stats']['median'] * 1e3:.3f}",
                    "rounds": entry["stats"]["rounds"],
                    "gcomparisons_per_s": f"{info['comparisons'] / fastest / 1e9:.2f}" if "comparisons" in info else "",
                    "gb_per_s": f"{info['bytes'] / fastest / 1e9:.1f}",
                    "times_other": f"{min(rivals) / fastest:.1f}" if rivals else "",
                }
            )
    return rows


def facts(machine: dict) -> str:
    cpu = machine.get("cpu", {})
    packages = ", ".join(
        f"{name} {version(name)}" for name in ("torch", "numpy", "numba", "faiss-cpu", "usearch", "POT")
    )
    return (
        f"{cpu.get('brand_raw', machine.get('processor'))}, {cpu.get('count')} processors; "
        f"fasthash level {_core.active_isa()}; Python {machine['python_version']}, {packages}"
    )


def markdown(title: str, machine_facts: str, rows: list[dict[str, object]]) -> str:
    lines = [
        f"# {title}",
        "",
        "Written by `make bench`. One run on one machine, every row after a warm-up; ratios are of minima.",
        "10^9 codes/s counts comparisons of a query with a code; GB/s is the size of the data over the time.",
        "",
        machine_facts,
        "",
    ]
    group = None
    for row in rows:
        if row["group"] != group:
            group = row["group"]
            lines += [
                "",
                f"## {group}",
                "",
                "| | min ms | median ms | 10^9 codes/s | GB/s | x fastest other |",
                "| --- " * 6 + "|",
            ]
        cells = (row[name] for name in ("row", "min_ms", "median_ms", "gcomparisons_per_s", "gb_per_s", "times_other"))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def plot(title: str, rows: list[dict[str, object]]) -> Figure:
    """Of every family the fastest row for each question: comparisons a second, or milliseconds where there are none."""
    rows = [row for row in rows if "kernel alone" not in str(row["row"])]  # the others' have autograd
    compares = all(row["gcomparisons_per_s"] for row in rows)
    value, fastest = ("gcomparisons_per_s", max) if compares else ("min_ms", min)
    families = {
        "fasthash planes": "#0b3d66",
        "fasthash rows": "#7fb0dc",
        "fasthash": "#1f6fb4",
        "faiss": "#d98a2b",
        "torch": "#b4551f",
        "POT": "#8a6fb4",
        "numpy": "#7a7a7a",
        "a sort": "#7a7a7a",
        "floor": "#c9c9c9",
    }
    family_of = {
        row: next((name for name in families if row.startswith(name)), None)
        for row in (str(row["row"]) for row in rows)
    }
    families = {name: colour for name, colour in families.items() if name in family_of.values()}
    groups = list(dict.fromkeys(str(row["group"]) for row in rows))
    figure = Figure(figsize=(10, 0.36 * len(groups) + 1.5), layout="constrained")
    axes = figure.add_subplot(
        title=f"{title}: the fastest row of each, log scale",
        xlabel="10^9 comparisons a second, longer is better" if compares else "milliseconds, shorter is better",
    )
    height = 0.8 / len(families)
    for i, (family, colour) in enumerate(families.items()):
        found = {
            y: [float(row[value]) for row in rows if row["group"] == group and family_of[str(row["row"])] == family]
            for y, group in enumerate(groups)
        }
        best = {y: fastest(values) for y, values in found.items() if values}
        axes.barh([y + i * height for y in best], list(best.values()), height, label=family, color=colour)
    axes.set_xscale("log")
    axes.margins(y=0.005)
    axes.set_yticks([y + 0.4 - height / 2 for y in range(len(groups))], groups, fontsize=8)
    axes.invert_yaxis()
    figure.legend(loc="outside lower center", ncols=len(families))
    axes.grid(axis="x", alpha=0.3)
    return figure


def scaling_plot(title: str, entries: Iterable[dict]) -> Figure:
    """Queries a second against the number of codes, a line a row."""
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


@click.command()
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def main(results: Path, out: Path) -> None:
    """Write the tables and plots of RESULTS, a pytest-benchmark JSON file, to OUT."""
    report = json.loads(results.read_text())
    out.mkdir(parents=True, exist_ok=True)
    rooms = defaultdict(list)
    for entry in report["benchmarks"]:
        rooms[Path(entry["fullname"].partition("::")[0]).stem.removeprefix("bench_")].append(entry)
    for room, entries in rooms.items():
        rows = rows_of(entries)
        with replacing(out / f"{room}.csv") as path, path.open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
        with replacing(out / f"{room}.md") as path:
            path.write_text(markdown(f"Benchmark: {room}", facts(report["machine_info"]), rows))
        with replacing(out / f"{room}.png") as path:
            plot(room, rows).savefig(path, format="png", dpi=110)
        click.echo(f"written: {out / room}.csv, .md, .png")
        if scaling := [entry for entry in entries if "codes" in entry["extra_info"]]:
            with replacing(out / f"{room}-scaling.png") as path:
                scaling_plot(room, scaling).savefig(path, format="png", dpi=110)
            click.echo(f"written: {out / room}-scaling.png")


if __name__ == "__main__":
    main()
