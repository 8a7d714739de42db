"""What a variant gives: capture files, the key log beside them, the truth, and what a reader owes."""

from dataclasses import dataclass
from pathlib import Path

from tests.captures.conversations import Conversation
from tests.captures.links import Frame


@dataclass(frozen=True, slots=True)
class Capture:
    """`files`: by name, in order of time. `least`: how many of `bodies` a reader must find, each byte for byte.

    `keylog` is empty where the secrets are in the file. `whole`: is tshark to find all bodies too?
    """

    files: tuple[tuple[str, bytes], ...]
    keylog: bytes
    bodies: tuple[bytes, ...]
    least: int
    whole: bool

    def write(self, folder: Path) -> tuple[list[Path], Path | None]:
        """Write the files and, where it is not embedded, the key log; return their paths."""
        paths = []
        for name, data in self.files:
            (folder / name).write_bytes(data)
            paths.append(folder / name)
        if not self.keylog:
            return paths, None
        (folder / "keys.log").write_bytes(self.keylog)
        return paths, folder / "keys.log"


def capture(
    talk: Conversation,
    *files: bytes,
    name: str = "capture.pcap",
    keylog: bytes | None = None,
    least: int | None = None,
    whole: bool | None = None,
) -> Capture:
    """Return a capture of `talk`. By default it has all bodies, beside its key log, and tshark finds them."""
    stem, suffix = name.split(".", 1)
    named = ((name, files[0]),) if len(files) == 1 else tuple(
        (f"{stem}{number}.{suffix}", data) for number, data in enumerate(files)
    )  # fmt: skip
    owed = len(talk.bodies) if least is None else least
    whole = owed == len(talk.bodies) if whole is None else whole
    return Capture(named, talk.keylog if keylog is None else keylog, talk.bodies, owed, whole)


def merged(*several: list[Frame]) -> list[Frame]:
    """Return the frames of several captures in the order of time."""
    return sorted((frame for frames in several for frame in frames), key=lambda frame: frame.time)
