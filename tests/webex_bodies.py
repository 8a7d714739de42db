"""The real Webex bodies, as a client would send them: without the residue that the hook log has behind them."""

from pathlib import Path

from mutewatch.decode import Budget, first_json_value
from mutewatch.errors import DecodeError
from mutewatch.limits import DEFAULT_LIMITS
from mutewatch.ports import ReadOptions
from pcap_tools.api_log import ApiLogReader


def real_bodies(log: Path) -> list[bytes]:
    """Return the bodies of a hook log that can be read, in its order."""
    bodies = []
    for exchange in ApiLogReader().read(log, ReadOptions()):
        budget = Budget(DEFAULT_LIMITS)
        try:
            first_json_value(exchange.body, budget)
        except DecodeError:
            continue
        bodies.append(budget.first_value or b"")
    return bodies
