"""Faults against the real thing, with a judge that knows what was sent.

`house` is an installation behind proxies, `faults` are what happens to it, `planner` draws them from a seed, `player`
sends known events while they happen, `proofs` reads in the logs what each one hit, `judge` accounts for everything.
"""
