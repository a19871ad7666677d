"""Beyond one machine: codes in many files, encoded, indexed, searched and paired there; on Ray or without."""

from fasthash.lazy import lazily

__getattr__, __dir__, __all__ = lazily(__name__, __file__)
