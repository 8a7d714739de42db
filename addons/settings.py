"""What an operator may set for the gateway: the model of `mutewatch.toml`, its ranges and its defaults.

Only the shape. Where values come from is `settings_sources.py`, what may change while the proxy runs is
`settings_changes.py`. Rules:

- the description of a field is what to write, and stands in the message of every fault;
- unknown keys are faults; a value that cannot be read is never replaced by a default;
- no field holds a secret: the file may be world-readable, and `mutewatch check` prints all of it.
"""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from addons.recorder import QUEUE_SIZE
from mutewatch.config import default_state
from mutewatch.limits import DEFAULT_LIMITS
from mutewatch.mitigate import Action, Answer, When
from mutewatch.redact import Blank
from mutewatch.signatures import known_signatures
from mutewatch.signatures.choice import Choice, choose

MODE = re.compile(
    r"regular|transparent|socks5|wireguard(:/[^@]+)?|upstream:https?://[^@/\s]+/?|reverse:[^@\s]+|local(:[^@\s]+)?"
)
ADDRESS = re.compile(r"off|([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):([0-9]{1,5})")
NAME = re.compile(r"[A-Za-z0-9.:-]*")
MODES = ("0600", "0640")  # of files with what is known of people: never for all


class PinPolicy(StrEnum):
    """What becomes of a client that refused our certificate."""

    PASS = "pass"  # noqa: S105 (no password); its next connections pass, uninspected and counted
    FAIL = "fail"


class Assume(StrEnum):
    """What is held to be true where nothing tells the mute state."""

    UNKNOWN = ""
    MUTED = "muted"
    UNMUTED = "unmuted"


class LogLevel(StrEnum):
    """What is logged, by mitmproxy's names."""

    ERROR = "error"
    WARN = "warn"
    INFO = "info"
    DEBUG = "debug"


def _mode(text: str) -> str:
    if not MODE.fullmatch(text):
        raise ValueError("no such mode")
    return text


def _address(text: str) -> str:
    found = ADDRESS.fullmatch(text)
    if not found or (found[2] and not 1 <= int(found[2]) <= 65_535):
        raise ValueError("no address")
    return text


def _number(value: object) -> object:
    if isinstance(value, bool):  # pydantic takes true for 1
        raise ValueError("no number")  # noqa: TRY004 (pydantic wants a ValueError)
    return value


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise ValueError("no name")
    return text


def _path(value: object) -> object:
    if value == "":  # to pathlib, the directory where one is
        raise ValueError("no path")
    return value


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("not absolute")
    return path


def _file_mode(text: str) -> str:
    if text not in MODES:
        raise ValueError("no such mode")
    return text


Int = Annotated[int, BeforeValidator(_number)]
Float = Annotated[float, BeforeValidator(_number)]
ExpandedPath = Annotated[Path, BeforeValidator(_path), AfterValidator(Path.expanduser)]
AbsolutePath = Annotated[ExpandedPath, AfterValidator(_absolute)]
Status = Annotated[Answer, BeforeValidator(str)]  # TOML's 204 is a number
YES = "write true or false"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Listen(Section):
    """Where clients reach the proxy, and how their traffic gets there."""

    host: Annotated[str, AfterValidator(_name)] = Field(
        default="127.0.0.1", description='write an address of this host, or "" for all of them'
    )
    port: Int = Field(default=8080, ge=1, le=65_535, description="write a port, 1 to 65535")
    mode: Annotated[str, AfterValidator(_mode)] = Field(
        default="regular",
        description="write regular, transparent, wireguard or upstream:http://host:port (no user or password in it)",
    )
    advertise: Annotated[str, AfterValidator(_name)] = Field(
        default="", description="write the name under which clients reach this host; a PAC file needs it"
    )


class State(Section):
    """Where everything is kept."""

    directory: ExpandedPath = Field(
        default_factory=default_state, description="write a directory that only the proxy's user can enter"
    )


class Record(Section):
    """How a message is recorded before it goes on."""

    record_timeout: Float = Field(default=2.0, gt=0, le=60, description="write seconds above 0, at most 60")
    queue_size: Int = Field(default=QUEUE_SIZE, ge=1, le=1_000_000, description="write 1 to 1000000 exchanges")
    max_body: Int = Field(default=DEFAULT_LIMITS.body, ge=1024, le=64 << 20, description="write 1024 to 67108864 bytes")
    strict: bool = Field(default=False, description=f"{YES}: is a message refused that could not be recorded in time?")


class Clients(Section):
    """How clients are named, and what is known of their mute state beside what they send."""

    show: bool = Field(default=False, description=f"{YES}: are names shown as on the wire, not as pseudonyms?")
    mute_file: ExpandedPath | None = Field(
        default=None, description="write a CSV or JSON Lines file of time, client, muted"
    )
    assume: Assume = Field(default=Assume.UNKNOWN, description="write muted or unmuted, or leave it out")
    activity: bool = Field(default=False, description=f"{YES}: is guessed what could be inferred from the values?")


class Certificates(Section):
    """What clients of opened hosts are shown."""

    leaf_dir: ExpandedPath | None = Field(
        default=None, description="write a directory of certificates that mutewatch ca issue has made"
    )
    passphrase_file: ExpandedPath | None = Field(
        default=None, description="write a file with the passphrase of the authority's keys, mode 0600"
    )


