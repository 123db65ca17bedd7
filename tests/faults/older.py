"""A worker of the release before, which counts revenue of cancelled orders: `python -m tests.faults.older worker`."""

from __future__ import annotations

from cli.main import main
from consumer.read_models.customer_summary import CustomerSummary
from tests.support import makes

if __name__ == "__main__":
    right = CustomerSummary.contributions
    CustomerSummary.version = makes.CustomerSummary.version
    CustomerSummary.contributions = lambda self, order: makes.with_cancelled(right(self, order), order)  # type: ignore[method-assign]  # that is the point
    main()
