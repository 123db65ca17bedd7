"""Money as an exact integer of ten-thousandths ("units"): a sum can neither round nor overflow.

`Decimal` would do for single amounts, but its arithmetic rounds at 28 digits unless every caller sets a
context; quantities have no upper bound in the contract, so totals have none either.
"""

from __future__ import annotations

from decimal import Decimal

SCALE = 4
UNITS_PER_ONE = 10_000

# From 0, below 10^14, at most 4 decimal places (CONTRACT 1). Matched by pydantic-core's Rust engine, where `$`
# is the end of the text, not of a line, and [0-9] keeps out the other scripts' digits that Decimal() takes.
PATTERN = r"^[0-9]{1,14}(\.[0-9]{1,4})?$"


def units(text: str) -> int:
    """The ten-thousandths in a decimal text that matches PATTERN: "12.5" gives 125000."""
    whole, _, fraction = text.partition(".")
    if not fraction:
        return int(whole) * UNITS_PER_ONE
    return int(whole) * UNITS_PER_ONE + int(fraction) * _FACTOR[len(fraction)]


_FACTOR = {1: 1000, 2: 100, 3: 10, 4: 1}


def text(amount: int) -> str:
    """Units as decimal text with all four places, for a `numeric` column: 125000 gives "12.5000"."""
    if amount < 0:
        return "-" + text(-amount)
    return "%d.%04d" % divmod(amount, UNITS_PER_ONE)  # noqa: UP031  in two thirds of an f-string's time


def number_text(value: int | Decimal) -> str:
    """A JSON number as plain decimal text, digits as the producer wrote them: 12.50 stays "12.50", 1e2 is "100"."""
    return format(value, "f") if isinstance(value, Decimal) else str(value)
