"""Where the gateway's settings come from: command line over environment over file over defaults.

`load` reads all of them and says of each value where it is from. Variables are named after section and key:
MUTEWATCH_LISTEN_PORT; MUTEWATCH_STATE, which other commands read too, is the state directory. Rules:

- every fault is one line with the place it is in, the key, and what to write; all are found at once;
- a variable that begins like one of ours and is none is a fault: it would be ignored without a word.
"""

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, SettingsError, TomlConfigSettingsSource

from addons.settings import MitigationOverride, Settings
from mutewatch.errors import OperatorError
from mutewatch.identity import Names
from mutewatch.signatures import known_signatures, own_files, telemetry_hosts
from mutewatch.signatures.choice import names_in
from mutewatch.signatures.own import fingerprint
from mutewatch.timeline import load_timeline

Path_ = tuple[str, ...]  # of a value: ("listen", "port")
Tree = Mapping[str, Any]  # section -> key -> value
PREFIX = "MUTEWATCH_"
FILE_BYTES = 64 << 10  # with every key there is, a file has less than two thousand
OPTIONS: Mapping[Path_, str] = {
    ("listen", "host"): "--listen-host",
    ("listen", "port"): "--listen-port",
    ("listen", "mode"): "--mode",
    ("state", "directory"): "--state",
    ("record", "record_timeout"): "--record-timeout",
    ("clients", "show"): "--show-clients",
    ("clients", "mute_file"): "--mute",
    ("clients", "assume"): "--assume",
    ("clients", "activity"): "--activity",
    ("certificates", "leaf_dir"): "--leaf-dir",
    ("certificates", "passphrase_file"): "--passphrase-file",
    ("metrics", "listen"): "--metrics",
    ("signatures", "folder"): "--signatures",
    ("signatures", "without"): "--without",
}


class Source(StrEnum):
    """Where a value is from, the weakest first."""

    DEFAULT = "default"
    FILE = "file"
    ENVIRONMENT = "environment"
    COMMAND_LINE = "command line"


class WrongSettingsError(OperatorError):
    """One or more settings are wrong: one line each."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\nmutewatch: ".join(faults))  # each line stands alone in a journal


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings that hold, and of each that is not a default, where it is from.

    `signatures`: differs whenever a file of the operator's own signatures does.
    """

    settings: Settings
    sources: Mapping[Path_, Source]
    file: Path | None
    signatures: str

    def source(self, path: Path_) -> Source:
        return self.sources.get(path, Source.DEFAULT)

    def values(self) -> Iterator[tuple[Path_, object, Source]]:
        """Every value with its path and its source, in the order of the model."""
        for path, value in leaves(self.settings.model_dump(mode="json")):
            yield path, value, self.source(path)


def load(file: Path | None, arguments: Mapping[Path_, object]) -> Loaded:
    """Return the settings of `file`, the environment and `arguments`: of the command line, None where not given.

    Raises WrongSettingsError (an OperatorError) with a line for every fault of the first place that cannot be read at
    all, or else of all values.
    """
    read: dict[Source, Tree] = {
        Source.FILE: _read_file(file) if file else {},
        Source.ENVIRONMENT: _read_environment(),
        Source.COMMAND_LINE: _tree(arguments),
    }
    sources: dict[Path_, Source] = {}
    merged: dict[str, Any] = {}
    for source, tree in read.items():
        sources |= dict.fromkeys((path for path, _ in leaves(tree)), source)
        merged = _merge(merged, tree)
    try:
        settings = Settings(**merged)
    except ValidationError as error:
        raise WrongSettingsError([_fault(dict(each), sources, file) for each in error.errors()]) from None
    _check_together(settings, sources, file)
    return Loaded(settings, sources, file, fingerprint(own_files(settings.signatures.folder)))


