"""A day of several tenants, made up from a seed, to show and to test the pipeline. No part of what runs in production.

The same seed gives the same day, byte for byte. What is wrong in that day is planted and written down, so that what the
pipeline finds can be compared with the truth:

    scenario.py   who there is and what is planted (`draw(seed)`), as frozen data
    catalogue.py  businesses, features, models and daily curves to draw from
    people.py, phrases.py    persons by Faker and what they say: names, addresses, cards, none of them real
    desk.py       the numbers of one call: tokens, time, errors
    talks.py, runs.py    what happens one after the other: talks, searches, agents, pollers, retries, loops
    traffic.py    a scenario to all its events in order of time
    wire.py       an event to a Kafka record as producers send it
    truth.py      planted against found
    sample.py     a call that shows what redaction does
    player.py, lag.py, view.py    Kafka and the terminal, for `tokentrail demo` (pipeline/cli/demo*.py)
    dry.py        `python -m demo.dry --seeds 20`: the same days without Kafka, through the pure cores of the pipeline

A played day has an ordinary day before it, without text, because rules compare with the same time of earlier days.
Everything but `dry.py` knows of the pipeline only the contracts in `schemas`.
"""
