"""Rules over windows and runs, and what becomes of their findings. Pure: no Kafka, no wall clock."""
