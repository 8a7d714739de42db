"""`mutewatch live`: mitmdump with our addon, the settings that go with it, and nothing readable by others.

Leaves to mitmproxy everything about proxying, and to the addon everything about recording. The operator's
own `--set` options are passed on and win over the defaults here, except where the addon refuses them.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from addons.gate import allow_hosts
from addons.launched import Launched, run_mitmdump
from addons.leaf_source import LeafSource
from addons.live_options import OPTIONS
from addons.live_settings import PREFIX, check_settings, prepare_state
from addons.recorder import LiveSettings
from certs.authority import trusted_root
from mutewatch.config import StateDirectory
from mutewatch.errors import OperatorError
from mutewatch.mitigate import Policies, Policy

DEFAULTS = {
    "onboarding": "false",  # no mitm.it page on a gateway
    "flow_detail": "0",  # no URLs of clients in the terminal or the journal
    "termlog_verbosity": "warn",  # "info" prints a line with the client's address per connection
    "show_ignored_hosts": "false",  # true keeps the bytes of passed-through connections in memory
}
RESERVED = {
    "allow_hosts": "mutewatch sets it to the hosts of its signatures",
    "ignore_hosts": "mitmproxy does not combine it with allow_hosts, which mutewatch sets",
    "confdir": "it is in the state directory",
    "certs": "mutewatch shows certificates of its own: mutewatch live --leaf-dir",
    "mutewatch_signatures": "allow_hosts is made of it: mutewatch live --signatures",
    "mutewatch_without": "allow_hosts is made of it: mutewatch live --without",
    "mode": "it is an option of its own: mutewatch live --mode",
    "listen_host": "it is an option of its own: mutewatch live --listen-host",
    "listen_port": "it is an option of its own: mutewatch live --listen-port",
    "server": "mutewatch listens as soon as its store is open",
    "mutewatch_serve": "mutewatch listens as soon as its store is open",
}


@dataclass(frozen=True, slots=True)
class LaunchSettings:
    """Where the proxy listens, and what it is told beside the addon's own settings."""

    live: LiveSettings
    listen_host: str = "127.0.0.1"
    listen_port: int = 8080
    mode: str = "regular"
    confdir: Path | None = None  # mitmproxy's; default: "mitmproxy" in the state directory
    extra: tuple[str, ...] = ()  # further mitmproxy options, each "name=value"

    @property
    def proxy_directory(self) -> Path:
        return self.confdir or StateDirectory(self.live.state).proxy_authority


def addon_path() -> Path:
    """Return the file that `mitmdump -s` loads."""
    return Path(__file__).resolve().with_name("mute_audit.py")


def mitmdump_arguments(
    settings: LaunchSettings, *, hosts: Iterable[str] | None = None, script: Path | None = None
) -> list[str]:
    """Return the arguments of mitmdump. `hosts` and `script` are for tests: patterns and a file to load.

    `allow_hosts` is given here already: should the addon fail, the proxy must not open everything.

    Raises OperatorError for an extra option that is not `name=value`, or is not the operator's to set here.
    """
    options = DEFAULTS | {
        "confdir": str(settings.proxy_directory),
        "server": "false",  # the addon listens once it is ready
        "mutewatch_serve": "true",
    }
    options |= addon_options(settings.live)
    for name in {name for name, _ in _split(settings.extra)}:
        options.pop(name, None)
    where = ["--listen-host", settings.listen_host, "--listen-port", str(settings.listen_port)]
    pairs = [f"{name}={value}" for name, value in options.items()]
    pairs += [f"allow_hosts={regex}" for regex in allow_hosts(settings.live.hosts if hosts is None else hosts)]
    pairs += addon_lists(settings.live)
    sets = [argument for pair in (*pairs, *settings.extra) for argument in ("--set", pair)]
    return ["--mode", settings.mode, *where, *sets, "-s", str(script or addon_path())]


