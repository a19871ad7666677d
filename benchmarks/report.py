"""Turns pytest-benchmark's JSON into the tables and pictures that are committed: a CSV and a Markdown file a room, a
PNG a question, and another for a room that has a case at several sizes."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import click
from matplotlib.figure import Figure

from benchmarks.pictures import pictures, scaling
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


@click.command()
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
def main(results: Path, out: Path) -> None:
    """Write the tables and pictures of RESULTS to OUT: of a pytest-benchmark JSON file, or of a table, its pictures."""
    if results.suffix == ".csv":
        with results.open(newline="") as file:
            table = csv.DictReader(file)
            if tuple(table.fieldnames or ()) != COLUMNS:
                there = ",".join(table.fieldnames or ()) or "none"
                raise click.ClickException(
                    f"expected a table of the columns {','.join(COLUMNS)}, got {there} in {results}"
                )
            rows = list(table)
        out.mkdir(parents=True, exist_ok=True)
        draw(results.stem, rows, out)
        return
    out.mkdir(parents=True, exist_ok=True)
    report = json.loads(results.read_text())
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
        click.echo(f"written: {out / room}.csv, .md")
        draw(room, rows, out)
        if growing := [entry for entry in entries if "codes" in entry["extra_info"]]:
            write(scaling(room, growing), out / f"{room}-scaling.png")


def draw(room: str, rows: Sequence[Mapping[str, object]], out: Path) -> None:
    """Write a room's pictures, one a question."""
    for name, figure in pictures(room, rows).items():
        write(figure, out / f"{name}.png")


def write(figure: Figure, place: Path) -> None:
    """Write a picture."""
    with replacing(place) as path:
        figure.savefig(path, format="png", dpi=110)
    click.echo(f"written: {place}")


if __name__ == "__main__":
    main()
