"""The GPU half, proven and timed by one command, from the repository's root: `python -m benchmarks.gpu`.

Every kernel is checked at full size against integer or float64 references, with outputs poisoned beforehand, and in
CUDA graphs, and timed beside torch's usual ways and two measured ceilings. Each step is a process of its own, in the
order of their worth, and what it finds out is a line of gpu.jsonl as soon as it is known. A step that takes too long is
ended and the next one begun. Run again, the command takes first the steps that were not begun, then those that failed.

`--quick` runs all of it at small sizes, on a CPU where there is no GPU, to see that the command itself works.
"""

from __future__ import annotations

from pathlib import Path
from time import monotonic

import click
import torch

from benchmarks.gpu.records import Records
from benchmarks.gpu.report import markdown
from benchmarks.gpu.run import run_here, run_steps
from benchmarks.gpu.steps import OPTIONAL, STEPS


@click.command()
@click.argument("steps", nargs=-1, type=click.Choice([*STEPS, *OPTIONAL]))
@click.option("--quick", is_flag=True, help="Small sizes, to see that everything runs; on a CPU where there is no GPU.")
@click.option("--deadline", type=click.FloatRange(min=0), metavar="SECONDS", help="When the command has to have ended.")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default="out/gpu", show_default=True,
    help="Of gpu.jsonl, gpu.md, tuning.json and all else that is written.",
)  # fmt: skip
@click.option("--here", is_flag=True, hidden=True)
def main(steps: tuple[str, ...], quick: bool, deadline: float | None, out: Path, here: bool) -> None:
    """Check and time every GPU kernel, or what STEPS do, whether they were done before or not."""
    end = None if deadline is None else monotonic() + deadline
    if not quick and not torch.cuda.is_available():
        raise click.ClickException("expected a CUDA device, found none; --quick runs small sizes on a CPU")
    records = Records(out)
    if here:
        run_here(steps, records, quick)
        return
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
    if others := records.runs() - {(device, quick)}:
        what = ", ".join(f"{name}{', --quick' if small else ''}" for name, small in sorted(others))
        raise click.ClickException(f"expected --out without another machine's records or sizes, got those of {what}")
    run_steps(steps or records.left(STEPS), records, quick, end)
    table = markdown(records)
    (out / "gpu.md").write_text(table)
    click.echo(table)
    if failed := records.failures():
        raise click.ClickException(f"{len(failed)} failed: {'; '.join(failed)}")
    if not steps and (left := records.left(STEPS)):
        raise click.ClickException(f"not done yet: {', '.join(left)}; the same command goes on")


if __name__ == "__main__":
    main()
