"""What is known order by order: a range of orders held against what the reference model makes of their records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import localcontext
from typing import Any, TypeVar

from consumer import reference
from consumer.read_models import Contribution, Document
from consumer.read_models.kinds import Stored
from consumer.verification import own_code, settling
from consumer.verification.arrivals import BOOK_KEYS, Arrival, Identity, Live, Row, Said, as_sent
from consumer.verification.choices import varies
from consumer.verification.findings import Findings
from consumer.verification.settling import Outcome
from consumer.verification.snapshot import Snapshot, Span, relation
from consumer.verification.sums import Sums

_T = TypeVar("_T")

SUMS: Mapping[str, Callable[[Iterable[Row]], list[Row]]] = {
    "customer_summary": reference.customers,
    "product_sales_daily": reference.sales,
}
ROWS = ("order_summary", "order_timeline", "fulfilment_queue")

# What stands in the database may be anything, and the reference model takes what was validated.
_UNFIT = (KeyError, TypeError, AttributeError, ValueError, ArithmeticError)

Arrivals = dict[str, list[Arrival]]


@dataclass(frozen=True)
class Asked:
    """What is to be checked: read models that the reference model knows, by name; others by their own code; sums, which
    are added up range by range; the machinery's own books. `from_log`: arrivals are the log's. `whole`: every order is
    looked at, so that sums are those of the orders as they should be."""

    known: Sequence[str]
    own: Sequence[Stored]
    sums: Mapping[str, Sums]
    books: Sequence[str]
    from_log: bool
    whole: bool


class Orders:
    """Checks ranges of orders, in byte order."""

    def __init__(self, snapshot: Snapshot, asked: Asked, findings: Findings) -> None:
        self._snapshot = snapshot
        self._asked = asked
        self._findings = findings

    async def check(self, span: Span, arrivals: Iterable[Arrival]) -> None:
        """One range: its records in the log, if that is the source, against all that live has of it."""
        live = await self._snapshot.live(span)
        by_order: Arrivals = {}
        for one in arrivals:
            by_order.setdefault(one.order_id, []).append(one)
        await self._add_applied(span, live, by_order)
        await self._add_parked(span, live, by_order)
        self._add_erased(live, by_order)
        outcomes = {order_id: settling.settle(order_id, theirs) for order_id, theirs in by_order.items()}
        for order_id, outcome in outcomes.items():
            _of(live, order_id).remember(outcome.history)
        others = [
            order_id
            for order_id, outcome in outcomes.items()
            if not outcome.agrees(_of(live, order_id)) or varies(by_order[order_id])
        ]
        if others:
            outcomes |= await self._as_live(span, live, {order_id: by_order[order_id] for order_id in others})
        if self._asked.books:
            self._books(live, outcomes)
        await self._rows(span, outcomes, live)
        for model in self._asked.own:
            if isinstance(model, Document):
                await self._document(span, model)

    async def add_up(self, span: Span) -> None:
        """What no check has added to sums: shares by their own code and, where not every order is looked at, those of
        the orders as readers see them. Of whole ranges, in byte order."""
        sums = self._asked.sums
        for model in self._asked.own:
            if isinstance(model, Contribution):
                async for states in self._snapshot.states(await self._snapshot.placed(span)):
                    sums[model.name].add(own_code.rows(model, states))
        if self._asked.whole or not sums.keys() & SUMS.keys():
            return
        orders = await self._snapshot.rows(relation("order_summary"), span)
        with localcontext(reference.EXACT):
            for name in sums.keys() & SUMS.keys():
                for order in orders:
                    shares = self._judged(SUMS[name], [order], "order_summary", (order["order_id"],))
                    sums[name].add(shares or ())

    async def _add_applied(self, span: Span, live: Mapping[str, Live], by_order: Arrivals) -> None:
        """Events that live has applied and the log, as far as it was read, doesn't hold."""
        missing: dict[str, set[Identity]] = {}
        for order_id, theirs in live.items():
            if lacking := set(theirs.applied.values()) - _told(by_order.get(order_id, ())):
                missing[order_id] = lacking
        if not missing:
            return
        span = span if not self._asked.from_log else span._replace(ids=tuple(missing))
        async for order_id, said in self._snapshot.journal(span):
            if said.identity in missing.get(order_id, ()):
                by_order.setdefault(order_id, []).append(Arrival("event", order_id, said))
                self._beside("an applied event", order_id, said)

    async def _add_parked(self, span: Span, live: dict[str, Live], by_order: Arrivals) -> None:
        for identity, one in await self._snapshot.parked(span):
            live.setdefault(one.order_id, Live()).parked[identity] = one.said.version if one.said else 0
            if one.said is not None and identity not in _told(by_order.get(one.order_id, ())):
                by_order.setdefault(one.order_id, []).append(one)
                self._beside("a parked event", one.order_id, one.said)

    def _beside(self, what: str, order_id: str, said: Said) -> None:
        if self._asked.from_log:
            self._findings.only_in_database.add(f"{what}: order {order_id}, version {said.version}, id {said.id}")

    def _add_erased(self, live: Mapping[str, Live], by_order: Arrivals) -> None:
        for order_id, theirs in live.items():
            if theirs.erased and not any(one.kind == "tombstone" for one in by_order.get(order_id, ())):
                by_order.setdefault(order_id, []).append(Arrival("tombstone", order_id))
                if self._asked.from_log:
                    self._findings.erased_without_tombstone.add(f"order {order_id}")

    async def _as_live(self, span: Span, live: Mapping[str, Live], by_order: Arrivals) -> dict[str, Outcome]:
        """The outcomes of orders that aren't as Kafka's times would have them, by live's choice."""
        contents: dict[str, dict[Identity, Said]] = {order_id: {} for order_id in by_order}
        async for order_id, said in self._snapshot.journal(span._replace(ids=tuple(by_order))):
            contents[order_id][said.identity] = said
        suspects = {
            order_id: set(settling.unknown_here(theirs, _of(live, order_id))) for order_id, theirs in by_order.items()
        }
        owners: dict[Identity, set[str]] = {}
        for owner, identity in await self._snapshot.known_anywhere(set().union(*suspects.values())):
            owners.setdefault(identity, set()).add(owner)
        return {
            order_id: settling.settle_as_live(
                order_id,
                theirs,
                _of(live, order_id),
                contents[order_id],
                {identity for identity in suspects[order_id] if owners.get(identity, set()) - {order_id}},
            )
            for order_id, theirs in by_order.items()
        }

    def _books(self, live: Mapping[str, Live], outcomes: Mapping[str, Outcome]) -> None:
        expected: dict[str, list[Row]] = {name: [] for name in BOOK_KEYS}
        actual: dict[str, list[Row]] = {name: [] for name in BOOK_KEYS}
        equal: Counter[str] = Counter()
        findings = self._findings
        for order_id in live.keys() | outcomes.keys():
            theirs, outcome = _of(live, order_id), outcomes.get(order_id, settling.NOTHING)
            for note in outcome.beside:
                findings.letters_without_record.add(
                    f"{note.reason}: order {order_id}, {'/'.join(map(str, note.place))}"
                )
            if outcome.agrees(theirs) and (outcome.erased or theirs.version == len(outcome.history)):
                rows = (outcome.erased or theirs.version > 0, len(outcome.history), len(outcome.waiting))
                for name, count in zip(expected, (*rows, len(outcome.letters)), strict=True):
                    equal[name] += count
                continue
            for name, row in outcome.rows(order_id):
                expected[name].append(row)
            for name, row in theirs.rows(order_id):
                actual[name].append(row)
            actual["dead_letters"] += outcome.found_letters
        for name in self._asked.books:
            findings.equal(name, equal[name])
            findings.compare(name, expected[name], actual[name])

    async def _rows(self, span: Span, outcomes: Mapping[str, Outcome], live: Mapping[str, Live]) -> None:
        with localcontext(reference.EXACT):
            placed = [outcome.history for outcome in outcomes.values() if reference.is_placed(outcome.history)]
            orders = [row for history in placed if (row := self._summary(history)) is not None]
            expected = {"order_summary": orders, "fulfilment_queue": reference.queue(orders)}
            if "order_timeline" in self._asked.known:
                expected["order_timeline"] = [
                    reference.told(as_sent(event))
                    for order_id, outcome in outcomes.items()
                    for event in outcome.history
                    if event["sequence"] > _of(live, order_id).pruned
                ]
            for name in ROWS:
                if name in self._asked.known:
                    rows = await self._snapshot.rows(relation(name), span)
                    self._findings.compare(name, expected[name], rows)
            if self._asked.whole:
                for name in self._asked.sums.keys() & SUMS.keys():
                    self._asked.sums[name].add(SUMS[name](orders))

    def _summary(self, history: list[Row]) -> Row | None:
        last = history[-1]
        key = (last["subject"], last["sequence"])
        return self._judged(reference.summary, history, "processed_events", key)

    def _judged(self, judge: Callable[[Any], _T], of: Any, name: str, key: tuple[Any, ...]) -> _T | None:
        try:
            return judge(of)
        except _UNFIT as error:
            self._findings.differ(name, key, None, "to be read", f"not to be read ({type(error).__name__})")
            return None

    async def _document(self, span: Span, model: Document) -> None:
        expected: list[Row] = []
        async for states in self._snapshot.states(await self._snapshot.placed(span)):
            expected += own_code.rows(model, states)
        found = await self._snapshot.rows(own_code.table(model) or relation(model.name), span)
        self._findings.compare(model.name, expected, found, own_code.keys(model))


def _of(live: Mapping[str, Live], order_id: str) -> Live:
    return live.get(order_id) or Live()


def _told(arrivals: Iterable[Arrival]) -> set[Identity]:
    """The events that arrivals are of, those too that a letter keeps out."""
    told = {one.said.identity for one in arrivals if one.said is not None}
    told |= {one.note.identity for one in arrivals if one.note is not None and one.note.decides and one.note.identity}
    return told
