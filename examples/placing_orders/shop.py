"""A shop that takes orders: the write side inside a service of your own.

export $(projector up) && projector migrate
python -m examples.placing_orders.shop
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

from consumer.local import LocalProjection
from producer import commands
from producer.answers import Answer, Key
from producer.handler import CommandHandler
from producer.waking import waking
from runtime import postgres
from runtime.settings import Settings, load

ORDER = {
    "customer": {"id": "c-7", "name": "Ann"},
    "currency": "EUR",
    "lines": [{"sku": "tea", "title": "Green tea", "quantity": 2, "unit_price": "6.25"}],
}


@asynccontextmanager
async def shop(settings: Settings) -> AsyncIterator[CommandHandler]:
    """What takes commands, for as long as the service runs. Readers see each when it is answered; leave `project` out
    once that may take a moment, and a relay and a worker run."""
    async with postgres.pool(settings, "shop", 8) as pool, waking(pool) as wake:
        yield CommandHandler(
            pool, source="/shop/orders", topic=settings.topics[0], project=LocalProjection(), committed=wake
        )


async def main() -> list[Answer]:
    """One order, as far as it gets; what was answered to each command."""
    order = f"o-{uuid4()}"
    place = commands.of_object("place", order, ORDER)
    pay = commands.of_object("pay", order, {"payment_id": "p-1", "amount": "12.50"})
    ship = commands.of_object("ship", order, {"carrier": "post", "tracking_number": "1"})
    async with shop(load()) as handler:
        return [
            await handler.handle(place, key=Key("web", f"place {order}")),
            # An impatient client sends it again: the same key gets the same answer, and nothing changes.
            await handler.handle(place, key=Key("web", f"place {order}")),
            await handler.handle(ship),  # refused, with a reason: it is not confirmed, and not paid
            await handler.handle(commands.of_object("confirm", order), expected_version=1),
            await handler.handle(pay),
            await handler.handle(ship),
        ]


if __name__ == "__main__":
    sys.stdout.write("\n".join(map(str, asyncio.run(main()))) + "\n")
