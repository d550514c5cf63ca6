"""Whose turn it is: the pure core of the gateway.

Nothing here does I/O, reads a clock, starts a task or draws a random number. The session feeds events
(`events.py`) to a `TurnTaker`, carries out the actions (`actions.py`) that it answers, and asks `HeardText`
what the person has heard of a reply.
"""
