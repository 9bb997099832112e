"""Kafka seen as ranges: the Faust transport plug-in, the stage runtime, the producer and the readers beside it."""
