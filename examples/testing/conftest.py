"""The databases and workers of this shop's tests have its own read model beside the built-in ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from consumer.read_models import READ_MODELS, ReadModel

from .monthly_revenue import MonthlyRevenue


@pytest.fixture(scope="session")
def read_models() -> Sequence[ReadModel]:
    return (*READ_MODELS, MonthlyRevenue())
