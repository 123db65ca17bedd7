"""What a fault is: a row of the matrix, and how it is played."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.faults.scene import Scene

Tier = Literal["short", "full"]
Service = Literal["kafka", "postgres"]
Breaking = Callable[[Scene], Awaitable[None]]
Around = Callable[[Scene], AbstractAsyncContextManager[None]]

RECOVERY = 30.0  # seconds from healing to lag 0


def _nothing(scene: Scene) -> AbstractAsyncContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class Fault:
    """One kind of fault. `breaks` gets a fleet at work, breaks something, and heals it before it returns."""

    number: int
    name: str
    breaks: Breaking
    tier: Tier = "full"
    seeds: int = 1  # how many in the full tier
    shown_by: tuple[str, ...] = ()  # evidence that each run has to have; of the first the table says how many times
    workers: int = 2
    partitions: int = 4
    rate: float = 600.0  # events a second while it lasts; 0: the fault sends its own
    least: int = 2_000  # events in all, if there is a rate
    plan: Mapping[str, Any] = field(default_factory=dict)  # of the simulated shop, where not as usual
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the workers
    needs: frozenset[Service] = frozenset()  # services that have to be the fault's own, to break
    around: Around = _nothing  # what has to stand before the first worker starts; may change scene.fleet.settings
    limit: float = RECOVERY
    exits: frozenset[int] = frozenset()  # codes with which a worker may end, beside 0 and -9
    mixed: int = 0  # its weight in the soak; 0: not in it

    @property
    def id(self) -> str:
        """Short, and fit for pytest's -k."""
        return f"{self.number:02d}-{self.breaks.__name__.replace('_', '-')}"


def fault(number: int, name: str, **more: Any) -> Callable[[Breaking], Fault]:
    """Makes a fault of the function that breaks: `@fault(4, "all workers killed at once", shown_by=("killed",))`."""
    return lambda breaks: Fault(number, name, breaks, **more)