def leaves(tree: Tree, above: Path_ = ()) -> Iterator[tuple[Path_, object]]:
    """Every value that is no table, with its path. An empty table has none."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, (*above, key))
        else:
            yield (*above, key), value


class _File(TomlConfigSettingsSource):
    def _read_file(self, file_path: Any) -> dict[str, Any]:
        # O_NONBLOCK: a FIFO of that name must not hold up whoever reads
        with os.fdopen(os.open(file_path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            text = file.read(FILE_BYTES + 1)
        if len(text) > FILE_BYTES:
            raise WrongSettingsError([f"{file_path}: longer than {FILE_BYTES:,} bytes: that is no settings file"])
        return tomllib.loads(text.decode())


def _read_file(file: Path) -> Tree:
    if not file.is_file():
        raise WrongSettingsError([f"{file}: there is no such file; `mutewatch live` needs none"])
    try:
        return _File(Settings, file)()
    except OSError as error:
        raise WrongSettingsError([f"{file}: {error.strerror}"]) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WrongSettingsError([f"{file}: not TOML: {error}"]) from None
    except RecursionError:
        raise WrongSettingsError([f"{file}: not TOML: nested too deeply"]) from None


class _Environment(EnvSettingsSource):
    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """MUTEWATCH_STATE is a directory, not a section in JSON; a list has commas between its names."""
        if field_name == "state":
            return {"directory": value}
        return names_in(value) if field_name == "without" else super().decode_complex_value(field_name, field, value)


def _read_environment() -> Tree:
    unknown = [name for name in sorted(os.environ) if _is_misspelt(name)]
    if unknown:
        raise WrongSettingsError([f"{name}: no such setting; {_names_like(name)}" for name in unknown])
    try:
        return _Environment(Settings)()
    except SettingsError as error:
        raise WrongSettingsError([f"the environment: {error}; write JSON"]) from None


def _is_misspelt(name: str) -> bool:
    """Does a variable begin like one of ours, and name a section that does not exist, or a key without its section?

    Keys of a section are checked later.
    """
    section, separator, _ = name.removeprefix(PREFIX).lower().partition("_")
    if not name.startswith(PREFIX) or section in Settings.model_fields:
        return False
    near = separator and get_close_matches(section, Settings.model_fields, n=1, cutoff=0.75)
    return bool(near or _sections_of(name))


def _sections_of(name: str) -> list[str]:
    """Return the sections that have a key of this variable's name."""
    key = name.removeprefix(PREFIX).lower()
    return [section for section in Settings.model_fields if key in _model_at((section,)).model_fields]


def _names_like(name: str) -> str:
    meant = [f"{PREFIX}{section}_{name.removeprefix(PREFIX)}".upper() for section in _sections_of(name)]
    return f"did you mean {' or '.join(meant)}?" if meant else f"the names are like {PREFIX}LISTEN_PORT"


def _tree(values: Mapping[Path_, object]) -> Tree:
    tree: dict[str, dict[str, object]] = {}
    for (section, key), value in values.items():
        if value is not None:
            tree.setdefault(section, {})[key] = value
    return tree


