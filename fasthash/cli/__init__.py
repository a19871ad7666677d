"""The command `fasthash`. What its help says is known without importing torch, so that asking for it costs nothing."""

import click

from fasthash.cli.codes import build_index, encode, evaluate, fit_hasher, search
from fasthash.cli.demo import demo
from fasthash.cli.info import info
from fasthash.cli.train import train


@click.group(
    context_settings={"help_option_names": ["-h", "--help"]},
    commands=[build_index, demo, encode, evaluate, fit_hasher, info, search, train],
)
@click.version_option(package_name="torch-fasthash")
def main() -> None:
    """Learning to hash: from embeddings to binary codes, exact search and evaluation."""
