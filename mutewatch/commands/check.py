"""`mutewatch check`: would the gateway start, with what settings, and what should its operator know."""

import json
from collections.abc import Iterator
from dataclasses import astuple
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mutewatch.commands.doctor import GATEWAY_CHECKS, Check, check_signatures, print_checks
from mutewatch.config import StateDirectory

if TYPE_CHECKING:
    from addons.settings import Settings
    from addons.settings_sources import Loaded


def check(config: Path | None, state: Path | None, *, is_running: bool) -> int:
    """Print the settings and the checks; return 0, or 2 if something is wrong."""
    from addons.gateway_remarks import remarks
    from addons.settings_sources import WrongSettingsError, load

    try:
        loaded = load(config, {("state", "directory"): state})
    except WrongSettingsError as wrong:
        return print_checks([Check("settings", False, fault, is_fault=True) for fault in wrong.faults])
    print(*shown_settings(loaded), "", sep="\n")
    settings = loaded.settings
    checks = list(check_signatures(settings.signatures.folder, settings.signatures.without))
    checks += [found for run in GATEWAY_CHECKS for found in run(StateDirectory(settings.state.directory))]
    checks += [*_keys(settings), *_expiry(settings), *_permission(settings), *_leaves(settings)]
    checks += [Check(*astuple(remark)) for remark in remarks(settings, is_running=is_running)]
    return print_checks(checks)


def shown_settings(loaded: "Loaded") -> Iterator[str]:
    """Every value as a line of TOML, with a comment that says where it is from."""
    from addons.settings_sources import Source, place

    for path, value, source in loaded.values():
        if value is None:  # TOML has no word for it
            continue
        key = ".".join(part if part.replace("_", "").isalpha() else json.dumps(part) for part in path)
        where = place(path, source, loaded.file).partition(": ")[0] if source is not Source.DEFAULT else source
        yield f"{f'{key} = {json.dumps(value)}':<40} # {where}"


def _keys(settings: "Settings") -> Iterator[Check]:
    """Can the authority's keys be read?"""
    from certs.authority import Authority
    from certs.names import CertificateError
    from certs.passphrase import known_passphrase

    authority = Authority(StateDirectory(settings.state.directory).authority)
    if settings.certificates.leaf_dir is not None:
        return
    try:
        passphrase = known_passphrase(settings.certificates.passphrase_file)
        if authority.exists:
            authority.signer("intermediate", passphrase)
    except CertificateError as error:
        yield Check("certificates", False, str(error), is_fault=True)


def _expiry(settings: "Settings") -> Iterator[Check]:
    from certs.authority import Authority
    from certs.names import CertificateError
    from certs.status import describe

    authority = Authority(StateDirectory(settings.state.directory).authority)
    try:
        due = [one for one in describe(authority, datetime.now(UTC)) if one.is_due and one.days_left >= 0]
    except CertificateError:  # said above
        return
    for one in due:
        yield Check(f"CA {one.role}", False, f"only {one.days_left} days left: mutewatch ca {one.remedy}")


def _permission(settings: "Settings") -> Iterator[Check]:
    """May the authority sign for every host that is opened? It was made when there were other signatures, perhaps."""
    from certs.authority import Authority
    from certs.names import CertificateError
    from mutewatch.signatures import telemetry_hosts

    authority = Authority(StateDirectory(settings.state.directory).authority)
    if settings.certificates.leaf_dir is not None or not authority.exists:
        return
    try:
        authority.check_permits(telemetry_hosts(settings.signatures.choice.used))
    except CertificateError as error:
        yield Check("CA permits", False, str(error), is_fault=True)


def _leaves(settings: "Settings") -> Iterator[Check]:
    """Can the leaves that were made elsewhere be used, by the user who asks?"""
    from certs.leaves import LeafDirectory
    from certs.names import CertificateError

    folder = settings.certificates.leaf_dir
    if folder is None:
        return
    try:
        found = LeafDirectory(folder, datetime.now(UTC))
    except CertificateError as error:
        yield Check("leaves", False, str(error), is_fault=True)
        return
    yield Check("leaves", True, f"{folder}: the first of {len(found.all())} ends on {found.expires_at():%Y-%m-%d}")
