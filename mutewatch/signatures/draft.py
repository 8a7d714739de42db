"""The beginning of a signature: a file that reads an example format and says what is to be filled in."""

import re
from collections.abc import Iterator
from datetime import date
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from mutewatch.errors import OperatorError
from mutewatch.signatures.model import SignatureId

SKELETON = Path(__file__).parent / "data" / "skeleton.toml"
_TODO = re.compile(r"\bTODO\b")


def skeleton(signature_id: str, today: date) -> str:
    """Return the text of a signature to be, whose fixtures hold. OperatorError for what is no id."""
    try:
        TypeAdapter(SignatureId).validate_python(signature_id)
    except ValidationError:
        raise OperatorError(f"{signature_id!a} is no id: write app and endpoint, such as example.metrics") from None
    text = SKELETON.read_text(encoding="utf-8")
    return text.replace("{id}", signature_id).replace("{today}", today.isoformat())


def unfinished(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that still says what is to do."""
    for number, line in enumerate(text.splitlines(), 1):
        if _TODO.search(line):
            yield number, line.strip()
