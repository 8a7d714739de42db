"""Scripted clients and servers of the apps that mutewatch knows, each speaking its published format.

`script.py` is what happens, the same in every app; a module for each app says it in that app's words; `play.py` is
both ends of every connection, over sockets through a proxy (`live.py`) or in memory, for a capture (`recorded.py`).
What the apps write is written here, and by nothing that reads it.
"""
