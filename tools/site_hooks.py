"""Hooks of MkDocs: the pages that `site_pages.py` makes, and links into the repository."""

from __future__ import annotations

import site_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page


def on_config(config: MkDocsConfig) -> None:
    """List the pages of the API."""
    api = next(entry["API"] for entry in config.nav if "API" in entry)
    api += [{module: f"api/{module}.md"} for module in site_pages.modules()]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages of the API, and what pages link."""
    made = {f"api/{module}.md": site_pages.api_page(module) for module in site_pages.modules()}
    made["api/index.md"] = site_pages.api_index()
    for path in site_pages.linked_files():
        place = site_pages.page_of(path)
        if place.endswith(".md") and path.suffix != ".md":
            made[place] = site_pages.code_page(path)
        else:
            files.append(File.generated(config, place, abs_src_path=str(path)))
    for place, content in made.items():
        files.append(File.generated(config, place, content=content))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put sections and links of the repository in their places."""
    place = page.file.src_uri
    if place.startswith(f"{site_pages.PREFIX}/benchmarks/results/"):
        page.meta["search"] = {"exclude": True}  # tables, in which every word is found
    if place.startswith("api/"):
        return markdown
    inside = place.removeprefix(f"{site_pages.PREFIX}/")
    path = (site_pages.DOCS if inside == place else site_pages.ROOT) / inside
    if not path.exists():  # a page of code
        return markdown
    return site_pages.page_text(path)
