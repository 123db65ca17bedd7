"""The read models, and the one place where they are listed. Adding one is a file here and a line below.

A read model is a pure function of one order's state. The engine calls it for the state before and after a batch
and writes the difference in bulk, in the transaction that applies the events.
"""

from __future__ import annotations

from consumer.read_models.customer_summary import CustomerSummary
from consumer.read_models.fulfilment_queue import FulfilmentQueue
from consumer.read_models.kinds import Contribution, Document, ReadModel, View
from consumer.read_models.product_sales_daily import ProductSalesDaily

READ_MODELS: tuple[ReadModel, ...] = (
    View("order_summary", version=1),
    View("order_timeline", version=1),
    CustomerSummary(),
    ProductSalesDaily(),
    FulfilmentQueue(),
)

__all__ = ["READ_MODELS", "Contribution", "Document", "ReadModel", "View"]
