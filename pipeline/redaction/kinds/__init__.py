"""Our own recognisers: what LLM traffic holds and Presidio does not look for, and stricter forms of some of its own.

They share Presidio's interface, so that every engine of Presidio's can run them, and say by `necessary_patterns` what
their findings need, so that gates can be derived for them. Each file knows one family of values.
"""
