"""Where a fault is played: a Kafka and a PostgreSQL, shared with other tests or the fault's own to break."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient

from runtime.embedded.apache_kafka import ApacheKafka
from runtime.embedded.postgres import EmbeddedPostgres
from testkit.databases import apply_migrations, create_database, drop_database, fresh_name
from testkit.topics import create_topic


@dataclass(frozen=True)
class Stage:
    """Two services. `kafka` and `postgres` are the servers themselves where a fault may break them."""

    bootstrap: str
    postgres_url: str
    kafka: ApacheKafka | None = None
    postgres: EmbeddedPostgres | None = None

    @asynccontextmanager
    async def topic(self, partitions: int) -> AsyncIterator[str]:
        """A fresh topic, for as long as the context lasts."""
        async with self.admin() as admin:
            name = await create_topic(admin, partitions)
        try:
            yield name
        finally:
            async with self.admin() as admin:
                await admin.delete_topics([name])

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a fresh database with the current schema, for as long as the context lasts."""
        name = fresh_name("fault")
        url = await create_database(self.postgres_url, name)
        try:
            await apply_migrations(url)
            yield url
        finally:
            await drop_database(self.postgres_url, name)

    @asynccontextmanager
    async def admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        """An admin client of this stage's Kafka."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap)
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()
