"""What makes the ClickHouse side auditable: rows, leaves, the ledger's fold, verification, retention. Pure: no I/O."""
