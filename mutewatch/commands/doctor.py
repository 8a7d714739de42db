"""`mutewatch doctor`: what is here, what is missing, and what that means."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mutewatch.config import StateDirectory
from mutewatch.errors import OperatorError

OUR_PACKAGES = ("mutewatch", "addons", "pcap_tools", "classifier", "certs")


@dataclass(frozen=True, slots=True)
class Check:
    """One line: is it there, which one, and what its absence costs. `is_fault`: something is broken."""

    name: str
    is_good: bool
    text: str
    is_fault: bool = False


def doctor(root: Path) -> int:
    """Print all checks; return 0, or 2 if something is broken (not merely absent)."""
    return print_checks([check for run in CHECKS for check in run(StateDirectory(root))])


def print_checks(checks: Sequence[Check]) -> int:
    """Print one line for each; return 0, or 2 if one is a fault."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        mark = ("ok", "green") if check.is_good else ("FAULT", "bold red") if check.is_fault else ("none", "yellow")
        table.add_row(Text(*mark), check.name, Text(check.text))
    Console(highlight=False).print(table)
    return 2 if any(check.is_fault for check in checks) else 0


def _versions(_state: StateDirectory) -> Iterator[Check]:
    ours = _version("mutewatch") or "not installed, running from its folder"
    yield Check("mutewatch", True, f"{ours}, on Python {platform.python_version()}")
    uses = {"mitmproxy": "live proxy, HAR files and flow dumps", "pyshark": "a second opinion on captures"}
    for name, use in uses.items():
        found = _version(name)
        yield Check(name, found is not None, f"{found} ({use})" if found else f"missing: {use}", found is None)


def _tshark(_state: StateDirectory) -> Iterator[Check]:
    path = shutil.which("tshark")
    if path is None:
        yield Check("tshark", False, "not installed: no second opinion on captures (Debian: apt install tshark)")
        return
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=True).stdout
        yield Check("tshark", True, f"{told.split()[2].rstrip('.')} at {path} (a second opinion on captures)")
    except (OSError, subprocess.SubprocessError, IndexError) as error:
        yield Check("tshark", False, f"{path} does not run: {error}", is_fault=True)


def _torch(_state: StateDirectory) -> Iterator[Check]:
    found = _version("torch")
    text = f"{found} (training)" if found else "not installed: only needed to train (pip install 'mutewatch[train]')"
    yield Check("torch", found is not None, text)


def _model(_state: StateDirectory) -> Iterator[Check]:
    from classifier.manifest import ModelError
    from classifier.stream import load_model

    try:
        yield Check("model", True, f"{load_model().model_id}, its SHA-256 is as its manifest says")
    except ModelError as error:
        yield Check("model", False, f"no activity is guessed: {error}", is_fault=True)


def _signatures(_state: StateDirectory) -> Iterator[Check]:
    from mutewatch.signatures.choice import asked_without

    return check_signatures(None, asked_without())


def check_signatures(folder: Path | None, without: Sequence[str]) -> Iterator[Check]:
    """The bundled signatures and those of `folder`: do their fixtures hold? And which are left out, if any."""
    from mutewatch.signatures import known_signatures, own_files
    from mutewatch.signatures.choice import choose
    from mutewatch.signatures.fixtures import run_fixtures

    try:
        own, choice = own_files(folder), choose(known_signatures(folder), without)
    except OperatorError as error:
        yield Check("signatures", False, str(error), is_fault=True)
        return
    results = [result.holds for signature in choice.used for result in run_fixtures(signature)]
    apps = ", ".join(sorted({signature.app for signature in choice.used}))
    yours = f", {len(own)} your own, in {own[0].parent}" if own else ""
    text = f"{len(choice.used)} of {apps}{yours}; {sum(results)} of {len(results)} fixtures hold"
    yield Check("signatures", all(results), text, not all(results))
    if choice.left_out:
        ids = ", ".join(choice.left_out_ids)
        yield Check("left out", False, f"{ids}: neither opened nor judged, as the operator wants")


def _state_directory(state: StateDirectory) -> Iterator[Check]:
    try:
        if not state.root.exists():
            yield Check("state", True, f"{state.root} (made when first needed)")
            return
        loose = [path for path in (state.root, *state.root.iterdir()) if path.stat().st_mode & 0o077]
    except OSError as error:
        yield Check("state", False, f"{state.root}: {error.strerror}", is_fault=True)
        return
    if loose:
        yield Check("state", False, f"open to others: chmod go= {loose[0]}", is_fault=True)
    else:
        yield Check("state", os.access(state.root, os.W_OK), f"{state.root}, yours alone")


def _store(state: StateDirectory) -> Iterator[Check]:
    from mutewatch.store import Store

    where = state.store_location
    if isinstance(where, Path) and not where.exists():
        yield Check("store", False, f"nothing recorded yet at {where} (live, or scan --store)")
        return
    try:
        with Store(where) as store:
            verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(store.verdicts().items()))
        yield Check("store", True, f"{store.name}: {verdicts or 'no findings'}")
    except OperatorError as error:
        yield Check("store", False, str(error), is_fault=True)


def _database(state: StateDirectory) -> Iterator[Check]:
    """Does PostgreSQL answer? Its tables stay as they are: a gateway of an older version may be at work in them.

    That it does not is no fault of the settings: at a boot it may come later, and a service is then started again.
    """
    from mutewatch.database import shown, why_silent

    where = state.store_location
    if isinstance(where, Path):
        return
    try:
        why = why_silent(where)
        told = "answers" if why is None else f"does not answer, and the proxy starts only once it does: {why}"
        yield Check("store", why is None, f"{shown(where)} {told}")
    except OperatorError as error:
        yield Check("store", False, str(error), is_fault=True)


def _authority(state: StateDirectory) -> Iterator[Check]:
    from certs.authority import Authority
    from certs.names import CertificateError
    from certs.status import describe

    authority = Authority(state.authority)
    if not authority.exists:
        yield Check("CA", False, "made by `mutewatch ca init`, or at the first start of `mutewatch live`")
        return
    try:
        found = list(describe(authority, datetime.now(UTC)))
    except CertificateError as error:
        yield Check("CA", False, str(error), is_fault=True)
        return
    for one in found:
        text = f"until {one.expires_at:%Y-%m-%d}, permits {', '.join(one.permitted)}, SHA-256 {one.fingerprint[:16]}…"
        over = f"expired on {one.expires_at:%Y-%m-%d}: mutewatch ca {one.remedy}"
        yield Check(f"CA {one.role}", one.days_left >= 0, over if one.days_left < 0 else text, one.days_left < 0)


def _package_names(_state: StateDirectory) -> Iterator[Check]:
    """Our folders are top-level packages; pip lets another distribution overwrite them without a word."""
    owners = packages_distributions()
    others = {name: sorted(set(owners.get(name, ())) - {"mutewatch"}) for name in OUR_PACKAGES}
    taken = [f"{name} (by {', '.join(by)})" for name, by in others.items() if by]
    text = f"taken: {'; '.join(taken)}: use an environment of its own" if taken else "no other package has our names"
    yield Check("packages", not taken, text, bool(taken))


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


CHECKS: tuple[Callable[[StateDirectory], Iterator[Check]], ...] = (
    _versions,
    _tshark,
    _torch,
    _model,
    _signatures,
    _state_directory,
    _store,
    _authority,
    _package_names,
)
# Those that a gateway stands on, for `mutewatch check`, beside its signatures.
GATEWAY_CHECKS = (_model, _state_directory, _database, _authority)
