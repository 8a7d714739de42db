"""The plug points of mutewatch: where traffic comes in, findings go out, and guesses are made."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from mutewatch.flow_records import Flow, RtpStream, Unidentified
from mutewatch.records import ActivityGuess, AudioReport, Exchange, Finding


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What a reader may need beside the file, and whom it tells what it finds on the way.

    For captures: `keylogs` are NSS key log files; `is_host` says which host names are of interest (all, if
    nobody says), `addresses` which servers are; `follow` goes on reading a file that grows. `wants_answer` says of
    which requests (method, host, path) the body of the response is to be an exchange, too.
    """

    keylogs: tuple[Path, ...] = ()
    is_host: Callable[[str], bool] = field(default=lambda _name: True)
    addresses: tuple[str, ...] = ()
    others_by_key: bool = True  # also flows that name another host, if their key is in the log
    follow: bool = False
    wants_answer: Callable[[str, str | None, str], bool] = field(default=lambda _method, _host, _path: False)
    on_bytes: Callable[[int], None] = field(default=lambda _count: None)  # progress: bytes consumed so far
    on_chosen: Callable[[int], None] = field(default=lambda _count: None)  # progress: flows chosen so far
    on_flow: Callable[[Flow], None] = field(default=lambda _flow: None)  # each flow that was looked into, once
    on_skipped: Callable[[Mapping[str, int]], None] = field(default=lambda _counts: None)  # packets not read, by why
    on_streams: Callable[[Sequence[RtpStream], int], None] | None = None  # and how many more; None: RTP is not wanted
    on_unidentified: Callable[[Mapping[Unidentified, int]], None] = field(default=lambda _counts: None)  # flows, by why


class Reader(Protocol):
    """Reads saved traffic lazily.

    `read` yields every exchange it can; where the file is damaged it yields what it found up to there
    and then raises `errors.InputError` naming file, offset and reason.
    """

    name: str

    def sniff(self, head: bytes) -> bool:
        """Is a file that begins with these bytes (at most 4 KiB) one for this reader?"""
        ...

    def read(self, path: Path, options: ReadOptions) -> Iterator[Exchange]:
        """Yield the exchanges of `path` in the order in which the file holds them."""
        ...


class Sink(Protocol):
    """Takes findings away. A finding with the `key` of an earlier one replaces it."""

    def write(self, findings: Iterable[Finding]) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class ActivityModel(Protocol):
    """Guesses the background activity from the last minutes of one call."""

    model_id: str
    horizon: int  # how many reports back, at most, a guess looks

    def guesses(self, batch: Sequence[Sequence[AudioReport]]) -> list[ActivityGuess | None]:
        """Guess for the last report of each of `batch`: those of one call, oldest first, at most `horizon`.

        None where the values are not of the kind the model was trained on.
        """
        ...
