"""From a raw record to what may be kept of it: decode, identify, price, and build facts and clean records. Pure.

The allow-list lives here. Nothing outside it leaves this room: each kept field is a number, an enumeration, an
identifier (safe characters or a keyed hash) or text that redaction has seen.
"""
