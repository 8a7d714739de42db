"""Shows, minute by minute, whether a video-conferencing client sends audio-derived data while it is muted.

In a notebook: `import mutewatch; mutewatch.scan("meeting.pcapng", keylog="keys.log")`, see docs/analysts.md.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mutewatch.api import open_store, scan

__all__ = ["open_store", "scan"]


def __getattr__(name: str) -> Any:
    """Load the API when it is first asked for: everything else imports this package, too."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mutewatch import api

    return getattr(api, name)
