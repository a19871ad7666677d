"""The notebooks in `examples/notebooks/`, from the cells of the scripts in `examples/`: `make notebooks`."""

from __future__ import annotations

from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"
FOLDER = EXAMPLES / "notebooks"
SCRIPTS = [path for path in sorted(EXAMPLES.glob("*.py")) if path.read_text().startswith("# %%")]


def notebook(script: Path) -> str:
    """Return the notebook of a script, without outputs; nothing in it is of the day or of the machine."""
    import jupytext
    import nbformat

    made = jupytext.read(script, fmt="py:percent")
    made.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    made.nbformat, made.nbformat_minor = 4, 5
    for number, cell in enumerate(made.cells):
        cell.metadata = {}
        cell.id = f"{script.stem}-{number}"
    nbformat.validate(made)
    return nbformat.writes(made) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path in FOLDER.glob("*.ipynb"):
        path.unlink()
    for script in SCRIPTS:
        (FOLDER / f"{script.stem}.ipynb").write_text(notebook(script))
