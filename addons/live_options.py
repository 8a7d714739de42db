"""The addon's options in mitmproxy: what they are called, their checks, and what they ask of mitmproxy's own.

Every fault is an OptionsError in one line that says what to write instead. mitmproxy enforces neither
ranges nor `choices` for `--set`, and silently keeps options that nobody declared (observed with 11.0.2).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader
from mitmproxy.utils import human

from addons.export_files import ExportSettings
from addons.gate import allow_hosts
from addons.launched import Launched
from addons.live_settings import PREFIX, check_settings
from addons.recorder import QUEUE_SIZE, LiveSettings
from mutewatch.config import default_state
from mutewatch.errors import OperatorError
from mutewatch.limits import DEFAULT_LIMITS
from mutewatch.mitigate import Action, Answer, Policies, Policy, When
from mutewatch.redact import Blank
from mutewatch.retention import Periods
from mutewatch.signatures import known_signatures

logger = logging.getLogger("mutewatch.live")

Choice = TypeVar("Choice", bound=StrEnum)
RELOADABLE = (
    *("record_timeout", "strict", "refuses_pinned", "pin_ttl", "policies", "periods", "canary_max_age"),
    "without",
)
LARGEST_HELD = "16m"  # of a body that is held until it was looked at; a longer one is refused by mitmproxy (413)

OPTIONS: tuple[tuple[str, type, Any, str], ...] = (
    ("state", str, "", "Directory for the store and the log, mode 0700. Default: $MUTEWATCH_STATE or the XDG one."),
    ("record_timeout", str, "2", "Seconds a message waits to be recorded before it is forwarded anyway."),
    ("serve", bool, False, "Start to listen once the store is open; for a mitmdump started with --no-server."),
    ("queue_size", int, QUEUE_SIZE, "Exchanges held that are not recorded yet."),
    ("activity", bool, False, "Guess what could be inferred from the values."),
    ("mute", str, "", "File of when clients were muted: CSV or JSON Lines of time, client, muted."),
    ("assume", str, "", "What to assume where nothing tells the mute state: muted or unmuted."),
    ("show_clients", bool, False, "Keep client names as they are on the wire, not pseudonyms."),
    ("action", str, "observe", "What to do with audio-derived values on their way out: observe, redact or block."),
    ("actions", Sequence[str], [], "The same for one signature: webex.tsa.v1=redact,when=always,blank=remove."),
    ("when", str, "muted", "Redact or block unless the client is known to be unmuted (muted), or always."),
    ("blank", str, "zero", "Redacted values are set to zero, or their keys removed (remove)."),
    ("identifiers", bool, False, "Redact what names the client, its user and its call, too."),
    ("block_as", str, "204", "What a blocked client gets: 200, 204, 403 or reset."),
    ("strict", bool, False, "Refuse what is not recorded in time."),
    ("pinned", str, "pass", "Clients that refused our certificate once: pass (let through uninspected) or fail."),
    ("pin_ttl", int, 86_400, "Seconds for which a client that refused our certificate is let through uninspected."),
    ("eve_file", str, "", "File to which flagged minutes are appended as Suricata's EVE JSON. Empty: none."),
    ("ecs_file", str, "", "File to which flagged minutes are appended as ECS documents. Empty: none."),
    ("export_mode", str, "0600", "Mode of these files where they are made: 0600 or 0640."),
    ("export_guesses", bool, False, "Have activity guesses in these files."),
    ("metrics", str, "", "Serve /metrics and /healthz at this host:port, such as 127.0.0.1:9464. Empty: off."),
    ("minutes_days", int, 30, "Days for which messages and findings are kept."),
    ("counts_days", int, 365, "Days for which counts by day, in nobody's name, are kept."),
    ("canary_max_age", int, 900, "Seconds after which the newest canary is stale. 0: no canary is expected."),
    (
        "leaf_dir",
        str,
        "",
        "Directory of certificates made elsewhere (mutewatch ca issue). Default: they are minted here.",
    ),
    ("passphrase_file", str, "", "File with the passphrase of the authority's keys. Default: a systemd credential."),
    (
        "signatures",
        str,
        "",
        "Folder of your own signatures. Default: $MUTEWATCH_SIGNATURES_FOLDER or the XDG one.",
    ),
    ("without", Sequence[str], [], "Signatures, or apps, that are left out: their hosts are not opened."),
    ("max_body", int, DEFAULT_LIMITS.body, "Bytes of a message that are read; a larger one is counted only."),
)


def add_options(loader: Loader) -> None:
    """Declare our options."""
    for name, kind, default, text in OPTIONS:
        loader.add_option(PREFIX + name, kind, default, text)


def read_settings() -> LiveSettings:
    """Return our options, checked. Raises OptionsError."""
    options = ctx.options
    try:
        # mitmproxy knows no option of type float
        timeout = float(options.mutewatch_record_timeout)
    except ValueError as error:
        raise exceptions.OptionsError(f"{PREFIX}record_timeout: write seconds, such as 2 or 0.5") from error
    settings = LiveSettings(
        state=Path(options.mutewatch_state).expanduser() if options.mutewatch_state else default_state(),
        record_timeout=timeout,
        queue_size=options.mutewatch_queue_size,
        activity=options.mutewatch_activity,
        show_clients=options.mutewatch_show_clients,
        mute_file=_path(options.mutewatch_mute),
        assume=options.mutewatch_assume,
        max_body=options.mutewatch_max_body,
        policies=read_policies(),
        strict=options.mutewatch_strict,
        refuses_pinned=_one_of("pinned", ("pass", "fail"), options.mutewatch_pinned) == "fail",
        pin_ttl=options.mutewatch_pin_ttl,
        periods=Periods(options.mutewatch_minutes_days, options.mutewatch_counts_days),
        metrics=options.mutewatch_metrics,
        exports=ExportSettings(
            _path(options.mutewatch_eve_file),
            _path(options.mutewatch_ecs_file),
            int(_one_of("export_mode", ("0600", "0640"), options.mutewatch_export_mode), 8),
            options.mutewatch_export_guesses,
        ),
        canary_max_age=options.mutewatch_canary_max_age,
        leaf_dir=_path(options.mutewatch_leaf_dir),
        passphrase_file=_path(options.mutewatch_passphrase_file),
        signatures=_path(options.mutewatch_signatures),
        without=tuple(options.mutewatch_without),
    )
    try:
        check_settings(settings)
    except OperatorError as error:
        raise exceptions.OptionsError(str(error)) from error
    return settings


def read_policies() -> Policies:
    """Return what is to be done with telemetry messages. Raises OptionsError."""
    options = ctx.options
    common = {
        "action": options.mutewatch_action,
        "when": options.mutewatch_when,
        "blank": options.mutewatch_blank,
        "identifiers": str(options.mutewatch_identifiers).lower(),
        "block_as": options.mutewatch_block_as,
    }
    try:
        known = {signature.id for signature in known_signatures(_path(options.mutewatch_signatures))}
    except OperatorError as error:
        raise exceptions.OptionsError(str(error)) from error
    by_signature = {}
    for entry in options.mutewatch_actions:
        name, _, words = entry.partition("=")
        if name not in known:
            raise exceptions.OptionsError(
                f"{PREFIX}actions: no signature {name!r}; there are {', '.join(sorted(known))}"
            )
        action, *others = words.split(",")
        own = dict(other.partition("=")[::2] for other in others)
        if strange := own.keys() - common.keys():
            raise exceptions.OptionsError(f"{PREFIX}actions: {name}: there is no {', '.join(sorted(strange))}")
        by_signature[name] = _policy(common | own | {"action": action})
    return Policies(_policy(common), by_signature)


def _path(text: str) -> Path | None:
    return Path(text).expanduser() if text else None


def _policy(words: Mapping[str, str]) -> Policy:
    return Policy(
        _choice("action", Action, words["action"]),
        _choice("when", When, words["when"]),
        _choice("blank", Blank, words["blank"]),
        _one_of("identifiers", ("true", "false"), words["identifiers"]) == "true",
        _choice("block_as", Answer, words["block_as"]),
    )


def _one_of(name: str, words: Sequence[str], value: str) -> str:
    if value not in words:
        raise exceptions.OptionsError(f"{PREFIX}{name} is {value!r}; write {', '.join(words)}")
    return value


def _choice(name: str, kind: type[Choice], value: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise exceptions.OptionsError(f"{PREFIX}{name} is {value!r}; write {', '.join(kind)}") from None


async def start_listening() -> None:
    """Open the proxy's ports, and end the proxy if that fails.

    mitmproxy loads a script beside its servers: a connection in the moment before would be opened (allow_hosts is
    set) and forwarded unrecorded. Started with `server=false` there is no such moment.
    """
    proxyserver: Any = ctx.master.addons.get("proxyserver")
    if strange := _misspelt():
        logger.error("mutewatch: --set %s: neither mitmproxy nor mutewatch has such an option", strange)
        ctx.master.shutdown()
        return
    ctx.options.update(server=True)
    await proxyserver.setup_servers()
    if not all(server.is_running for server in proxyserver.servers):
        logger.error("mutewatch: cannot listen; see above")
        ctx.master.shutdown()


def _misspelt() -> str:
    """Return what `mutewatch live` was told to set and no addon knows, now that all of them are there."""
    launched = ctx.master.addons.get(Launched.name)
    given = {option.partition("=")[0] for option in launched.extra} if launched is not None else set()
    return ", ".join(sorted(given & ctx.options.deferred.keys()))


def refuse_unknown() -> None:
    """Raise OptionsError for an option with our prefix that does not exist: a typo would go unnoticed."""
    unknown = sorted(name for name in ctx.options.deferred if name.startswith(PREFIX))
    if unknown:
        known = ", ".join(PREFIX + name for name, *_ in OPTIONS)
        raise exceptions.OptionsError(f"unknown option {', '.join(unknown)}; there are {known}")


def neighbours(settings: LiveSettings) -> list[str]:
    """Return the options of mitmproxy that go with ours, "name=value" each; without a value: none.

    Given together with ours, in one update, so that no message meets the one without the other.
    """
    opened = [f"allow_hosts={regex}" for regex in allow_hosts(settings.hosts)]
    if settings.holds_back:
        return [*opened, "stream_large_bodies", f"body_size_limit={LARGEST_HELD}", "rawtcp=false"]
    return [*opened, f"stream_large_bodies={settings.max_body}", "body_size_limit", "rawtcp=true"]


def refuse_open_ports(settings: LiveSettings) -> None:
    """Raise OptionsError if messages are to be held back, and some may have passed already (see `start_listening`)."""
    if settings.holds_back and "server" in ctx.options and ctx.options.server:
        raise exceptions.OptionsError(
            f"redact, block and strict need mitmdump -n and {PREFIX}serve=true: "
            "the ports were open before this addon stood"
        )


def claim_neighbours(allowed: list[str], settings: LiveSettings) -> None:
    """Set the options of mitmproxy that ours rest on; `check_neighbours` has found no contradiction."""
    # A leaf with all the names of the server's would invite browsers to put requests to those into the same HTTP/2
    # connection (observed with Chromium 156: they were opened with it). Ours names the telemetry host only.
    ctx.options.update(allow_hosts=allowed, upstream_cert=False)
    if settings.holds_back:  # a body must not leave before it was looked at, and still has a bound
        if ctx.options.body_size_limit is None:
            ctx.options.update(body_size_limit=LARGEST_HELD)
        # Else a request whose first bytes come alone ("PO") is taken for no HTTP, and forwarded unseen.
        ctx.options.update(rawtcp=False)
    elif ctx.options.stream_large_bodies is None:
        ctx.options.update(stream_large_bodies=str(settings.max_body))  # else a body without length has no bound


def check_neighbours(allowed: list[str], settings: LiveSettings) -> None:
    """Raise OptionsError where an option of mitmproxy would undo ours.

    `stream_large_bodies` below our limit lets a body leave before the `request` hook (measured: what the hook
    did afterwards had no effect). `allow_hosts` decides what is opened, and that is the signatures' to say.
    """
    max_body = settings.max_body
    options = ctx.options
    if options.allow_hosts and list(options.allow_hosts) != allowed:
        raise exceptions.OptionsError("allow_hosts is set by mutewatch, from the hosts of its signatures: leave it out")
    if options.ignore_hosts:
        raise exceptions.OptionsError(
            "ignore_hosts cannot be combined with allow_hosts, which mutewatch sets: leave it out"
        )
    if options.tcp_hosts:
        raise exceptions.OptionsError("tcp_hosts lets messages pass that mutewatch is to read: leave it out")
    if settings.holds_back and options.stream_large_bodies is not None:
        raise exceptions.OptionsError(
            "stream_large_bodies lets bodies leave before they are recorded, redacted or blocked: leave it out"
        )
    streamed_above = human.parse_size(options.stream_large_bodies)
    if streamed_above is not None and streamed_above < max_body:
        raise exceptions.OptionsError(
            f"stream_large_bodies is below {PREFIX}max_body ({max_body}), so that bodies would leave before "
            "they are recorded: leave it out or raise it"
        )


def changed_settings(old: LiveSettings, new: LiveSettings) -> LiveSettings:
    """Return `new` if it differs from `old` in what may change at most. Raises OptionsError."""
    kept = {name: getattr(old, name) for name in RELOADABLE}
    if replace(new, **kept) != old:
        raise exceptions.OptionsError(f"only {', '.join(RELOADABLE)} can change while the proxy runs")
    if new.holds_back and not old.holds_back and (ctx.options.stream_large_bodies is not None or ctx.options.rawtcp):
        raise exceptions.OptionsError("restart the proxy to begin holding messages back")
    return new
