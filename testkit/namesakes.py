"""Whether a package of somebody else's has the name of one of ours: Python imports one package of a name, not both."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

_NEEDED = ("schemas", "runtime", "producer", "consumer")  # by the kit, which lies beside them
_HOME = Path(__file__).parents[1]


class Shadowed(ImportError):
    """Something else is imported under the name of a package of ours."""


def expect_none() -> None:
    """Raise Shadowed, naming what and where it is, if an import of ours would find something else. Imports nothing."""
    found = {name: _place(name) for name in _NEEDED}
    foreign = {name: at for name, at in found.items() if at != (_HOME / name / "__init__.py").resolve()}
    if foreign:
        told = ", ".join(f"`{name}` ({at or 'of no file'})" for name, at in foreign.items())
        raise Shadowed(
            f"order-projector is hidden by what has the names of its packages: {told}. A project that has one of these "
            "names has to rename it, or do without the fixtures of order-projector's testkit"
        )


def _place(name: str) -> Path | None:
    """Where a top-level package or module lies, whether it has been imported or would be."""
    try:
        spec = find_spec(name)
    except ValueError:  # a module that somebody made by hand
        spec = None
    if spec is None:
        return None
    place = spec.origin if spec.has_location else next(iter(spec.submodule_search_locations or ()), None)
    return Path(place).resolve() if place else None
