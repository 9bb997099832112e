"""Policies, switches and budgets as pure functions over the records of `llm.controls`."""
