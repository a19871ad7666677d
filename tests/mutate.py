"""Mutate a room of the package, and print what its own tests let live: `make mutate ROOM=losses`.

A room is a folder or a module of `fasthash/`, its tests `tests/<room>` or `tests/test_<room>.py`; mutmut, set up in
pyproject.toml, mutates a copy in `build/mutate`. It leaves alone what is outside functions, and decorated functions.
"""

from __future__ import annotations

import argparse
import ast
import os
import re
import shutil
import subprocess
import sys
import venv
from collections import Counter
from pathlib import Path

from fasthash import _core

ROOT = Path(__file__).parent.parent
CAUGHT = {"killed", "segfault"}  # a worker that could not find its tests counts as a timeout too: those are shown


def tests_of(room: str) -> list[str]:
    folder = ROOT / "tests" / room
    files = [folder] if folder.is_dir() else sorted(folder.parent.glob(f"test_{folder.name}*.py"))
    return [str(file.relative_to(ROOT)) for file in files]


def copy_of_the_checkout(folder: Path, room: str) -> None:
    """Copy the package, its compiled core and its tests; what pyproject.toml says of mutants is said of the room."""
    shutil.rmtree(folder, ignore_errors=True)
    for part in ("fasthash", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    shutil.copy(_core.__file__, folder / "fasthash")
    settings = f'only_mutate = ["fasthash/{room}/*", "fasthash/{room}.py"]\n'
    settings += f"pytest_add_cli_args_test_selection = {tests_of(room)}\n"
    project = (ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text(re.sub(r"^\[tool.mutmut\].*\n", rf"\g<0>{settings}", project, flags=re.M))


def interpreter(folder: Path) -> Path:
    """Return one that has the same packages but an editable install, which would hide the mutants."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "packages.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    return folder / "bin" / "python"


def first_line(source: Path, mutant: str) -> int:
    """Return the line of the source at which the function of a mutant, x_<function> or xǁ<class>ǁ<method>, starts."""
    *owner, name = re.match(r"x(?:_|ǁ(.*)ǁ)(.*)__mutmut_\d+$", mutant.rpartition(".")[2]).groups()
    for node in ast.walk(ast.parse(source.read_text())):
        inside = node.body if isinstance(node, (ast.Module, ast.ClassDef)) else []
        if getattr(node, "name", None) == owner[0]:
            for function in inside:
                if isinstance(function, ast.FunctionDef) and function.name == name:
                    return function.lineno
    raise LookupError(mutant)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", help="such as losses, or ops/packing")
    parser.add_argument("only", nargs="*", help="mutants by mutmut's names, as '*dch*'; '*_[37]' is two a function")
    arguments = parser.parse_args()
    room = arguments.room.strip("/")
    source = ROOT / "fasthash" / room
    if not (source.is_dir() or source.with_suffix(".py").exists()) or not tests_of(room):
        parser.error(f"expected room to have fasthash/{room} and tests/{room}, got {room!r}")

    folder = ROOT / "build" / "mutate" / room
    copy_of_the_checkout(folder, room)
    mutmut = [interpreter(folder / "venv"), "-m", "mutmut"]
    here = {"cwd": folder, "env": os.environ | {"OMP_NUM_THREADS": "1"}}
    subprocess.run([*mutmut, "run", *arguments.only], check=True, **here)

    listed = subprocess.check_output([*mutmut, "results", "--all", "true"], text=True, **here)
    results = dict(re.findall(r"^ +(\S+): (.+)$", listed, re.MULTILINE))
    results = {mutant: result for mutant, result in results.items() if result != "not checked"}
    alive = [mutant for mutant, result in results.items() if result not in CAUGHT]
    for mutant in alive:
        _, file, _, hunk, *lines = subprocess.check_output([*mutmut, "show", mutant], text=True, **here).splitlines()
        source = file.removeprefix("--- ")
        changed = next(i for i, line in enumerate(lines) if line.startswith(("-", "+")))
        line = first_line(folder / source, mutant) + int(re.search(r"\d+", hunk)[0]) - 1 + changed
        print(f"\n{source}:{line}: {results[mutant]} ({mutant})", *lines, sep="\n")
    counts = ", ".join(f"{n} {result}" for result, n in Counter(results.values()).most_common())
    print(f"\n{room}: {len(results)} mutants, {counts}; score {1 - len(alive) / len(results):.1%}")


if __name__ == "__main__":
    main()
