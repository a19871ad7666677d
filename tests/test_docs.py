"""The site in `docs/`: what its pages show runs, links lead somewhere, the API is whole, a browser shows it."""

from __future__ import annotations

import functools
import http.server
import json
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from importlib import import_module
from importlib.util import find_spec

import click
import pytest
from click.testing import CliRunner

from fasthash.cli import main
from fasthash.losses import LOSSES
from tools import site_pages, site_pictures

ROOT, DOCS = site_pages.ROOT, site_pages.DOCS
PAGES = sorted(DOCS.rglob("*.md"))
READMES = sorted(
    path
    for place in (ROOT.glob("*.md"), *((ROOT / name).rglob("*.md") for name in ("benchmarks", "examples", "fasthash")))
    for path in place
    if path.parent.name != "results"
)
ROOMS = [path for path in READMES if path.is_relative_to(ROOT / "fasthash")]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
by_name = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).with_suffix("").as_posix())


def check_options(arguments):
    """Commands, options and choices that there are, as many arguments as wanted; what they lead to need not exist."""
    command, context = main, click.Context(main, info_name="fasthash")
    while True:
        given, rest, _ = command.make_parser(context).parse_args(arguments)
        for parameter in command.params:
            if isinstance(parameter.type, click.Choice) and isinstance(given.get(parameter.name), str):
                parameter.type.convert(given[parameter.name], parameter, context)
        if not isinstance(command, click.Group):
            wanted = [p.name for p in command.params if p.required]
            assert not rest, f"{command.name}: {rest}"
            assert all(isinstance(given.get(name), str) for name in wanted), f"{command.name}: {wanted}"
            return
        command, arguments = command.get_command(context, rest[0]), rest[1:]
        assert command is not None, rest[0]
        context = click.Context(command, parent=context)


def check_line(line, run):
    """A line of a shell: the commands of fasthash are run where `run` says so; of the others what they name exists."""
    words = shlex.split(line, comments=True)
    if words[:3] == ["python", "-m", "fasthash"] or words[0] == "torchrun":
        words = ["fasthash", *words[words.index("fasthash") + 1 :]]
    match words:
        case ["fasthash", *arguments] if run:
            arguments = arguments[: arguments.index("|")] if "|" in arguments else arguments
            result = CliRunner().invoke(main, arguments)
            assert result.exit_code == 0, f"{line}\n{result.output}"
        case ["fasthash", *arguments]:
            check_options(arguments)
        case ["pip", "install", *names]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            for extra in re.findall(r"\[(.*?)\]", " ".join(names)):
                assert set(extra.split(",")) <= extras.keys()
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), target
        case ["python" | "python3", "-m", module, *_]:
            assert find_spec(module), module
        case ["python", script, *_]:
            assert (ROOT / script).is_file(), script
        case _:
            raise AssertionError(f"nothing is known of {line!r}")


@by_name
def test_what_a_page_shows_runs(page, tmp_path, monkeypatch):
    text = page.read_text()
    for package in re.findall(r"^<!-- needs (\w+) -->$", text, re.MULTILINE):
        pytest.importorskip(package)
    if find_spec("matplotlib"):
        monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setattr(LOSSES, "_own", dict(LOSSES._own))
    monkeypatch.chdir(tmp_path)
    names = {"__name__": page.stem}
    for language, block in BLOCK.findall(text):
        if language == "python":
            exec(compile(block, str(page), "exec", dont_inherit=True), names)
        elif language in ("sh", "shell"):
            for line in filter(None, re.sub(r"\\\n *", "", block).splitlines()):
                check_line(line, run=language == "sh")
        else:
            assert language == "text"
    assert text.count("\n```") == 2 * len(BLOCK.findall(text))


