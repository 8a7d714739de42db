"""`mutewatch ca`: what each of its commands does and prints."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from certs import exports, leaves
from certs import status as certificate_status
from certs.authority import Authority
from certs.keys import write_private
from certs.names import CertificateError, is_below, permitted_names
from certs.passphrase import ask_passphrase, known_passphrase
from certs.profile import KeyKind
from mutewatch.config import StateDirectory, default_state, open_state
from mutewatch.errors import OperatorError
from mutewatch.signatures import known_signatures, telemetry_hosts
from mutewatch.signatures.choice import asked_without, choose


@dataclass(frozen=True, slots=True)
class Keeper:
    """An authority, and what its keeper told of its passphrase."""

    authority: Authority
    passphrase: bytes | None
    now: datetime


def keeper(
    state: Path | None, passphrase_file: Path | None = None, ask: bool = False, *, is_new: bool = False
) -> Keeper:
    """Return who speaks for the authority in `state`. OperatorError."""
    root = state or default_state()
    directory = open_state(root) if is_new else StateDirectory(root)
    passphrase = ask_passphrase(is_new=is_new) if ask else known_passphrase(passphrase_file)
    return Keeper(Authority(directory.authority), passphrase, datetime.now(UTC))


def hosts_of(folder: Path | None, without: Sequence[str] | None) -> tuple[str, ...]:
    """Return the hosts of all signatures, an operator's own among them, that are not left out. OperatorError."""
    return telemetry_hosts(choose(known_signatures(folder), asked_without(without)).used)


def init(keeper: Keeper, hosts: Sequence[str], root_key: str) -> None:
    keeper.authority.create(hosts, keeper.now, keeper.passphrase, KeyKind(root_key))
    _print_status(keeper)
    print(
        f"\nThe root's key is {keeper.authority.key_path('root')}: it is needed to renew the intermediate, and can be\n"
        "kept elsewhere until then. Next: mutewatch ca export --help"
    )


def status(keeper: Keeper, hosts: Sequence[str], *, as_json: bool) -> int:
    """Print the state of every certificate; return 0, 1 if there is something to do, 2 if it cannot be used.

    To do: a certificate that is due soon, or hosts of signatures that it does not permit.
    """
    fault = _fault(keeper)
    found = (
        [] if fault and not keeper.authority.exists else list(certificate_status.describe(keeper.authority, keeper.now))
    )
    if as_json:
        certificates = [{**asdict(one), "expires_at": one.expires_at.isoformat()} for one in found]
        print(json.dumps({"certificates": certificates, "fault": fault}, indent=1))
    else:
        _print_status(keeper)
    if fault:
        raise OperatorError(fault)
    missing = _missing(keeper, hosts)
    if missing:
        print(f"mutewatch: {missing}", file=sys.stderr)
    return 1 if missing or any(one.is_due for one in found) else 0


def _missing(keeper: Keeper, hosts: Sequence[str]) -> str | None:
    """Which of these hosts it does not permit, so that their connections pass uninspected, and what to do."""
    try:
        keeper.authority.check_permits(hosts)
    except CertificateError as error:
        return str(error)
    return None


def _fault(keeper: Keeper) -> str | None:
    """Why the proxy could not use it; that its keys are encrypted is none."""
    try:
        keeper.authority.issuer(None, keeper.now, keeper.passphrase)
    except CertificateError as error:
        return None if "is encrypted: give" in str(error) else str(error)
    return None


def _print_status(keeper: Keeper) -> None:
    for one in certificate_status.describe(keeper.authority, keeper.now):
        due = ", DUE" if one.is_due else ""
        print(f"{one.role}: {one.name}")
        where = "here" if one.has_key else "elsewhere"
        print(f"  until {one.expires_at:%Y-%m-%d} ({one.days_left} days{due}), key {where}")
        print(f"  permits {', '.join(one.permitted)} and names below; no addresses")
        print(f"  SHA-256 {one.fingerprint}")


