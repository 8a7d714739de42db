"""What went through a pipeline, in numbers."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class Counts:
    """What went through, so that silence is never taken for "clean". Messages, unless the name says otherwise."""

    exchanges: int = 0
    canaries: int = 0  # messages of `mutewatch canary`, in no other number here
    dark: int = 0  # connections to telemetry hosts of which no message could be read
    matched: int = 0
    unmatched: int = 0  # to the host of a signature that knows audio-derived values, and no message of any
    unmatched_audio: int = 0  # of these, messages that name an audio-derived value
    decoded: int = 0
    undecoded: int = 0
    unread: int = 0  # matched, but the door could not read the body
    without_audio: int = 0  # decoded, and carried neither audio-derived values nor a mute state
    repeats: int = 0  # reports of a minute that was known already
    mute_events: int = 0
    mute_refused: int = 0
    mute_unanswered: int = 0
    missing_unlisted: int = 0  # minutes missing beyond what one gap lists
    samples_excess: int = 0  # samples beyond what one minute of a call holds
    unstorable: int = 0  # facts and findings that the store refused for good
    forgotten_calls: int = 0  # calls let go to stay within the limit
    forgotten_connections: int = 0  # of those that send reports which leave out what has not changed
    signatures: Counter[str] = field(default_factory=Counter)
