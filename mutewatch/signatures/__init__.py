"""The signatures that ship with mutewatch, and how they and an operator's own are loaded."""

import json
import tomllib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mutewatch.errors import OperatorError
from mutewatch.signatures.extension import Extension
from mutewatch.signatures.model import Signature, match_host
from mutewatch.signatures.own import own_files

__all__ = [
    "Signature",
    "known_signatures",
    "load_signature",
    "load_signatures",
    "match_host",
    "own_files",
    "schema",
    "telemetry_hosts",
]

FOLDER = Path(__file__).parent


@cache
def load_signatures(*extra: Path) -> tuple[Signature, ...]:
    """Return the bundled signatures and those of the `extra` files, ordered by id.

    Raises OperatorError naming file and field of the first fault, or an id that occurs twice.
    """
    found: dict[str, Signature] = {}
    for path in (*sorted(FOLDER.glob("*.toml")), *extra):
        signature = load_signature(path)
        if signature.id in found:
            raise OperatorError(f"{path}: id: there is already a signature {signature.id}; take another id")
        found[signature.id] = signature
    return tuple(found[key] for key in sorted(found))


@cache
def known_signatures(folder: Path | None = None) -> tuple[Signature, ...]:
    """Return the bundled signatures and those of the operator's `folder` (see `own_files`), ordered by id.

    The folder is read once in the life of a process. OperatorError as `load_signatures`: none is left out silently.
    """
    return load_signatures(*own_files(folder))


def telemetry_hosts(signatures: Iterable[Signature] | None = None) -> tuple[str, ...]:
    """Return the host patterns of `signatures` (the bundled ones), as `tsa*.webex.com`; `*` stays inside one label."""
    chosen = load_signatures() if signatures is None else signatures
    return tuple(sorted({host for signature in chosen for host in signature.hosts}))


def load_signature(path: Path) -> Signature:
    """Return the signature in one TOML file; OperatorError names the file and the first fault."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
        if "extends" in document:
            return _extended(path, Extension.model_validate(document))
        return Signature.model_validate(document)
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        first, more = error.errors()[0], error.error_count() - 1
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        rest = f" (and {more} more)" if more else ""
        raise OperatorError(f"{path}: {where}: {first['msg']}{rest}") from None


def _extended(path: Path, extension: Extension) -> Signature:
    bundled = {signature.id: signature for signature in load_signatures()}
    if extension.extends not in bundled:
        known = ", ".join(bundled)
        raise OperatorError(f"{path}: extends: no bundled signature {extension.extends!r}; there are {known}")
    base = bundled[extension.extends]
    if not base.hosts:
        raise OperatorError(f"{path}: extends: {base.id} is not told by its hosts: it reads yours already")
    return extension.apply(base)


def schema() -> str:
    """Return the JSON Schema of a signature file, as text; editors complete and check signatures with it."""
    document: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **TypeAdapter(Signature | Extension).json_schema(),
    }
    return json.dumps(document, indent=2) + "\n"
