"""The stages: one short module each, wiring `pipeline` to topics. What a stage knows is in `pipeline`, not here."""
