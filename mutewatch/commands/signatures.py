"""`mutewatch signatures`: what is known, whether it holds, and the beginnings of more."""

import sys
import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TextIO

from mutewatch.errors import OperatorError
from mutewatch.signatures import Signature, known_signatures, load_signature, load_signatures, own_files, schema
from mutewatch.signatures.choice import asked_without, choose
from mutewatch.signatures.coverage import coverage_page
from mutewatch.signatures.described import WIDTH, describe
from mutewatch.signatures.draft import skeleton, unfinished
from mutewatch.signatures.fixtures import run_fixtures
from mutewatch.signatures.lint import Remark, lint

BUNDLED = "bundled"


def list_signatures(folder: Path | None, config: Path | None = None) -> None:
    """Print the signatures that scan and live use, one a row, and where each is from.

    `config`: settings of the gateway, which may name another folder, and leave some out.
    """
    without = asked_without()
    if config is not None:
        from addons.settings_sources import load

        chosen = load(config, {("signatures", "folder"): folder}).settings.signatures
        folder, without = chosen.folder, chosen.without
    left_out = choose(known_signatures(folder), without).left_out_ids
    own = {load_signature(path).id: path for path in own_files(folder)}
    rows = [("signature", "says", "confidence", "from; hosts below")]
    hosts: list[Sequence[str]] = [()]
    for signature in known_signatures(folder):
        where = own[signature.id].name if signature.id in own else BUNDLED
        where += ", LEFT OUT" if signature.id in left_out else ""
        rows.append((signature.id, _says(signature), signature.confidence, where))
        hosts.append(signature.hosts or ["any"])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row, names in zip(rows, hosts, strict=True):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        for line in textwrap.wrap(", ".join(names), WIDTH - 4, break_on_hyphens=False, break_long_words=False):
            print(f"    {line}")
    yours = f"Your own are in {own_files(folder)[0].parent}.\n" if own else ""
    print(
        f"\n{yours}One of them: mutewatch signatures show ID. Which app tells what, and what nobody\n"
        "can see: mutewatch signatures coverage, or docs/coverage.md."
    )


def show(signature_id: str, folder: Path | None) -> None:
    """Print all that the signature says. OperatorError if there is none of that id."""
    known = {signature.id: signature for signature in known_signatures(folder)}
    if signature_id not in known:
        raise OperatorError(f"no signature {signature_id!r}; there are {', '.join(known)}")
    origins = {load_signature(path).id: str(path) for path in own_files(folder)}
    print(*describe(known[signature_id], origins.get(signature_id, BUNDLED)), sep="\n")


def validate(paths: Sequence[Path]) -> int:
    """Check signature files against the model, and with the linter; return 0 if nothing is at fault, else 2."""
    faults, valid = 0, []
    for path in paths:
        try:
            print(f"{path}: {load_signature(path).id} is valid")
            valid.append(path)
        except OperatorError as error:
            print(f"mutewatch: {error}", file=sys.stderr)
            faults += 1
    if valid:
        faults += _tell(valid, None, sys.stderr)
    return 2 if faults else 0


def lint_files(paths: Sequence[Path], folder: Path | None) -> int:
    """Print what is to be said against `paths`, or against all signatures; return 0 if nothing is at fault, else 2."""
    count = len(paths) or len(known_signatures(folder))
    faults = _tell(paths, folder, sys.stdout)
    print(f"{count} {'signature' if count == 1 else 'signatures'}, {faults or 'nothing'} at fault")
    return 2 if faults else 0


def test(paths: Sequence[Path], folder: Path | None) -> int:
    """Run the fixtures of `paths`, or of all signatures; return 0 if all hold, else 3."""
    signatures = [load_signature(path) for path in paths] or known_signatures(folder)
    failed = 0
    for signature in signatures:
        for result in run_fixtures(signature):
            print(f"{'ok  ' if result.holds else 'FAIL'} {signature.id}: {result.name}")
            if not result.holds:
                failed += 1
                print(*(f"     expected: {line}" for line in result.expected), sep="\n")
                print(*(f"     got:      {line}" for line in result.got), sep="\n")
    return 3 if failed else 0


def new(signature_id: str, output: Path | None) -> None:
    """Print the beginning of a signature, or write it to a file that does not exist yet."""
    if any(signature.id == signature_id for signature in load_signatures()):
        raise OperatorError(f"there is a bundled signature {signature_id}; to read it at hosts of your own, extend it")
    text = skeleton(signature_id, _today())
    if output is None:
        print(text, end="")
        return
    try:
        with output.open("x", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise OperatorError(f"cannot write {output}: {error.strerror}") from None
    print(f"{output}: fill in each TODO, then: mutewatch signatures validate {output}")


def coverage(folder: Path | None) -> None:
    """Print the page of what is covered of which app."""
    print(coverage_page(known_signatures(folder)), end="")


def print_schema() -> None:
    """Print the JSON Schema of a signature file."""
    print(schema(), end="")


def _tell(paths: Sequence[Path], folder: Path | None, where: TextIO) -> int:
    """Print the remarks on the signatures in `paths` (on all, if there are none); return how many are faults."""
    mine = [load_signature(path) for path in paths]
    ids = {signature.id for signature in mine}
    others = [signature for signature in known_signatures(folder) if signature.id not in ids]
    remarks = lint([*others, *mine], _today())
    told = [remark for remark in remarks if not paths or remark.signature in ids]
    told += [todo for path, signature in zip(paths, mine, strict=True) for todo in _todos(path, signature)]
    for remark in told:
        print(f"{'fault ' if remark.is_fault else 'remark'} {remark}", file=where)
    return sum(remark.is_fault for remark in told)


def _todos(path: Path, signature: Signature) -> Iterator[Remark]:
    for number, line in unfinished(path.read_text(encoding="utf-8")):
        yield Remark(signature.id, f"line {number}", f"still to do: {line[:60]}", is_fault=True)


def _says(signature: Signature) -> str:
    audio = any(message.audio for message in signature.messages)
    mute = any(message.mute for message in signature.messages)
    return " and ".join(word for word, is_there in (("audio", audio), ("mute state", mute)) if is_there)


def _today() -> date:
    return datetime.now(UTC).date()