@pytest.mark.parametrize("page", PAGES + READMES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    made = {DOCS / "api" / f"{module}.md" for module in site_pages.modules()}
    for link in site_pages.links(page):
        assert link.startswith(("#", "https://")) or page.parent / link in made or site_pages.target_of(page, link), (
            link
        )


@pytest.mark.parametrize("module", site_pages.modules())
def test_the_api_has_every_public_name(module):
    if module.endswith("torchmetrics"):
        pytest.importorskip("torchmetrics")
    loaded = import_module(module)
    names = site_pages.public_names(module)
    if hasattr(loaded, "__all__"):
        assert sorted(names) == sorted(loaded.__all__)
    assert names
    assert all(hasattr(loaded, name) for name in names)
    page, index = site_pages.api_page(module), site_pages.api_index()
    for name in names:
        here = re.search(rf"^::: {module}\.{name}$", page, re.MULTILINE)
        assert here or f"[fasthash.{name}]" in page or f"({module}.{name}.md)" in page
        assert f"[`{name}`]" in index


def paragraphs(text):
    """What is read at a stretch: a bullet is one, lines of a table or of a shell are none."""
    for part in re.split(r"\n\s*\n", BLOCK.sub("", text)):
        for paragraph in re.split(r"\n(?=\s*(?:[-*]|\d+\.) )", part):
            if not paragraph.startswith(("|", "#", "    ")):
                yield paragraph


@pytest.mark.parametrize("path", [*PAGES, *READMES], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_paragraphs_are_short(path):
    if path.name != "CHANGELOG.md":
        assert [paragraph for paragraph in paragraphs(path.read_text()) if len(paragraph.split()) > 90] == []


def opening(text):
    return text.partition("\n")[2].partition("```python\n")[0].strip()


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.parent.relative_to(ROOT).as_posix())
def test_a_room_opens_with_a_few_lines_and_an_example(path, tmp_path, monkeypatch):
    first = opening(path.read_text())
    assert len(first.splitlines()) <= 5
    assert len(first.split()) <= 90
    monkeypatch.chdir(tmp_path)
    example = next(source for kind, source in BLOCK.findall(path.read_text()) if kind == "python")
    assert example.count("\n") <= 20
    exec(compile(example, path, "exec", dont_inherit=True), {"__name__": "example"})


def test_the_first_example_of_the_readme_runs(tmp_path):
    text = (ROOT / "README.md").read_text()
    example = next(source for kind, source in BLOCK.findall(text) if kind == "python")
    subprocess.run([sys.executable, "-c", example], cwd=tmp_path, check=True)
    assert (tmp_path / "codes.index").is_file()


def test_the_api_has_every_package():
    packages = {path.parent for path in (ROOT / "fasthash").rglob("__init__.pyi")}
    assert packages == {site_pages.source(module).parent for module in site_pages.modules() if site_pages.stub(module)}


@pytest.mark.parametrize("name", sorted(site_pictures.PICTURES))
def test_pictures_are_what_their_script_draws(name):
    assert (DOCS / "pictures" / f"{name}.svg").read_text() == site_pictures.PICTURES[name]()


def test_every_picture_is_shown():
    shown = {site_pages.target_of(page, link) for page in PAGES for link in site_pages.links(page)}
    assert {*(DOCS / "pictures").iterdir()} == {path for path in shown if path and path.suffix == ".svg"}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if find_spec("mkdocs") is None or find_spec("mkdocstrings") is None:
        pytest.skip("needs the extra docs")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--strict", "--site-dir", folder]
    result = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
def test_the_site_has_every_public_name(site):
    for module in site_pages.modules():
        ids = set(re.findall(r'id="([\w.]+)"', (site / "api" / module / "index.html").read_text()))
        elsewhere = set(site_pages.public_names("fasthash")) if module != "fasthash" else set()
        wanted = {f"{module}.{name}" for name in site_pages.public_names(module) if name not in elsewhere}
        assert wanted - set(site_pages.modules()) <= ids
    index = (site / "api" / "fasthash" / "index.html").read_text()
    assert 'id="fasthash.FlatIndex.search"' in index  # of a base that is not public
    assert "(&lt;h_i, v_j&gt; - n_bits" in (site / "api" / "fasthash.losses" / "index.html").read_text()


@pytest.mark.slow
def test_every_page_is_found_by_a_search(site):
    found = {
        entry["location"].partition("#")[0]
        for entry in json.loads((site / "search" / "search_index.json").read_text())["docs"]
    }
    for page in PAGES:
        place = page.parent if page.stem == "index" else page.with_suffix("")
        assert f"{place.relative_to(DOCS).as_posix()}/".removeprefix("./") in found
    assert not any("benchmarks/results" in place for place in found)


MEASURE = """<!doctype html><body><script>
async function measure() {
  const found = [];
  for (const width of [1280, 390]) for (const page of PAGES) {
    const frame = document.createElement("iframe");
    frame.style = `border: 0; width: ${width}px; height: 900px`;
    const loaded = new Promise(done => frame.onload = done);
    frame.src = page;
    document.body.append(frame);
    await loaded;
    const inside = frame.contentDocument;
    found.push({page, width, wide: inside.documentElement.scrollWidth,
      missing: [...inside.images].filter(x => !x.complete || !x.naturalWidth).map(x => x.src),
      title: inside.querySelector("article h1") !== null});
    frame.remove();
  }
  await fetch("/measured", {method: "POST", body: JSON.stringify(found)});
}
measure();
</script>"""


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves the site, and a page that measures the others and sends what it found."""

    def do_GET(self):
        if self.path != "/measure":
            return super().do_GET()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(MEASURE.replace("PAGES", json.dumps(self.server.pages)).encode())

    def do_POST(self):
        self.server.found.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.mark.slow
def test_a_browser_shows_the_site_on_a_screen_and_on_a_phone(site, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs chromium")
    places = [page.parent if page.stem == "index" else page.with_suffix("") for page in PAGES]
    pages = [f"/{place.relative_to(DOCS).as_posix()}/".replace("/./", "/") for place in places]
    pages += ["/api/", "/api/fasthash/", "/repository/", "/repository/fasthash/ops/hamming/"]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=site)) as server:
        server.pages, server.found = pages, queue.Queue()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/measure"
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}",
            "--window-size=1400,1000",
        ]
        process = subprocess.Popen([browser, *options, "--remote-debugging-port=0", address], stderr=subprocess.DEVNULL)
        try:
            found = server.found.get(timeout=120)
        finally:
            process.terminate()
            process.wait()
            server.shutdown()
    assert len(found) == 2 * len(pages)
    for page in found:
        assert page["title"], page
        assert not page["missing"], page
        assert page["wide"] <= page["width"], page
