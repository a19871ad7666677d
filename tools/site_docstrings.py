"""An extension of Griffe: docstrings are text."""

from __future__ import annotations

from typing import Any

import griffe
import site_pages


class PlainDocstrings(griffe.Extension):
    """Escape what HTML would take for tags."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Escape the docstring of an object."""
        if obj.docstring:
            obj.docstring.value = site_pages.escaped(obj.docstring.value)
