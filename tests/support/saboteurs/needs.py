"""What a saboteur needs of the machine: without it a test is skipped by name, where CI installs it the test fails."""

from __future__ import annotations

import os

import pytest

from tests.support.saboteurs.disk import why_no_small_disk
from tests.support.saboteurs.firewall import NO_NFT, why_no_firewall


def need_firewall() -> None:
    reason = why_no_firewall()
    if reason is not None:
        in_ci = os.environ.get("CI", "").lower() in ("true", "1")
        (pytest.fail if in_ci and reason == NO_NFT else pytest.skip)(reason)


def need_small_disk() -> None:
    reason = why_no_small_disk()
    if reason is not None:
        pytest.skip(reason)