def addon_options(live: LiveSettings) -> dict[str, str]:
    """Return the addon's options with one value, as `--set` takes them."""
    return {
        "mutewatch_state": str(live.state),
        "mutewatch_record_timeout": f"{live.record_timeout:g}",
        "mutewatch_queue_size": str(live.queue_size),
        "mutewatch_activity": str(live.activity).lower(),
        "mutewatch_show_clients": str(live.show_clients).lower(),
        "mutewatch_mute": str(live.mute_file or ""),
        "mutewatch_assume": live.assume,
        "mutewatch_max_body": str(live.max_body),
        **_policy_options(live.policies),
        "mutewatch_strict": str(live.strict).lower(),
        "mutewatch_pinned": "fail" if live.refuses_pinned else "pass",
        "mutewatch_pin_ttl": f"{live.pin_ttl:.0f}",
        "mutewatch_minutes_days": str(live.periods.minutes_days),
        "mutewatch_counts_days": str(live.periods.counts_days),
        "mutewatch_eve_file": str(live.exports.eve_file or ""),
        "mutewatch_ecs_file": str(live.exports.ecs_file or ""),
        "mutewatch_export_mode": f"{live.exports.mode:04o}",
        "mutewatch_export_guesses": str(live.exports.guesses).lower(),
        "mutewatch_metrics": live.metrics,
        "mutewatch_canary_max_age": str(live.canary_max_age),
        "mutewatch_leaf_dir": str(live.leaf_dir or ""),
        "mutewatch_passphrase_file": str(live.passphrase_file or ""),
        "mutewatch_signatures": str(live.signatures or ""),
    }


def addon_lists(live: LiveSettings) -> list[str]:
    """Return the addon's options with several values, one "name=value" each; without a value: none."""
    actions = [f"mutewatch_actions={name}={_words(one)}" for name, one in live.policies.by_signature.items()]
    without = [f"mutewatch_without={name}" for name in live.without]
    return [*(actions or ["mutewatch_actions"]), *(without or ["mutewatch_without"])]


def _policy_options(policies: Policies) -> dict[str, str]:
    default = policies.default
    return {
        "mutewatch_action": default.action,
        "mutewatch_when": default.when,
        "mutewatch_blank": default.blank,
        "mutewatch_identifiers": str(default.identifiers).lower(),
        "mutewatch_block_as": default.block_as,
    }


def _words(policy: Policy) -> str:
    others = f"when={policy.when},blank={policy.blank},identifiers={str(policy.identifiers).lower()}"
    return f"{policy.action},{others},block_as={policy.block_as}"


def option_name(option: str) -> str:
    """Return the name in "name=value"."""
    return option.partition("=")[0]


def _split(extra: tuple[str, ...]) -> list[tuple[str, str]]:
    """Return the extra options as pairs. Raises OperatorError."""
    known = {PREFIX + name for name, *_ in OPTIONS}
    pairs = []
    for option in extra:
        name, equals, value = option.partition("=")
        if not equals or not name:
            raise OperatorError(f"--set {option}: write name=value")
        if name in RESERVED:
            raise OperatorError(f"--set {name}: leave it out; {RESERVED[name]}")
        if name.startswith(PREFIX) and name not in known:
            raise OperatorError(f"--set {name}: no such option; there are {', '.join(sorted(known))}")
        pairs.append((name, value))
    return pairs


def run(settings: LaunchSettings, launched: Launched, *, script: Path | None = None) -> int:
    """Run the proxy until SIGTERM or SIGINT; return its exit code. Raises OperatorError before it starts."""
    launched.outlast_hangups()
    check_settings(settings.live)
    arguments = mitmdump_arguments(settings, script=script)
    prepare_state(settings.live.state)
    try:
        settings.proxy_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise OperatorError(f"cannot use {settings.proxy_directory}: {error.strerror}") from None
    LeafSource(settings.live, settings.live.hosts)  # what is wrong with certificates is said here in one line
    print(_greeting(settings), file=sys.stderr)
    try:
        run_mitmdump(arguments, launched)
    except SystemExit as stop:  # mitmproxy has said on stderr what was wrong
        return stop.code if isinstance(stop.code, int) else 1
    except KeyboardInterrupt:
        print("mutewatch: stopped", file=sys.stderr)
        return 130
    return 0


def _greeting(settings: LaunchSettings) -> str:
    """What an operator needs to know once it runs."""
    root = trusted_root(StateDirectory(settings.live.state).authority, settings.live.leaf_dir)
    return (
        f"mutewatch: proxy ({settings.mode}) on {settings.listen_host}:{settings.listen_port}; Ctrl-C stops it\n"
        f"mutewatch: opens only {', '.join(settings.live.hosts)}; clients must trust {root}\n"
        f"{_left_out(settings.live)}"
        f"mutewatch: findings: mutewatch report --state {settings.live.state}"
    )


def _left_out(live: LiveSettings) -> str:
    ids = live.choice.left_out_ids
    return f"mutewatch: left out by the operator: {', '.join(ids)}\n" if ids else ""
