"""The contracts: what travels on Kafka and what stands in ClickHouse. Imports nothing else of ours."""
