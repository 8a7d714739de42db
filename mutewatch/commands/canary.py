"""`mutewatch canary`: sends telemetry of nobody through the running gateway, and looks what became of it."""

import json
import os
import secrets
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from addons.canary_client import Gateway, PathError, check_mode, gateway_at
from addons.canary_far_end import ANSWER, Arrived, FarEnd
from addons.settings_sources import load
from certs.authority import trusted_root
from mutewatch.canary import (
    NOT_STORED,
    CanaryMessage,
    Check,
    Expectation,
    check_arrival,
    check_canaries,
    check_judgement,
    check_record,
    messages,
    stored,
    telling_audio,
)
from mutewatch.config import CANARY_RESULT, LIVE_STATUS, StateDirectory, open_state
from mutewatch.errors import OperatorError
from mutewatch.mitigate import Action
from mutewatch.records import Decoded, Finding
from mutewatch.signatures import known_signatures
from mutewatch.signatures.choice import Choice, choose
from mutewatch.store import Store

PATIENCE = 15.0  # for what was sent to be in the store; SQLite waits 5 s for a lock, twice
ANY_ADDRESS = ("", "0.0.0.0", "::")  # noqa: S104 (what a gateway may listen on)
CLOCK_IS_SET = 2024  # a clock that shows an earlier year than that of the first signature was never set
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)  # where a clock begins that nobody has set
LOOK_SECONDS = 0.1  # between two looks


@dataclass(frozen=True, slots=True)
class CanaryOptions:
    """What the operator chose."""

    state: Path
    proxy: str
    authority: Path | None = None  # certificate of the CA that clients trust; default: the state directory's
    leaf_dir: Path | None = None  # where the gateway's certificates are, if they are made elsewhere
    expected: Expectation = Expectation.OBSERVE
    every: float | None = None  # seconds between two runs; None: one run
    patience: float = PATIENCE  # seconds
    signatures: Path | None = None  # folder of the operator's own
    without: tuple[str, ...] = ()  # signatures or apps that are left out


def options_for(
    config: Path | None,
    state: Path | None,
    proxy: str | None,
    authority: Path | None,
    expected: Expectation | None,
    every: float | None,
) -> CanaryOptions:
    """Return what the gateway's settings say, where the operator does not say otherwise. Raises OperatorError."""
    settings = load(config, {("state", "directory"): state}).settings
    if proxy is None:
        check_mode(settings.listen.mode)
        host = settings.listen.host if settings.listen.host not in ANY_ADDRESS else "127.0.0.1"
        proxy = f"http://{f'[{host}]' if ':' in host else host}:{settings.listen.port}"
    chosen = settings.signatures
    if expected is None:
        telling = [one.id for one in telling_audio(chosen.choice.used)]
        actions = {settings.mitigation.rule_for(name).action for name in telling} or {Action.OBSERVE}
        if len(actions) != 1:
            raise OperatorError(f"mitigation differs between {', '.join(telling)}: say what to --expect")
        expected = Expectation(actions.pop())
    return CanaryOptions(
        settings.state.directory,
        proxy,
        authority,
        settings.certificates.leaf_dir,
        expected,
        every,
        signatures=chosen.folder,
        without=chosen.without,
    )


def canary(options: CanaryOptions) -> int:
    """Run once or again and again; print one line per check. Return 0 if all held (the last time), else 3."""
    state = open_state(options.state)
    authority = options.authority or trusted_root(state.authority, options.leaf_dir)
    gateway = gateway_at(options.proxy, authority, state.root)
    if options.every is None:
        return _run_and_tell(state, gateway, options)
    if not options.every >= 1:
        raise OperatorError(f"--every {options.every:g}: write seconds, 1 or more")
    while True:
        started = time.monotonic()
        _run_and_tell(state, gateway, options)
        time.sleep(max(0.0, started + options.every - time.monotonic()))


def _run_and_tell(state: StateDirectory, gateway: Gateway, options: CanaryOptions) -> int:
    started, at = time.monotonic(), datetime.now(UTC)
    checks = list(_Run(state, gateway, options, at).checks())
    for check in checks:
        print(f"{'ok  ' if check.holds else 'FAIL'}  {check.name}: {check.text}", flush=True)
    passed = all(check.holds for check in checks)
    result = {
        "at": at.isoformat(),
        "passed": passed,
        "seconds": round(time.monotonic() - started, 3),
        "reasons": [f"{check.name}: {check.text}" for check in checks if not check.holds],
        "checks": [asdict(check) for check in checks],
    }
    try:
        _write_private(state.root / CANARY_RESULT, json.dumps(result, indent=1) + "\n")
    except OSError as error:
        print(f"FAIL  result: {state.root / CANARY_RESULT} cannot be written: {error.strerror}", file=sys.stderr)
        passed = False
    return 0 if passed else 3