def renew(keeper: Keeper, *, new_key: bool) -> None:
    (keeper.authority.replace_key if new_key else keeper.authority.renew)(keeper.now, keeper.passphrase)
    _print_status(keeper)


def rotate(keeper: Keeper, root_key: str, *, finish: bool) -> None:
    if finish:
        old = keeper.authority.finish_rotation()
        print(f"The next root is in use. Take the old one, {old}, from clients; restart or reload the proxy.")
    else:
        keeper.authority.begin_rotation(keeper.now, keeper.passphrase, kind=KeyKind(root_key))
        print(
            "The next root is made; nothing has changed for clients. Give it to all of them beside the old one\n"
            "(mutewatch ca export), then: mutewatch ca rotate --finish"
        )
    _print_status(keeper)


def add_hosts(keeper: Keeper, named: Sequence[str], hosts: Sequence[str], root_key: str) -> None:
    """Begin a rotation to a root that permits what is `named` too; if nothing is, `hosts`: those of the signatures."""
    missing = [name for name in permitted_names(named or hosts) if not is_below(name, keeper.authority.permitted())]
    if not missing:
        print(f"{', '.join(named) or 'every host of the signatures'} is permitted already")
        return
    keeper.authority.begin_rotation(keeper.now, keeper.passphrase, missing, KeyKind(root_key))
    print(
        f"A root cannot be changed: the next one permits {', '.join(missing)} as well.\n"
        "Give it to all clients beside the old one (mutewatch ca export), then: mutewatch ca rotate --finish"
    )


def issue(keeper: Keeper, names: list[str], hosts: Sequence[str], out: Path, days: int) -> None:
    """Sign leaves for `names`; without any, for the patterns in `hosts`."""
    issuer = keeper.authority.issuer(None, keeper.now, keeper.passphrase)
    chosen = names or sorted({name for host in hosts if (name := _leaf_name(host))})
    root = keeper.authority.certificate("root")
    for path in leaves.issue(issuer, root, chosen, out, keeper.now, days):
        print(path)
    left_out = [host for host in hosts if not names and not _leaf_name(host)]
    if left_out:
        print(f"no leaf can be made for {', '.join(left_out)}: name the hosts that clients ask for", file=sys.stderr)


def _leaf_name(pattern: str) -> str | None:
    """The name of a leaf for a pattern: X.509 knows `*` as a whole first label only, and none further on."""
    first, _, rest = pattern.partition(".")
    if "*" in rest:
        return None
    return f"*.{rest}" if "*" in first else pattern


def export(keeper: Keeper, form: str, output: Path | None) -> None:
    chosen = exports.Format(form)
    path = output or Path(f"mutewatch-root.{exports.FORMS[chosen].suffix}")
    roles = ("root", "next-root") if keeper.authority.is_rotating else ("root",)
    made = exports.export([keeper.authority.certificate(role) for role in roles], chosen, str(path.resolve()))
    write_private(path, made.content)
    path.chmod(0o644)  # it is public
    print(f"{path}\n\nTo install: {made.install}\n\nTo remove: {made.uninstall}")


def verify(keeper: Keeper, host: str) -> int:
    """Print what each client says; return 0 if all said what they should, else 1."""
    from certs.clients import ask_clients

    issuer = keeper.authority.issuer(None, keeper.now, keeper.passphrase)
    is_permitted = is_below(host, issuer.permitted)
    answers = list(ask_clients(keeper.authority, issuer, host, keeper.now))
    for answer in answers:
        word = "not here" if answer.accepted is None else "accepted" if answer.accepted else "refused"
        print(f"{answer.client:<28}{word:<10}{answer.words}")
    wrong = [answer.client for answer in answers if answer.accepted is (not is_permitted)]
    print(
        f"\n{host} is {'permitted' if is_permitted else 'not permitted'}"
        + (f"; NOT as it should be: {', '.join(wrong)}" if wrong else "; every client that is here agrees")
    )
    return 1 if wrong else 0