def _merge(below: Tree, above: Tree) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = _merge(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def _check_together(settings: Settings, sources: Mapping[Path_, Source], file: Path | None) -> None:
    """Raise WrongSettingsError for what is wrong between values, or with files that values name."""
    faults: list[str] = []
    known: list[str] = []
    try:
        known = [signature.id for signature in known_signatures(settings.signatures.folder)]
        faults += _check_choice(settings, sources, file)
    except OperatorError as error:
        faults.append(str(error))
    for name in settings.mitigation.signatures:
        if known and name not in known:
            path = next((path for path in sources if path[:3] == ("mitigation", "signatures", name)), ())
            where = place(path, sources.get(path, Source.FILE), file, key=f"mitigation.signatures.{name}")
            faults.append(f"{where}: no such signature; there are {', '.join(known)}")
    mute_file, path = settings.clients.mute_file, ("clients", "mute_file")
    if mute_file is not None and not mute_file.is_file():
        faults.append(f"{place(path, sources[path], file)} is {mute_file}: there is no such file")
    elif mute_file is not None:
        try:
            load_timeline(mute_file, Names(None))
        except OperatorError as error:
            faults.append(f"{place(path, sources[path], file)} is {error}")
    metrics, listen = settings.metrics.address, settings.listen
    if metrics is not None and metrics[1] == listen.port and not listen.mode.startswith("wireguard"):
        path = ("metrics", "listen")
        where = place(path, sources.get(path, Source.FILE), file)
        faults.append(f"{where} is {settings.metrics.listen}: write another port, that one is the proxy's")
    export = settings.export
    if export.ecs_file is not None and export.ecs_file == export.eve_file:
        path = ("export", "ecs_file")
        where = place(path, sources.get(path, Source.FILE), file)
        faults.append(f"{where} is {export.ecs_file}: write another file, that one is for EVE events")
    if 0 < settings.canary.stale_after <= settings.canary.interval:
        path = ("canary", "stale_after")
        where = place(path, sources.get(path, Source.FILE), file)
        faults.append(
            f"{where} is {settings.canary.stale_after:g}: write more seconds than the interval, "
            f"which is {settings.canary.interval:g}"
        )
    if faults:
        raise WrongSettingsError(faults)


def _check_choice(settings: Settings, sources: Mapping[Path_, Source], file: Path | None) -> Iterator[str]:
    path = ("signatures", "without")
    where = place(path, sources.get(path, Source.DEFAULT), file)
    try:
        if not telemetry_hosts(settings.signatures.choice.used):
            yield f"{where} leaves no host to open: leave out less, or run no gateway"
    except OperatorError as error:
        yield f"{where}: {error}"


def place(path: Path_, source: Source, file: Path | None, *, key: str = "") -> str:
    """Return how the operator knows a value: an option, a variable, or a key of the file."""
    if source is Source.COMMAND_LINE:
        return OPTIONS.get(path, ".".join(path))
    if source is Source.ENVIRONMENT:
        if path == ("state", "directory") and f"{PREFIX}STATE_DIRECTORY" not in os.environ:
            return f"{PREFIX}STATE"
        return PREFIX + "_".join(path[:2]).upper() + "".join(f".{part}" for part in path[2:])
    return f"{file or 'defaults'}: {key or '.'.join(path)}"


def _fault(error: Mapping[str, Any], sources: Mapping[Path_, Source], file: Path | None) -> str:
    """Return one of pydantic's errors in the operator's words."""
    path = tuple(part for part in error["loc"] if isinstance(part, str))  # the numbers are places in a list
    source = sources.get(path) or next((sources[p] for p in sources if p[: len(path)] == path), Source.FILE)
    where = place(path, source, file)
    if error["type"] == "extra_forbidden":
        names = list(_model_at(path[:-1]).model_fields)
        near = get_close_matches(path[-1], names, n=1)
        advice = f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"
        return f"{where}: no such {'section' if len(path) == 1 else 'key'}; {advice}"
    field = _model_at(path[:-1]).model_fields.get(path[-1])
    advice = (field.description if field else None) or f"write a table: [{'.'.join(path)}]"
    return f"{where} is {_shown(error['input'])}: {advice}"


def _shown(value: object) -> str:
    text = repr(str(value)) if isinstance(value, str | Path) else str(value).lower() if value in (True, False) else ""
    text = re.sub("//[^/]*@", "//…@", text or str(value))  # a password has no place here, and none in a log
    return text if len(text) <= 60 else text[:59] + "…"


def _model_at(path: Path_) -> type[BaseModel]:
    """Return the model of the table at `path`."""
    if path[:2] == ("mitigation", "signatures") and len(path) == 3:
        return MitigationOverride
    model: type[BaseModel] = Settings
    for part in path:
        field = model.model_fields.get(part)
        if field is None or not isinstance(field.annotation, type) or not issubclass(field.annotation, BaseModel):
            break
        model = field.annotation
    return model
