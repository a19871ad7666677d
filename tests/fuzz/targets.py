"""Everything that is called, by public name."""

from importlib import import_module

MODULES = ("ops", "pairs", "hashes", "index", "evaluate", "losses", "hashers", "data", "plots")


def load() -> None:
    """Fill `tests.fuzz.calls.TARGETS`."""
    for module in MODULES:
        import_module(f"tests.fuzz.{module}")
