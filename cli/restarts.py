"""Whether, and how soon, a member that has ended is started again. Pure."""

from __future__ import annotations

_RESTARTS = 5  # of one member, in a row; then the whole fleet ends, for its own supervisor to see
_HEALTHY = 60.0  # seconds after which a member's earlier ends are forgotten
_PAUSE = 0.5  # seconds before the first restart; twice as long before each that follows
_LONGEST = 8.0  # seconds
_HOPELESS = 2  # an exit code: a person has to act, and a restart wouldn't help
_UNREACHABLE = 3  # an exit code: PostgreSQL or Kafka is away


class Restarts:
    """One member's ends so far, in a row."""

    def __init__(self) -> None:
        self.failures = 0
        self._waits = 0
        self._has_worked = False

    def after(self, code: int, lasted: float) -> float | None:
        """Seconds until the next start, for a member that ended with this code after so many seconds; None: give up.

        A member that has worked before and finds a service away is no failure of its own: it waits, as one does that
        was running when the service went. One that never got through is given up like any other: the address may be
        wrong.
        """
        if lasted > _HEALTHY:
            self.failures = self._waits = 0
        if code == _HOPELESS:
            self.failures += 1
            return None
        if code == _UNREACHABLE and self._has_worked:
            self._waits += 1
            return _pause(self._waits)
        self._has_worked |= code != _UNREACHABLE
        self._waits = 0
        self.failures += 1
        return None if self.failures > _RESTARTS else _pause(self.failures)


def _pause(time: int) -> float:
    return min(_PAUSE * 2.0 ** min(time - 1, 10), _LONGEST)