@dataclass(slots=True)
class _Run:
    """One run: its messages, and what was in the store when each arrived."""

    state: StateDirectory
    gateway: Gateway
    options: CanaryOptions
    at: datetime
    call: str = field(default_factory=lambda: f"canary-{secrets.token_hex(16)}")
    is_recorded_at_arrival: dict[str, bool] = field(default_factory=dict)  # by host
    store_fault: str | None = None  # why it could not be read the last time

    def checks(self) -> Iterator[Check]:
        """Yield what holds and what does not; what cannot be asked after a failure is left out."""
        choice = self._choice()
        for one in choice.left_out:
            if one.canary is not None:
                yield Check(f"left out ({one.id})", True, "by the operator, so nothing is sent for it")
        try:
            check_canaries(choice)
        except OperatorError as error:
            yield Check("sent", False, str(error))
            return
        sent = messages(choice.used, self.call, self.at)
        if self.at.year < CLOCK_IS_SET:
            yield Check("clock", False, f"this machine's clock says {self.at:%Y-%m-%d}: set it")
            return
        far_end = FarEnd([message.host for message in sent], lambda arrived: self._look(sent, arrived))
        before = self._counters()
        with far_end.running():
            for message in sent:
                try:
                    status = self.gateway.post(message, far_end)
                except PathError as error:
                    yield Check(f"{error.check} ({message.host})", False, str(error))
                    return
                yield from self._passed(message, far_end, status)
        facts, found = self._settled(sent)
        facts = facts or self._stamped_otherwise(sent)
        for message in sent:
            yield self._explained(check_record(message, facts), before)
        if all(check_record(message, facts).holds for message in sent):
            yield from check_judgement(sent, found)

    def _choice(self) -> Choice:
        """What may be sent: what neither the settings leave out, nor the gateway that runs, whatever it was told."""
        known = known_signatures(self.options.signatures)
        told = self._status().get("left_out")
        by_gateway = told if isinstance(told, list) else []
        return choose(known, [*self.options.without, *(one.id for one in known if one.id in by_gateway)])

    def _passed(self, message: CanaryMessage, far_end: FarEnd, status: int) -> Iterator[Check]:
        blocks = self.options.expected is Expectation.BLOCK and message.tells_audio
        good = status == ANSWER or blocks
        yield Check(f"passed ({message.host})", good, f"opened by the gateway, answered with {status}")
        came = [arrived for arrived in far_end.arrived if arrived.host == message.host]
        yield check_arrival(message, [(a.body, a.content_encoding) for a in came], self.options.expected)
        if came:
            holds = self.is_recorded_at_arrival.get(message.host, False)
            text = "it was in the store when it arrived" if holds else "it was not in the store when it arrived"
            yield Check(f"recorded before it left ({message.host})", holds, text)

    def _look(self, sent: list[CanaryMessage], arrived: Arrived) -> None:
        """At the moment of arrival, before the answer: is the message in the store?"""
        facts, _ = self._stored()
        own = [message for message in sent if message.host == arrived.host]
        found = any(stored(message, facts) for message in own) or bool(self._stamped_otherwise(own))
        self.is_recorded_at_arrival[arrived.host] = found

    def _stored(self, since: datetime | None = None) -> tuple[list[Decoded], list[Finding]]:
        self.store_fault = None
        try:
            where = self.state.store_location
            if isinstance(where, Path) and not where.is_file():
                raise OperatorError(f"there is none at {where}")
            with Store(where) as store:
                return store.canary(self.call, since or self.at)
        except (OperatorError, DBAPIError) as error:
            self.store_fault = str(error) if isinstance(error, OperatorError) else str(error.orig)
            return [], []

    def _settled(self, sent: list[CanaryMessage]) -> tuple[list[Decoded], list[Finding]]:
        """Facts and findings, once they are what they should be or the time is over."""
        deadline = time.monotonic() + self.options.patience
        while True:
            facts, found = self._stored()
            checks = [*(check_record(message, facts) for message in sent), *check_judgement(sent, found)]
            if all(check.holds for check in checks) or time.monotonic() > deadline or self._is_hopeless(sent, facts):
                return facts, found
            time.sleep(LOOK_SECONDS)

    def _stamped_otherwise(self, sent: list[CanaryMessage]) -> list[Decoded]:
        """What the store has of this run's call under other times: a gateway's clock may be off."""
        facts, _ = self._stored(since=LONG_AGO)
        return [one for message in sent for one in stored(message, facts, by_call=True)]

    def _is_hopeless(self, sent: list[CanaryMessage], facts: list[Decoded]) -> bool:
        """Is one of the messages there, and not as it should be? Waiting does not change that."""
        checks = [check_record(message, facts) for message in sent]
        return any(not check.holds and check.text != NOT_STORED for check in checks)

    def _explained(self, check: Check, before: dict[str, int]) -> Check:
        """Say whether the store or the signature is at fault for what is not there, by the proxy's own counters."""
        if check.text != NOT_STORED:
            return check
        now = self._counters()
        gained = {name: now.get(name, 0) - before.get(name, 0) for name in ("recorded", "record_failures")}
        if self.store_fault is not None:
            why = f"the store cannot be read: {self.store_fault}"
        elif gained["record_failures"] or gained["recorded"] <= 0:
            why = f"the gateway has not written its store ({gained['record_failures']} writes failed)"
        else:
            why = "the gateway's store is written, but no signature of the gateway knew the message"
        return Check(check.name, False, f"{check.text}: {why}")

    def _counters(self) -> dict[str, int]:
        return {name: value for name, value in self._status().items() if isinstance(value, int)}

    def _status(self) -> dict[str, Any]:
        """What the gateway that runs says of itself."""
        try:
            found: dict[str, Any] = json.loads((self.state.root / LIVE_STATUS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found


def _write_private(path: Path, text: str) -> None:
    """Replace `path` as a whole, mode 0600."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.replace(path)
