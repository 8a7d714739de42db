"""Looks for numbers that behave like sound in traffic whose format nobody has published.

    Exchange ─► walk ─► gather ─► panel ─► behaviour ┐
                 (place, protobuf)         correlate ┴─► rank ─► table, plot, draft

It reads what signatures do not know, so nothing here is evidence: a high rank is a reason to look, and a draft
signature is a beginning. Rules: what comes out are places and numbers, never a text from the wire (a kind of object or
event, such as `media-source`, is a place); all that was left out for a limit is counted.
"""
