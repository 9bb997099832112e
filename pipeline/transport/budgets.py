"""Budgets on `llm.controls`: read what holds, and append what is new. Blocking."""

from __future__ import annotations

import time
from collections.abc import Mapping

import msgspec

from pipeline.control.budgets import KIND, Budgets, check
from pipeline.settings import Settings
from pipeline.transport.policies import append_control, read_controls
from schemas.control import Budget, Control


def read_budgets(settings: Settings) -> Budgets:
    """All budgets; raises as `read_controls` does."""
    return Budgets(read_controls(settings, KIND))


def publish_budget(settings: Settings, selector: Mapping[str, str], owner: str, budget: Budget) -> Control:
    """Append a budget as its owner's next version for the selector.

    Raises:
        BudgetError: It cannot be watched.
        RetryableError: Kafka did not take the record.
    """
    check(selector, budget)
    version = read_budgets(settings).next_version(selector, owner)
    control = Control(KIND, dict(selector), owner, version, msgspec.to_builtins(budget), set_at=int(time.time() * 1000))
    append_control(settings, control)
    return control
