"""The command `fasthash` as `python -m fasthash`."""

from fasthash.cli import main

main(prog_name="fasthash")
