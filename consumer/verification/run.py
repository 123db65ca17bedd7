"""A verification from beginning to end: snapshot, log, ranges of orders, sums."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from hashlib import md5
from operator import itemgetter
from pathlib import Path
from typing import Literal

from consumer import journal, reference
from consumer.read_models import READ_MODELS, Contribution, ReadModel
from consumer.read_models.kinds import Stored
from consumer.spill import Ranges, Spill, pieces, scratch
from consumer.verification import log, own_code
from consumer.verification.arrivals import BOOK_KEYS, Arrival, letter_row, unpacked
from consumer.verification.findings import Findings
from consumer.verification.log import Orderless
from consumer.verification.orders import SUMS, Asked, Orders
from consumer.verification.snapshot import Sample, Snapshot, Span, snapshot
from consumer.verification.sums import Sums
from runtime.kafka import observer
from runtime.settings import Settings
from schemas.errors import Refused

Source = Literal["log", "journal"]
Progress = Callable[[str, int, int], None]  # what is done, how much of it, of how much

_LARGER = 4  # times the size, from which a range is cut into pieces
_TEXT = 500  # characters of data that weigh as much as an event without any


@dataclass(frozen=True)
class Plan:
    """What to verify: these read models (none named: all, and the machinery's own books), all orders, a sample of them,
    or one. `size` is about how many events are in memory at once; `limit` how many differences of a check are kept.
    `strict`: what the database alone says of (events, erasures) is a difference."""

    source: Source = "log"
    names: tuple[str, ...] = ()
    sample: Sample | None = None
    order_id: str | None = None
    strict: bool = False
    limit: int = 20
    size: int = journal.RANGE


async def verify(
    settings: Settings,
    plan: Plan,
    models: Sequence[ReadModel] = READ_MODELS,
    progress: Progress = lambda stage, done, total: None,
) -> Findings:
    """Hold what stands in the database now against a recomputation. It may run beside a fleet.

    Raises Refused if the source doesn't hold what it would take, Unavailable if Kafka or PostgreSQL is away.
    """
    findings = Findings(plan.limit)
    chosen = _chosen(plan, models, findings)
    try:
        with scratch("projector-verify-") as directory:
            async with AsyncExitStack() as stack:
                taken = await stack.enter_async_context(snapshot(settings, _read(plan, chosen, models)))
                await _Run(settings, plan, chosen, taken, directory, findings, progress).all(stack)
    except OSError as error:
        raise Refused(f"scratch files, where TMPDIR says: {error.strerror}") from None
    return findings


def _chosen(plan: Plan, models: Sequence[ReadModel], findings: Findings) -> list[ReadModel]:
    by_name = {model.name: model for model in models}
    if missing := [name for name in plan.names if name not in by_name]:
        raise Refused(f"there is no read model {', '.join(missing)}: there are {', '.join(by_name)}")
    chosen = []
    for model in models:
        known = model.name in reference.KEYS
        if plan.names and model.name not in plan.names:
            continue
        if not known and not isinstance(model, Stored):
            findings.not_checked[model.name] = "a view of its own, without rows"
            continue
        sums = model.name in SUMS or isinstance(model, Contribution)
        if sums and plan.order_id is not None:
            findings.not_checked[model.name] = "sums are of all orders"
        else:
            findings.check(model.name, own=not known, sums=sums)
            chosen.append(model)
    if plan.names and not chosen:
        raise Refused("; ".join(f"{name}: {why}" for name, why in findings.not_checked.items()))
    return chosen


def _read(plan: Plan, chosen: Sequence[ReadModel], models: Sequence[ReadModel]) -> list[ReadModel]:
    """The read models that are read for these: sums of a sample are those of the orders that readers see."""
    if plan.sample is None or not any(model.name in SUMS for model in chosen):
        return list(chosen)
    return [model for model in models if model in chosen or model.name == "order_summary"]


class _Run:
    def __init__(
        self,
        settings: Settings,
        plan: Plan,
        chosen: Sequence[ReadModel],
        taken: Snapshot,
        directory: Path,
        findings: Findings,
        progress: Progress,
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._chosen = chosen
        self._snapshot = taken
        self._directory = directory
        self._findings = findings
        self._progress = progress

    async def all(self, stack: AsyncExitStack) -> None:
        plan, findings = self._plan, self._findings
        ranges = Ranges() if plan.order_id is not None else await self._snapshot.ranges(plan.size)
        sums = {sums.name: sums for sums in self._sums(len(ranges))}
        asked = self._asked(sums)
        for name in asked.books:
            findings.check(name)
        orders = Orders(self._snapshot, asked, findings)
        spill = Spill(self._directory)
        if plan.source == "log":
            await self._read_log(stack, spill, ranges)
        elif dropped := await self._snapshot.pruned(plan.order_id):
            raise Refused(f"the journal lacks the history of {dropped} orders: verify by the log")
        for number in range(len(ranges)):
            self._progress("ranges of orders compared", number, len(ranges))
            for span, arrivals in pieces(spill, number, ranges.span(number), itemgetter(1), plan.size * _LARGER):
                await orders.check(await self._narrowed(Span(*span)), map(unpacked, arrivals))
            spill.forget(number)
            await orders.add_up(Span(*ranges.span(number)))
        for one in sums.values():
            await one.check(self._snapshot, findings)
        self._progress("ranges of orders compared", len(ranges), len(ranges))
        if plan.order_id is not None and not plan.names and not any(check.found for check in findings.checks.values()):
            raise Refused(f"nothing is known of an order {plan.order_id}")
        if plan.strict:
            _be_strict(findings)

    def _asked(self, sums: dict[str, Sums]) -> Asked:
        known = [model.name for model in self._chosen if model.name in reference.KEYS]
        own = [model for model in self._chosen if isinstance(model, Stored) and model.name not in known]
        plan = self._plan
        from_log = plan.source == "log"
        # What became of records that were not applied, only the log can tell.
        books = [] if plan.names else [name for name in BOOK_KEYS if from_log or name != "dead_letters"]
        return Asked(known, own, sums, books, from_log, plan.sample is None)

    def _sums(self, parts: int) -> Iterator[Sums]:
        for model in self._chosen:
            if model.name in SUMS:
                yield Sums(self._directory, model.name, reference.KEYS[model.name], parts)
            elif isinstance(model, Contribution):
                table = own_code.table(model)
                yield Sums(self._directory, model.name, own_code.keys(model), parts, table=table)

    async def _narrowed(self, span: Span) -> Span:
        if self._plan.order_id is not None:
            return Span(self._plan.order_id, None, (self._plan.order_id,))
        return span if self._plan.sample is None else await self._snapshot.sampled(span, self._plan.sample)

    async def _read_log(self, stack: AsyncExitStack, spill: Spill, ranges: Ranges) -> None:
        topics = self._settings.topics
        checkpoints, others = await self._snapshot.checkpoints(topics)
        for topic in others:
            self._findings.not_checked[topic] = "a topic with checkpoints, and not one of PROJECTOR_TOPICS"
        consumer = await stack.enter_async_context(observer(self._settings))
        spans = await log.spans(consumer, topics, checkpoints)
        total = sum(span.end - span.first for span in spans.values())
        self._findings.upto = {f"{one.topic}/{one.partition}": span.end for one, span in sorted(spans.items())}
        async for read in log.read(consumer, self._snapshot, spans, self._settings.batch_size):
            self._findings.records += read.records
            for item in read.items:
                if isinstance(item, Orderless):
                    self._orderless(item)
                elif self._takes(item):
                    text = item.said.text if item.said is not None else None
                    spill.add(ranges.of(item.order_id), item.packed(), 1 + len(text or "") // _TEXT)
            self._progress("records of the log read", self._findings.records, total)

    def _takes(self, item: Arrival) -> bool:
        if item.kind == "left" and item.note is not None:
            self._findings.left_to_letters.add(f"{item.note.reason}: {'/'.join(map(str, item.place))}")
        sample = self._plan.sample
        if sample is None:
            return True
        drawn = md5((sample.salt + item.order_id).encode(), usedforsecurity=False).hexdigest()
        return int(drawn[:8], 16) < sample.below

    def _orderless(self, item: Orderless) -> None:
        """A letter of a record that names no order is as good as any other."""
        if not item.read:
            self._findings.letters_without_record.add(f"{'/'.join(map(str, item.place))}")
        elif self._plan.names:
            return
        elif item.letter:
            self._findings.equal("dead_letters", 1)
        else:
            self._findings.compare("dead_letters", [letter_row("unreadable", None, item.place)], [])


def _be_strict(findings: Findings) -> None:
    for name, aside in (
        ("events_only_in_database", findings.only_in_database),
        ("erased_without_tombstone", findings.erased_without_tombstone),
    ):
        check = findings.check(name)
        check.found += aside.count
        for example in aside.examples:
            findings.differ(name, (example,), None, "in the log", "in the database alone")
        check.differences = aside.count
