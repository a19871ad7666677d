from .extraction import extract

__all__ = ["extract"]
