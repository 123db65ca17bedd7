"""A unit of work run until it is done: again at once where another writer was first, later where PostgreSQL is away."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_never,
    wait_random_exponential,
)

from schemas.errors import LostRace, TryAgain

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")

OnRetry = Callable[[BaseException, int], None]

_RACES = 5  # tries that follow each other at once


class Work(Protocol[T_co]):
    """One try of the whole unit of work. A careful one loses no race that could be foreseen."""

    def __call__(self, *, careful: bool) -> Awaitable[T_co]: ...


async def until_done(
    once: Work[T], on_retry: OnRetry = lambda error, attempt: None, *, careful: bool = False, tries: int | None = None
) -> T:
    """What `once` returns, when it does. It is run again after TryAgain, carefully after a lost race.

    `tries` is how often at most, for ever if None; the last TryAgain is then raised.
    """
    try:
        # Nearly always all there is to it. Tenacity's own machinery takes as long as a small statement, and leaves
        # cycles behind for the garbage collector, which then looks at all of a backlog's events.
        return await once(careful=careful)
    except TryAgain as error:
        failed: TryAgain | None = error
        careful = careful or isinstance(error, LostRace)
    retrying = AsyncRetrying(
        retry=retry_if_exception_type(TryAgain),
        wait=_wait,
        stop=stop_never if tries is None else stop_after_attempt(tries),
        before_sleep=lambda state: on_retry(_failure(state), state.attempt_number),
        reraise=True,
    )
    async for attempt in retrying:
        with attempt:
            if failed is not None:  # the first attempt's end
                first, failed = failed, None
                raise first
            try:
                return await once(careful=careful)
            except LostRace:
                careful = True
                raise
    raise AssertionError("tenacity ends by returning or raising")


def _wait(state: RetryCallState) -> float:
    """A lost race is run again at once; a dependency that is away gets up to 10 s, at random.

    A race that is lost again and again, though the orders are locked by then, is none: give it time, and the log.
    Full jitter: workers that were thrown back together don't come again together.
    """
    if isinstance(_failure(state), LostRace) and state.attempt_number < _RACES:
        return 0.0
    return _away(state)


_away = wait_random_exponential(multiplier=0.1, max=10)


def _failure(state: RetryCallState) -> BaseException:
    assert state.outcome is not None
    error = state.outcome.exception()
    assert error is not None
    return error
