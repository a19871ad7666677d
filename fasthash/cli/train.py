"""Trainings by the recipes."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import click

from fasthash.cli.arguments import Commands, example, makeable, options_of
from fasthash.recipes.settings import RECIPES, RecipeSettings


class Recipes(Commands):
    """A command for each recipe, with an option for each of its settings."""

    def list_commands(self, context: click.Context) -> list[str]:
        """Return the recipes' names."""
        return list(RECIPES)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """Return the command of a recipe."""
        return command_of(name, RECIPES[name]) if name in RECIPES else None

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of the recipe that is named first."""
        if arguments[0] not in RECIPES and not arguments[0].startswith("-"):
            context.fail(f"expected a recipe, {', '.join(RECIPES)}, got {arguments[0]!r}")
        return super().resolve_command(context, arguments)


@click.group(cls=Recipes)
def train() -> None:
    """Train by a reference recipe."""


def command_of(name: str, settings: type[RecipeSettings]) -> click.Command:
    """Return the command that trains by a recipe."""

    @click.command(name, help=settings.summary, epilog=example(f"fasthash train {name} --bits 32 --out out/{name}"))
    @options_of(settings)
    @click.option("--data-root", type=click.Path(path_type=Path), help="Where data sets are.  [default: FASTHASH_DATA]")
    @click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        required=True,
        callback=makeable,
        help="Folder of the training.",
    )
    @click.option("--resume", is_flag=True, help="Go on with the training in that folder.")
    @click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, ...")
    @click.option(
        "--workers", type=click.IntRange(0), default=0, show_default=True, help="Processes that read image files."
    )
    def command(data_root: Path | None, out: Path, **rest: Any) -> None:
        from fasthash.recipes.entry import train

        chosen = {field.name: rest.pop(field.name) for field in dataclasses.fields(settings)}
        try:
            run = train(settings(**chosen), root=data_root, out=out, progress=True, **rest)
        except KeyboardInterrupt:
            click.echo(f"\ninterrupted; the same command with --resume goes on in {out}", err=True)
            raise
        if int(os.environ.get("RANK", "0")) > 0:  # of several processes the first one says what all found
            return
        for measure, value in run.results.items():
            click.echo(f"{measure:<20} {value:.4f}")
        click.echo(f"written: {out / 'network.safetensors'}, {out / 'results.json'}, {out / 'log.csv'}")

    return command
