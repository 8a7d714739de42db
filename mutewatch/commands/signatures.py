"""`mutewatch signatures`: what is known, whether it holds, and the schema of the files."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from mutewatch.errors import OperatorError
from mutewatch.signatures import Signature, load_signature, load_signatures, schema
from mutewatch.signatures.fixtures import run_fixtures


def list_signatures() -> None:
    """Print the bundled signatures, one a row."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("signature", "says", "confidence", "hosts"):
        table.add_column(heading, overflow="fold")
    for signature in load_signatures():
        table.add_row(signature.id, _says(signature), signature.confidence, "\n".join(signature.hosts))
    Console(highlight=False).print(table)


def validate(paths: Sequence[Path]) -> int:
    """Check signature files against the model; return 0 if all are right, else 2."""
    faults = 0
    for path in paths:
        try:
            print(f"{path}: {load_signature(path).id} is valid")
        except OperatorError as error:
            print(f"mutewatch: {error}", file=sys.stderr)
            faults += 1
    return 2 if faults else 0


def test(paths: Sequence[Path]) -> int:
    """Run the fixtures of `paths`, or of the bundled signatures; return 0 if all hold, else 3."""
    signatures = [load_signature(path) for path in paths] or load_signatures()
    failed = 0
    for signature in signatures:
        for result in run_fixtures(signature):
            print(f"{'ok  ' if result.holds else 'FAIL'} {signature.id}: {result.name}")
            if not result.holds:
                failed += 1
                print(*(f"     expected: {line}" for line in result.expected), sep="\n")
                print(*(f"     got:      {line}" for line in result.got), sep="\n")
    return 3 if failed else 0


def print_schema() -> None:
    """Print the JSON Schema of a signature file."""
    print(schema(), end="")


def _says(signature: Signature) -> str:
    audio = any(message.audio for message in signature.messages)
    mute = any(message.mute for message in signature.messages)
    return " and ".join(word for word, is_there in (("audio", audio), ("mute state", mute)) if is_there)
