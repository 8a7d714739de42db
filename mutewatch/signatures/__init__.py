"""The signatures that ship with mutewatch, and how they and an operator's own are loaded."""

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mutewatch.errors import OperatorError
from mutewatch.signatures.model import Signature, match_host

__all__ = ["Signature", "load_signature", "load_signatures", "match_host", "schema", "telemetry_hosts"]

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
            raise OperatorError(f"{path}: there is already a signature {signature.id}")
        found[signature.id] = signature
    return tuple(found[key] for key in sorted(found))


def telemetry_hosts() -> tuple[str, ...]:
    """Return the host patterns of all signatures, such as `tsa*.webex.com`; `*` stays inside one label."""
    return tuple(sorted({host for signature in load_signatures() for host in signature.hosts}))


def load_signature(path: Path) -> Signature:
    """Return the signature in one TOML file; OperatorError names the file and the first fault."""
    try:
        return Signature.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise OperatorError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OperatorError(f"{path}: not TOML: {error}") from None
    except ValidationError as error:
        first, more = error.errors()[0], error.error_count() - 1
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        rest = f" (and {more} more)" if more else ""
        raise OperatorError(f"{path}: {where}: {first['msg']}{rest}") from None


def schema() -> str:
    """Return the JSON Schema of a signature file, as text; editors complete and check signatures with it."""
    document: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Signature.model_json_schema(),
    }
    return json.dumps(document, indent=2) + "\n"
