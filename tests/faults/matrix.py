"""All faults there are: those in the modules of `tests.faults.rows`, row by row."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from tests.faults import rows
from tests.faults.fault import Fault

_MODULES = [import_module(f"{rows.__name__}.{found.name}") for found in iter_modules(rows.__path__)]

FAULTS: list[Fault] = sorted(
    (each for module in _MODULES for each in vars(module).values() if isinstance(each, Fault)),
    key=lambda fault: fault.id,
)
