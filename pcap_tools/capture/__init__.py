"""Reads capture files: their framing, the layers below TCP, and the choice of the flows worth opening."""
