"""What *reads* is measured against: a handler as FastAPI's own pages show it, which does the same SELECT and no more.

DATABASE_URL=… python -m bench.bare_api PORT
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response

from runtime.sql import Queries

_SQL = Queries("consumer", "queries.sql")
_CONNECTIONS = 8  # as many as the service has for its reads


@asynccontextmanager
async def _pool(app: FastAPI) -> AsyncIterator[None]:
    async with asyncpg.create_pool(os.environ["DATABASE_URL"], min_size=1, max_size=_CONNECTIONS) as pool:
        app.state.pool = pool
        yield


app = FastAPI(lifespan=_pool)


@app.get("/orders/{order_id}")
async def order(order_id: str, request: Request) -> Response:
    async with request.app.state.pool.acquire() as connection:
        row = await connection.fetchrow(_SQL["orders_shown"], [order_id])
    if row is None:
        raise HTTPException(404)
    return Response(row["body"], media_type="application/json")


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), loop="uvloop", http="h11", access_log=False, log_level="warning")
