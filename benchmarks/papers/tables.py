"""Rows as Markdown tables: means and deviations over the seeds, and the papers' figures beside them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import numpy as np
from scipy.stats import ttest_rel

Row = dict[str, Any]
SIGNIFICANT = 0.05
MARKS = {1: " ▲", 0: "", -1: " ▼"}


def read_rows(path: Path) -> list[Row]:
    """The rows of a CSV file, numbers as numbers, without the cells that are empty."""
    if not path.exists():
        raise click.ClickException(f"expected the rows of a grid in {path}, got no such file")
    with path.open(newline="") as file:
        return [{name: _number(text) for name, text in row.items() if text != ""} for row in csv.DictReader(file)]


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def written_by(facts: Mapping[str, Any]) -> str:
    threads = "one thread" if facts["threads"] == 1 else f"{facts['threads']} threads"
    return f"Written by `{facts['command']}` in {facts['minutes']:.0f} minutes of {threads}."


def rounded(row: Mapping[str, float], digits: int) -> Row:
    return {name: round(value, digits) for name, value in row.items()}


def means(rows: Iterable[Row], metric: str, *names: str) -> dict[tuple[Any, ...], float]:
    """The mean of a metric over the rows of which these columns are equal, by their values."""
    values: dict[tuple[Any, ...], list[float]] = {}
    for row in rows:
        if metric in row:
            values.setdefault(tuple(row[name] for name in names), []).append(row[metric])
    return {key: float(np.mean(each)) for key, each in values.items()}


def chosen(rows: Iterable[Row], metric: str, columns: Sequence[str], *names: str) -> list[Row]:
    """The rows of the setting whose mean of a metric is the highest, for each question; of equals the first setting.

    Args:
        rows: those of a setting agree in `columns`, of which some may be missing.
        metric: of the validation items.
        columns: what was tried.
        names: columns that tell the questions apart.
    """
    questions: dict[tuple[Any, ...], dict[tuple[Any, ...], list[Row]]] = {}
    for row in rows:
        settings = questions.setdefault(tuple(row[name] for name in names), {})
        settings.setdefault(tuple(row.get(column) for column in columns), []).append(row)
    best = (
        max(settings.values(), key=lambda tried: np.mean([row[metric] for row in tried]))
        for settings in questions.values()
    )
    return [row for tried in best for row in tried]


def significance(rows: Iterable[Row], others: Iterable[Row], metric: str) -> int:
    """1 or -1 where a metric is higher or lower than others' of the same seeds by a paired t-test at 0.05, else 0."""
    values, beside = ({row["seed"]: row[metric] for row in each if metric in row} for each in (rows, others))
    seeds = sorted(values.keys() & beside.keys())
    if len(seeds) < 2 or len({values[seed] - beside[seed] for seed in seeds}) == 1:
        return 0
    test = ttest_rel(*([each[seed] for seed in seeds] for each in (values, beside)))
    return int(np.sign(test.statistic)) if test.pvalue < SIGNIFICANT else 0


@dataclass(frozen=True)
class Mean:
    """A column: mean and deviation of a metric over a line's rows; one row has no deviation.

    Attributes:
        metric: a column of the rows.
        digits: after the point.
        where: which of a line's rows, by the values of their columns.
        beside: metrics whose means stand in brackets, with two digits.
        against: which of a line's rows it is compared with, as in `where`; what is higher or lower by a paired t-test
            over the seeds is marked.
    """

    metric: str
    digits: int = 3
    where: Mapping[str, Any] = field(default_factory=dict)
    beside: Sequence[str] = ()
    against: Mapping[str, Any] | None = None

    def __call__(self, line: tuple[Any, ...], rows: list[Row]) -> str:
        own = _where(rows, self.where)
        values = [row[self.metric] for row in own if self.metric in row]
        if not values:
            return ""
        text = f"{np.mean(values):.{self.digits}f}"
        if len(values) > 1:
            text += f" ± {np.std(values):.{self.digits}f}"
        if self.beside:
            text += f" ({', '.join(f'{np.mean([row[name] for row in own]):.2f}' for name in self.beside)})"
        if self.against is not None:
            text += MARKS[significance(own, _where(rows, self.against), self.metric)]
        return text


def _where(rows: Iterable[Row], values: Mapping[str, Any]) -> list[Row]:
    return [row for row in rows if all(row[name] == value for name, value in values.items())]


@dataclass(frozen=True)
class Paper:
    """A column: what the paper has for a line, by the line's values; empty where it has nothing."""

    figures: Mapping[tuple[Any, ...], float]
    digits: int = 3

    def __call__(self, line: tuple[Any, ...], rows: list[Row]) -> str:
        return f"{self.figures[line]:.{self.digits}f}" if line in self.figures else ""


def seeds_of(line: tuple[Any, ...], rows: list[Row]) -> str:
    """A column: how many rows a line is of."""
    return str(len(rows))


def seeds_used(rows: Iterable[Row]) -> str:
    last = max(row["seed"] for row in rows)
    return f"seeds 0 to {last}" if last else "seed 0"


def table(
    rows: Iterable[Row], lines: Mapping[str, str], columns: Mapping[str, Callable[[tuple[Any, ...], list[Row]], str]]
) -> list[str]:
    """Markdown.

    Args:
        rows: a line is of all that agree in the columns that `lines` names; lines are in the order of their first rows.
        lines: columns of the rows by their headings.
        columns: by heading, what makes the text of a line's values and rows.
    """
    by_line: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        by_line.setdefault(tuple(row[name] for name in lines.values()), []).append(row)
    head = " | ".join([*lines, *columns])
    written = [f"| {head} |".replace("|  |", "| |"), "| --- " * (len(lines) + len(columns)) + "|"]
    for line, of_line in by_line.items():
        cells = [*map(str, line), *(column(line, of_line) for column in columns.values())]
        written.append(f"| {' | '.join(cells)} |")
    return written


def against_first(rows: Iterable[Row], metric: str, column: str, *names: str) -> list[str]:
    """How a metric's means for the later values of a column compare with those for its first; nothing for one pair.

    Args:
        rows: of each value and question as many.
        metric: at least as high is better.
        column: whose values are compared.
        names: columns that tell the questions apart.
    """
    values = means(rows, metric, column, *names)
    first, *others = dict.fromkeys(value for value, *_ in values)
    questions = [question for value, *question in values if value == first]
    if len(questions) == 1:
        return []
    lines = ["", f"{metric} against {first}, of {len(questions)} pairs of means:", ""]
    for other in others:
        gains = np.array([values[other, *question] - values[first, *question] for question in questions])
        lines.append(
            f"- {other}: at least as high {np.sum(gains >= 0)} times; difference {gains.mean():+.4f} in the mean, "
            f"{gains.min():+.4f} to {gains.max():+.4f}"
        )
    return lines


def write_markdown(path: Path, lines: Sequence[str]) -> None:
    """Write and print it."""
    path.write_text("\n".join(lines) + "\n")
    click.echo("\n".join(lines))
