"""Kills and outages against the real thing, with a verifier that knows what was sent."""
