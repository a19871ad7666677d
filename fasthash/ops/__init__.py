"""Stateless functions of tensors, one room an op; see the README in each.

Every package in this folder is a room. Importing this one imports them all, which registers their ops with torch: an
exported program needs that before it is loaded. The compiled core's kernels are imported, too, not by the first call:
a fork in the midst of that would leave a child that waits for the import for good.
"""

from importlib import import_module
from pkgutil import iter_modules

ROOMS = tuple(sorted(found.name for found in iter_modules(__path__) if found.ispkg))

for _room in ROOMS:
    import_module(f"{__name__}.{_room}")
    import_module(f"{__name__}.{_room}.kernel_cpu")
