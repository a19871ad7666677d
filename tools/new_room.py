"""Scaffold an op: `make room NAME=x` makes a room with a small op that works, to be changed into the one wanted.

The templates are the files in `tools/room`, in which ROOM stands for the name, and CamelROOM for it in CamelCase.
"""

from __future__ import annotations

import keyword
import re
import subprocess
import sys
from pathlib import Path

TOOLS = Path(__file__).parent
STUB = """def ROOM(x: NDArray[Any], out: NDArray[Any], threads: int, isa: str) -> None: ...
"""


def new_room(name: str, root: Path) -> list[Path]:
    """Write the files of a room into a checkout, and return them.

    Raises:
        ValueError: if the name is none in Python and C++, or there is such a room or function.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise ValueError(f"expected NAME to be a lower-case identifier, got {name!r}")
    stub = root / "fasthash" / "_core.pyi"
    if f"def {name}(" in stub.read_text() or any((root / part / name).exists() for part in ("csrc", "fasthash/ops")):
        raise ValueError(f"expected a NAME that is new, got {name!r}, which is there")
    templates = [path for path in sorted((TOOLS / "room").rglob("*")) if path.is_file()]
    camel, written = "".join(map(str.title, name.split("_"))), []
    for template in templates:
        path = root / str(template.relative_to(TOOLS / "room")).replace("ROOM", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(template.read_text().replace("CamelROOM", camel).replace("ROOM", name))
        written.append(path)
    stub.write_text(stub.read_text().rstrip() + "\n" + STUB.replace("ROOM", name))
    python = [path for path in (*written, stub) if path.suffix in (".py", ".pyi")]
    for command in (["check", "--quiet", "--fix", "--select=I"], ["format", "--quiet"]):  # as the name's length wants
        subprocess.run([sys.executable, "-m", "ruff", *command, *python], cwd=root, check=True)
    return [*written, stub]


if __name__ == "__main__":
    try:
        made = new_room(sys.argv[1] if len(sys.argv) > 1 else "", TOOLS.parent)
    except ValueError as error:
        sys.exit(str(error))
    print(*(path.relative_to(TOOLS.parent) for path in made), sep="\n")
