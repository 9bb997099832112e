"""ClickHouse seen as tables of ours: migrate, append, read back. No business rules."""
