"""Made-up values of every kind that redaction must find, and the search for what is left of them.

Nothing here imports a rule of `pipeline.redaction`: shapes are written down again from the issuers' documents.
"""
