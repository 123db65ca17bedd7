"""Everything this project raises, by what the caller does next.

ProjectorError
├── UnreadableEvent        dead letter: nobody can apply these bytes
├── InvalidHistory         dead letter: the order's history can't take this event
├── TryAgain               run the whole unit of work again, after a pause
│   ├── LostRace           another writer was first; at once, no pause needed
│   └── Unavailable        a dependency is away or refuses for now
├── Unstorable             PostgreSQL refuses a value: isolate the record that holds it
├── OutOfPlace             stop this consumer and begin again at the checkpoints
├── Stuck                  end this process: its supervisor starts another
└── Refused                stop the program: a person has to change something
"""

from __future__ import annotations


class ProjectorError(Exception):
    """Something in the projector went wrong."""


class UnreadableEvent(ProjectorError):
    """The record is not an event of the contract."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class InvalidHistory(ProjectorError):
    """The order's history can't take this event."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class TryAgain(ProjectorError):
    """The unit of work did not happen, or nobody can know whether it did; running it again is right."""


class LostRace(TryAgain):
    """Another writer changed what this one had read."""


class Unavailable(TryAgain):
    """A dependency is away, or refuses for now."""


class Unstorable(ProjectorError):
    """PostgreSQL can't hold a value (SQLSTATE class 22, 23 or 54). Carries no value: it may be personal."""

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"PostgreSQL refuses a value (SQLSTATE {sqlstate})")
        self.sqlstate = sqlstate


class OutOfPlace(ProjectorError):
    """What was fetched does not follow on from the checkpoint, or the partition has another owner by now."""


class Stuck(ProjectorError):
    """Nothing is applied though everything answers. Nobody knows why; a new process has got over it so far."""


class Refused(ProjectorError):
    """The program can't go on until somebody changes something; the message says what."""
