"""What waited for an event that live work had missed and a rebuild has found: judged anew, after the swap.

Live work looks at what is parked when an order's next event comes. After a swap that has moved an order on, that
event has come already.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from consumer import pending
from consumer.install import NOBODYS_SHARD, stay
from consumer.projection import Projection
from consumer.read_models import ReadModel
from consumer.rebuild.shadow import SQL
from runtime import postgres
from runtime.attempts import until_done
from schemas.connection import Connection
from schemas.events import Event
from schemas.wire import decode

_AT_ONCE = 500  # parked events
_TRIES = 20


async def free(connection: Connection, models: Sequence[ReadModel]) -> int:
    """Judge what is parked though its turn has come or gone; how many events there were."""
    freed = 0
    while some := await until_done(partial(_some, connection, models), tries=_TRIES):
        freed += some
    return freed


async def _some(connection: Connection, models: Sequence[ReadModel], *, careful: bool) -> int:
    """`careful` says nothing here: every try locks its orders."""
    projection = Projection(models)
    with postgres.translated():
        found = [decode(pending.stored(row)) for row in await connection.fetch(SQL["parked_due"], _AT_ONCE)]
        items = [item for item in found if isinstance(item, Event)]
        if not items:
            return 0
        await projection.prepare(connection, items)
        async with connection.transaction():
            await stay(connection, models)
            uuids, sources = projection.sources.keys_of([(item.source, item.uuid) for item in items])
            # Parked no longer, so no longer known by that: what becomes of each is decided as if it came now.
            await connection.execute(SQL["parked_out"], uuids, sources)
            await projection.apply(connection, items, NOBODYS_SHARD, careful=True)
    return len(items)
