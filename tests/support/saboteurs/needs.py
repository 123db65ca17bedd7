"""What a saboteur needs of the machine. Without it a test is skipped by name; where nobody reads what was skipped (CI,
and the full tier, which is to show that nothing was left out) it fails, unless `FAULTS_MAY_SKIP=1` says otherwise."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest

from tests.support.saboteurs.disk import why_no_small_disk
from tests.support.saboteurs.firewall import why_no_firewall


def may_skip() -> bool:
    """Whether what can't be played here may be left out."""
    strict = os.environ.get("CI", "").lower() in ("true", "1") or os.environ.get("FAULTS") == "full"
    return not strict or os.environ.get("FAULTS_MAY_SKIP") == "1"


def lacking(reason: str) -> NoReturn:
    """This test can't be played here."""
    if may_skip():
        pytest.skip(reason)
    pytest.fail(f"{reason}. Here that is no reason to skip, but FAULTS_MAY_SKIP=1 is", pytrace=False)


def need_firewall() -> None:
    reason = why_no_firewall()
    if reason is not None:
        lacking(reason)


def need_small_disk() -> None:
    reason = why_no_small_disk()
    if reason is not None:
        lacking(reason)