class Signatures(Section):
    """Which endpoints are opened beside those that mutewatch knows, and which of all are not."""

    folder: ExpandedPath | None = Field(default=None, description="write a folder of signature files, TOML")
    without: tuple[str, ...] = Field(
        default=(), description='write a list of signatures or apps: ["discord.gateway", "Zoom"]'
    )

    @property
    def choice(self) -> Choice:
        """Which of the known ones are used. OperatorError."""
        return choose(known_signatures(self.folder), self.without)


class Pins(Section):
    """What becomes of clients that refuse our certificate."""

    policy: PinPolicy = Field(default=PinPolicy.PASS, description="write pass or fail")
    ttl_seconds: Int = Field(default=3600, ge=10, le=30 * 86_400, description="write 10 to 2592000 seconds")


class MitigationRule(Section):
    """What is done with the messages of one signature."""

    action: Action = Field(default=Action.OBSERVE, description="write observe, redact or block")
    blank: Blank = Field(default=Blank.ZERO, description="write zero or remove")
    identifiers: bool = Field(default=False, description=f"{YES}: are identifiers redacted too?")
    when: When = Field(default=When.MUTED, description="write muted or always")
    block_as: Status = Field(default=Answer.NO_CONTENT, description='write 204, 200, 403 or "reset"')


class MitigationOverride(Section):
    """What differs for one signature; None: as for all."""

    action: Action | None = Field(default=None, description="write observe, redact or block")
    blank: Blank | None = Field(default=None, description="write zero or remove")
    identifiers: bool | None = Field(default=None, description=f"{YES}: are identifiers redacted too?")
    when: When | None = Field(default=None, description="write muted or always")
    block_as: Status | None = Field(default=None, description='write 204, 200, 403 or "reset"')


class Mitigation(MitigationRule):
    """What is done with telemetry messages, and what differs for single signatures."""

    signatures: dict[str, MitigationOverride] = Field(
        default_factory=dict, description='write a table: [mitigation.signatures."webex.tsa.v1"]'
    )

    def rule_for(self, signature: str) -> MitigationRule:
        """Return what holds for the signature with this id."""
        common = self.model_dump(exclude={"signatures"})
        override = self.signatures.get(signature)
        return MitigationRule.model_validate(common | (override.model_dump(exclude_none=True) if override else {}))


class Retention(Section):
    """How long minutes (one client, one minute) and counts (a day, nobody's name) are kept."""

    minutes_days: Int = Field(default=30, ge=1, le=3650, description="write 1 to 3650 days")
    counts_days: Int = Field(default=365, ge=1, le=3650, description="write 1 to 3650 days")


class Export(Section):
    """The files in which a SIEM finds flagged minutes."""

    eve_file: AbsolutePath | None = Field(default=None, description="write a file with its whole path, for EVE events")
    ecs_file: AbsolutePath | None = Field(default=None, description="write a file with its whole path, for ECS events")
    mode: Annotated[str, AfterValidator(_file_mode)] = Field(
        default="0600", description='write "0600", or "0640" where a shipper of the same group reads the files'
    )
    guesses: bool = Field(default=False, description=f"{YES}: are activity guesses in the files?")


class Metrics(Section):
    """Where Prometheus finds the counters."""

    listen: Annotated[str, AfterValidator(_address)] = Field(
        default="off", description='write an address and a port, "127.0.0.1:9464", or "off"'
    )

    @property
    def address(self) -> tuple[str, int] | None:
        """Host and port; None if there is no such page."""
        if self.listen == "off":
            return None
        host, _, port = self.listen.rpartition(":")
        return host.strip("[]"), int(port)


class Canary(Section):
    """How often the proxy sends itself a message of its own, and when its absence is an alarm."""

    interval: Float = Field(default=300, ge=1, le=3600, description="write 1 to 3600 seconds")
    stale_after: Float = Field(
        default=900, ge=0, le=86_400, description="write seconds, more than the interval, or 0 if there is no canary"
    )


class Log(Section):
    """What goes to the terminal or the journal."""

    level: LogLevel = Field(default=LogLevel.WARN, description="write error, warn, info or debug")


class Settings(BaseSettings):
    """All of it. Made by `settings_sources.load`, which says where each value comes from."""

    model_config = SettingsConfigDict(
        env_prefix="MUTEWATCH_",
        env_nested_delimiter="_",  # no section has one in its name: MUTEWATCH_RECORD_QUEUE_SIZE
        env_nested_max_split=1,
        env_ignore_empty=True,
        extra="forbid",
        frozen=True,
    )

    listen: Listen = Field(default_factory=Listen)
    state: State = Field(default_factory=State)
    record: Record = Field(default_factory=Record)
    clients: Clients = Field(default_factory=Clients)
    certificates: Certificates = Field(default_factory=Certificates)
    signatures: Signatures = Field(default_factory=Signatures)
    pins: Pins = Field(default_factory=Pins)
    mitigation: Mitigation = Field(default_factory=Mitigation)
    retention: Retention = Field(default_factory=Retention)
    export: Export = Field(default_factory=Export)
    metrics: Metrics = Field(default_factory=Metrics)
    canary: Canary = Field(default_factory=Canary)
    log: Log = Field(default_factory=Log)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Values come as arguments only: `settings_sources` has read and merged them."""
        return (init_settings,)
