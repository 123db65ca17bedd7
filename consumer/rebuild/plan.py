"""What a rebuild is to make: chosen from names, or from what has changed. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from consumer.install import STATES
from consumer.read_models import ReadModel
from consumer.read_models.kinds import Stored
from schemas.errors import Refused

Source = Literal["log", "journal", "archive"]

LEDGER = ("ledger", "pruned_orders")  # what it has, and what it has no more
SUMMARY, TIMELINE = "order_summary", "order_timeline"


@dataclass(frozen=True)
class Plan:
    """Tables to be made anew. The orders' states always are, since everything else follows from them.

    `stored` are the read models with rows of their own; `states` and `ledger` say whether these take over too.
    `changed` are those of them that stand in another make in the database: there a difference is expected.
    `makes` has the fingerprint of everything made, the states' included.
    """

    source: Source
    stored: tuple[str, ...]
    states: bool
    ledger: bool
    changed: frozenset[str]
    makes: Mapping[str, str]
    copy: str | None = None  # a schema: nothing takes over, but what was made is copied there

    @property
    def names(self) -> list[str]:
        """What takes over, for people and for `projector.rebuilds`."""
        return [*([STATES] if self.states else []), *self.stored, *([TIMELINE] if self.ledger else [])]

    @property
    def tables(self) -> list[str]:
        """The tables that take over, in schema projector."""
        return [*([STATES] if self.states else []), *(LEDGER if self.ledger else []), *self.stored]

    def as_json(self) -> dict[str, Any]:
        """What a run that goes on with another's work has to want too."""
        return {
            "source": self.source,
            "stored": list(self.stored),
            "states": self.states,
            "ledger": self.ledger,
            "makes": dict(self.makes),
            "copy": self.copy,
        }


def whole(models: Sequence[ReadModel], makes: Mapping[str, str], source: Source, copy: str) -> Plan:
    """The plan for a copy of everything."""
    stored = tuple(model.name for model in models if isinstance(model, Stored))
    return Plan(source, stored, states=True, ledger=True, changed=frozenset(), makes=makes, copy=copy)


def choose(
    models: Sequence[ReadModel],
    makes: Mapping[str, str],
    installed: Mapping[str, str],
    names: Collection[str],
    source: Source,
    *,
    changed: bool = False,
) -> Plan | None:
    """The plan for these names, for what has changed, or for everything; None if nothing has changed.

    Where the states take over, so does every stored read model: the sums that live work takes shares back from have to
    be those that its states have given. Raises Refused for a name that can't be rebuilt.
    """
    stored = [model.name for model in models if isinstance(model, Stored)]
    differing = {name for name, make in makes.items() if installed.get(name) != make}
    wanted = set(names)
    if unknown := wanted - {model.name for model in models}:
        raise Refused(f"there is no read model {', '.join(sorted(unknown))}")
    if rowless := wanted - {*stored, SUMMARY, TIMELINE}:
        raise Refused(f"{', '.join(sorted(rowless))} has no rows of its own: nothing is to be rebuilt")
    if wanted == {TIMELINE} and source == "journal":
        raise Refused(f"{TIMELINE} is the journal itself: rebuild it with --source log")
    if changed:
        wanted = {SUMMARY if name == STATES else name for name in differing if name in stored or name == STATES}
        if not wanted:
            return None
    everything = not wanted
    states = everything or SUMMARY in wanted or STATES in differing
    chosen = tuple(stored) if states else tuple(name for name in stored if name in wanted)
    return Plan(
        source=source,
        stored=chosen,
        states=states,
        ledger=source != "journal" and (everything or TIMELINE in wanted),
        changed=frozenset(differing & {STATES, *chosen}),
        makes={name: makes[name] for name in (STATES, *chosen)},
    )
