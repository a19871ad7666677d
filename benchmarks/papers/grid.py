"""The grid of trainings behind a paper's table: cells in folders of their own, their rows in one CSV file.

A cell that was interrupted goes on from its last epoch, one that is finished is not repeated, and one of other settings
is refused. `--only method=csq` trains a part, so that parts can run side by side.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from benchmarks.papers.options import Options
from benchmarks.papers.tables import Row, read_rows
from fasthash import _core
from fasthash.recipes import RecipeSettings, Run, train
from fasthash.recipes.run_folder import read_json, write_csv, write_json


@dataclass(frozen=True)
class Cell:
    """A training or a fit.

    Attributes:
        key: what tells it from the grid's other cells; it names the folder.
        settings: of the recipe that trains it; None where none does.
        given: what else its rows depend on.
    """

    key: Mapping[str, str | int | float]
    settings: RecipeSettings | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def decisive(self) -> dict[str, Any]:
        """All that its rows depend on, of JSON's types."""
        settings = {} if self.settings is None else asdict(self.settings)
        return json.loads(json.dumps({**self.key, **self.given, **settings}))


class Grid:
    """The cells of a table.

    Args:
        name: of the folder of folders in `options.out`, and beside it of the CSV file, and of the JSON file of facts.
        cells: in the order of their rows.
        options: the command line's.

    Raises:
        ValueError: if two cells would have one folder.
        click.ClickException: if `--only` names what no cell has.
    """

    def __init__(self, name: str, cells: Sequence[Cell], options: Options) -> None:
        self.name, self.cells, self.options = name, cells, options
        self.csv, self.json = (options.out / f"{name}.{kind}" for kind in ("csv", "json"))
        if len({self.folder(cell) for cell in cells}) < len(cells):
            raise ValueError(f"Grid: expected cells of different keys in {name}, got two of one folder")
        for key, values in options.only.items():
            there = list(dict.fromkeys(str(cell.key[key]) for cell in cells if key in cell.key))
            if not there:
                raise click.ClickException(f"expected --only with one of {', '.join(cells[-1].key)}, got {key}")
            if not set(values) <= set(there):
                raise click.ClickException(f"expected --only {key} of {', '.join(there)}, got {', '.join(values)}")

    def folder(self, cell: Cell) -> Path:
        named = "-".join(str(value) for value in cell.key.values())
        return self.options.out / self.name / re.sub(r"[^\w.+=]+", "-", named)

    def train(self, cell: Cell, **data: Any) -> Run:
        """Train a cell by its recipe in its folder, or go on; `data` replaces what the settings name."""
        where = {"root": self.options.data_root, "out": self.folder(cell), "device": self.options.device}
        return train(cell.settings, **data, **where, resume=True)

    def run(
        self, work: Callable[[Cell], Iterable[Row]], facts: Callable[[], Mapping[str, Any]] = dict
    ) -> list[Row] | None:
        """Finish the cells that `--only` leaves, and return the rows of all, or None while some are not finished.

        Args:
            work: the rows of a cell.
            facts: what its table says that no row has; kept beside the CSV file once all cells are finished.
        """
        if self.options.tables_only:
            return read_rows(self.csv)
        for cell in tqdm(self.left(), desc=self.name, unit="cell"):
            self.finish(cell, work)
            self._write()
        finished = [self._is_finished(cell) for cell in self.cells]
        if not all(finished):
            self.json.unlink(missing_ok=True)
            click.echo(f"{self.name}: {sum(finished)} of {len(finished)} cells are finished; no table before all are")
            return None
        self._write()
        records = [self._record(cell) for cell in self.cells]
        minutes = round(sum(record["seconds"] for record in records) / 60, 2)
        write_json(
            self.json, {"command": self.options.command, **facts(), "minutes": minutes, **records[-1]["machine"]}
        )
        return read_rows(self.csv)

    def left(self) -> list[Cell]:
        """The cells that `run` would finish, once all folders that are there have proved to be of these settings."""
        if self.options.tables_only:
            return []
        for cell in self.cells:
            self._check(cell)
        return [cell for cell in self.cells if self._is_wanted(cell) and not self._is_finished(cell)]

    def finish(self, cell: Cell, work: Callable[[Cell], Iterable[Row]]) -> None:
        """Work out the rows of a cell if its folder does not have them."""
        if self._is_finished(cell):
            return
        folder = self.folder(cell)
        folder.mkdir(parents=True, exist_ok=True)
        write_json(folder / "cell.json", cell.decisive())
        start = time.perf_counter()
        rows = list(work(cell))
        machine = {"threads": torch.get_num_threads(), "level": _core.active_isa()}
        write_json(folder / "rows.json", {"seconds": time.perf_counter() - start, "machine": machine, "rows": rows})

    def facts(self) -> dict[str, Any]:
        """What `run` kept beside the CSV file of a grid of which all cells are finished."""
        if not self.json.exists():
            raise click.ClickException(f"expected the facts of a finished grid in {self.json}, got no such file")
        return _read("the facts of a finished grid", self.json)

    def _check(self, cell: Cell) -> None:
        file, now = self.folder(cell) / "cell.json", cell.decisive()
        there = _read("the settings of a cell", file) if file.exists() else now
        changed = sorted(name for name in there.keys() | now.keys() if there.get(name) != now.get(name))
        if changed:
            changes = ", ".join(f"{name}: {there.get(name)!r} there, {now.get(name)!r} now" for name in changed)
            raise click.ClickException(
                f"expected the settings of the cell in {file.parent}, got others ({changes}); name another --out"
            )

    def _is_wanted(self, cell: Cell) -> bool:
        return all(str(cell.key.get(name)) in values for name, values in self.options.only.items())

    def _is_finished(self, cell: Cell) -> bool:
        return (self.folder(cell) / "rows.json").exists()

    def _record(self, cell: Cell) -> dict[str, Any]:
        return _read("the rows of a cell", self.folder(cell) / "rows.json")

    def _write(self) -> None:
        """From the folders, which other processes may have filled."""
        finished = [cell for cell in self.cells if self._is_finished(cell)]
        write_csv(self.csv, [row for cell in finished for row in self._record(cell)["rows"]])


def _read(what: str, file: Path) -> dict[str, Any]:
    try:
        return read_json(f"expected {what}", file)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
