"""What the site has beside `docs/`: pages of the API, and the repository's files that pages link."""

from __future__ import annotations

import ast
import functools
import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PREFIX = "repository"  # of the site, where the repository's own files are
CODE = {
    "": "text",
    ".txt": "text",
    ".cpp": "cpp",
    ".h": "cpp",
    ".py": "python",
    ".pyi": "python",
    ".toml": "toml",
    ".yml": "yaml",
}
MODULES_WITHOUT_STUBS = (
    "fasthash.evaluate.plots",
    "fasthash.evaluate.torchmetrics",
    "fasthash.layers",
    "fasthash.plugins",
)
LINK = re.compile(r"(?<!\\)\]\(([^()\s]+)\)")
NOT_TEXT = re.compile(r"(^ {0,3}(```+).*?^ {0,3}\2`*\s*$|(?<!`)(`+)(?!`).*?(?<!`)\3(?!`))", re.DOTALL | re.MULTILINE)


def stub(module: str) -> Path | None:
    """Return the file that says which names a package offers, if it has one."""
    path = ROOT.joinpath(*module.split("."), "__init__.pyi")
    return path if path.exists() else None


def source(module: str) -> Path:
    """Return the file of a module."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


@functools.cache
def modules() -> tuple[str, ...]:
    """Return every public module, the package first."""
    packages = [".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "fasthash").rglob("__init__.pyi")]
    return tuple(sorted([*packages, *MODULES_WITHOUT_STUBS]))


@functools.cache
def public_names(module: str) -> tuple[str, ...]:
    """Return the names that a module offers, those of its `__all__` where it has one."""
    tree = ast.parse((stub(module) or source(module)).read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return tuple(ast.literal_eval(node.value))
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return tuple(sorted(name for name in defined if not name.startswith("_")))


def api_page(module: str) -> str:
    """Return the page of a module: every public name, by mkdocstrings, or a link to the page that has it."""
    lines = [f"# {module}", "", (ast.get_docstring(ast.parse(source(module).read_text())) or "").strip(), ""]
    pages, above = modules(), public_names("fasthash") if module != "fasthash" else ()
    names = public_names(module)
    elsewhere = [f"[`{module}.{name}`]({module}.{name}.md)" for name in names if f"{module}.{name}" in pages]
    elsewhere += [f"[`fasthash.{name}`][fasthash.{name}]" for name in names if name in above]
    if elsewhere:
        lines += ["Described elsewhere: " + ", ".join(elsewhere) + ".", ""]
    for name in names:
        if name not in above and f"{module}.{name}" not in pages:
            lines.append(f"::: {module}.{name}")
            if module == "fasthash":  # where bases are not public, what they have is shown with each class
                lines.append("    options: { inherited_members: true, show_bases: false }")
            lines.append("")
    return "\n".join(lines)


def api_index() -> str:
    """Return the page that lists every module and its names."""
    lines = ["# API reference", "", "Every public name, made from the docstrings.", ""]
    lines += ["| module | names |", "| --- | --- |"]
    above = public_names("fasthash")
    for module in modules():
        links = []
        for name in public_names(module):
            full = f"{module}.{name}"
            target = f"fasthash.{name}" if module != "fasthash" and name in above else full
            links.append(f"[`{name}`]({full}.md)" if full in modules() else f"[`{name}`][{target}]")
        lines.append(f"| [`{module}`]({module}.md) | {' '.join(links)} |")
    return "\n".join(lines) + "\n"


def code_page(path: Path) -> str:
    """Return a page with a source file."""
    return f"# {path.relative_to(ROOT)}\n\n````{CODE[path.suffix]}\n{path.read_text()}````\n"


def page_of(path: Path) -> str:
    """Return where the site has a file of the repository."""
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    place = f"{PREFIX}/{path.relative_to(ROOT).as_posix()}"
    return f"{place}.md" if path.suffix in CODE else place


def target_of(path: Path, link: str) -> Path | None:
    """Return the repository's file that a link in the file at `path` leads to, of a folder its README, or None."""
    place = link.partition("#")[0]
    if not place or re.match(r"[a-z]+:", place):
        return None
    target = Path(posixpath.normpath((path.parent / place).as_posix()))
    if target.is_dir():
        target /= "README.md"
    return target if target.is_file() and target.is_relative_to(ROOT) else None


def in_text(markdown: str, change: Callable[[str], str]) -> str:
    """Apply `change` to what is neither a block nor a span of code."""
    parts, begin = [], 0
    for match in NOT_TEXT.finditer(markdown):
        parts += [change(markdown[begin : match.start()]), match.group()]
        begin = match.end()
    return "".join([*parts, change(markdown[begin:])])


def escaped(markdown: str) -> str:
    """Return text that has no HTML: `<q, v>` is an inner product there, and no tag."""
    return in_text(markdown, lambda text: re.sub(r"<(?=[A-Za-z/])", "&lt;", text))


def links(path: Path) -> Iterator[str]:
    """Iterate over the targets of a Markdown file's links and pictures."""
    found: list[str] = []

    def collect(text: str) -> str:
        found.extend(LINK.findall(text))
        return text

    in_text(with_sections(path), collect)
    yield from found


def linked_files() -> list[Path]:
    """Return the repository's files outside `docs/` that its pages lead to, directly or by each other."""
    waiting = [*DOCS.rglob("*.md"), ROOT / "CHANGELOG.md"]
    known = set(waiting)
    while waiting:
        path = waiting.pop()
        for target in {target_of(path, link) for link in links(path)} - known - {None}:
            known.add(target)
            if target.suffix == ".md":
                waiting.append(target)
    return sorted(path for path in known if not path.is_relative_to(DOCS))


def page_text(path: Path) -> str:
    """Return the text of the file at `path`, its sections in their places and links as the site has the files."""
    here = posixpath.dirname(page_of(path))

    def relink(match: re.Match[str]) -> str:
        target = target_of(path, match[1])
        if target is None:
            return match[0]
        _, mark, anchor = match[1].partition("#")
        return f"]({posixpath.relpath(page_of(target), here or '.')}{mark}{anchor})"

    text = with_sections(path)
    return in_text(text if path.is_relative_to(DOCS) else escaped(text), lambda text: LINK.sub(relink, text))


def section(path: Path, heading: str) -> str:
    """Return what is below a heading of the second level, its own headings raised by one level."""
    body = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", path.read_text(), re.DOTALL | re.MULTILINE)
    if body is None:
        raise ValueError(f"section: expected a heading {heading!r} in {path}")
    return re.sub(r"^#(#+ )", r"\1", body[1].strip(), flags=re.MULTILINE)


def with_sections(path: Path) -> str:
    """Return the text of the file at `path`, each `<!-- FILE.md: Heading -->` replaced by that section."""

    def insert(match: re.Match[str]) -> str:
        def relink(link: re.Match[str]) -> str:
            return link[0] if re.match(r"#|[a-z]+:", link[1]) else f"]({up}/{link[1]})"

        up = posixpath.relpath(ROOT.as_posix(), path.parent.as_posix())
        return in_text(section(ROOT / match[1], match[2]), lambda text: LINK.sub(relink, text))

    return re.sub(r"^<!-- (\w+\.md): (.+?) -->$", insert, path.read_text(), flags=re.MULTILINE)
