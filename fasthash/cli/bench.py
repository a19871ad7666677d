"""The benchmark of this machine."""

from __future__ import annotations

from pathlib import Path

import click

from fasthash.cli.arguments import example, makeable


def _whole_bytes(context: click.Context, parameter: click.Parameter, bits: tuple[int, ...]) -> tuple[int, ...]:
    for n_bits in bits:
        if n_bits % 8:
            raise click.BadParameter(f"expected a multiple of 8, got {n_bits}")
    return bits


@click.command(epilog=example("fasthash bench --bits 64 --bits 256 --threads 2"))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("out/bench"),
    show_default=True,
    callback=makeable,
    help="Of bench.csv and bench.png.",
)
@click.option(
    "--bits",
    type=click.IntRange(8, 4096),
    multiple=True,
    default=(64, 128, 256, 512, 1024),
    show_default=True,
    callback=_whole_bytes,
    help="Length of the codes, a multiple of 8.",
)
@click.option("--codes", "n_codes", type=click.IntRange(1), default=1_000_000, show_default=True, help="To search.")
@click.option(
    "--queries", type=click.IntRange(1), multiple=True, default=(1, 100), show_default=True, help="Asked at once."
)
@click.option("-k", type=click.IntRange(1), default=10, show_default=True, help="Hits of a query.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Of both libraries.")
@click.option("--seconds", type=click.FloatRange(0), default=120.0, show_default=True, help="Nearly, of all of it.")
def bench(
    out: Path, bits: tuple[int, ...], n_codes: int, queries: tuple[int, ...], k: int, threads: int, seconds: float
) -> None:
    """Time the exact search of this machine beside FAISS's, if that is installed; write a table and a picture."""
    from fasthash.bench import run_bench

    if k > n_codes:
        raise click.BadParameter(f"expected at most the {n_codes} codes, got {k}", param_hint="-k")
    rows = run_bench(out, bits=bits, n_codes=n_codes, queries=queries, k=k, threads=threads, seconds=seconds)
    click.echo(f"{'bits':>6}{'queries':>9}{'fasthash ms':>13}{'FAISS ms':>10}{'times':>7}")
    for row in rows:
        beside = f"{row['faiss']:>10.2f}{row['ratio']:>7.1f}" if "faiss" in row else f"{'-':>10}{'-':>7}"
        click.echo(f"{row['bits']:>6}{row['queries']:>9}{row['fasthash']:>13.2f}{beside}")
    if "faiss" not in rows[0]:
        click.echo("FAISS is not installed: pip install 'torch-fasthash[faiss]'", err=True)
    written = [path for path in (out / "bench.csv", out / "bench.png") if path.exists()]
    click.echo(f"written: {', '.join(map(str, written))}")
