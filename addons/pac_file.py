"""The PAC file: a few lines of JavaScript by which a client sends telemetry hosts to the proxy, and no others.

The names are the gate's: the same expression decides here and there. Media and everything else goes its own way,
so that the proxy carries next to nothing.
"""

from collections.abc import Iterable

from addons.gate import host_regex, is_address
from addons.settings import Settings
from mutewatch.errors import OperatorError

EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104 (recognised, not bound to)


def pac_file(settings: Settings, patterns: Iterable[str]) -> str:
    """Return the file for clients of a proxy with `settings`. Raises OperatorError.

    With record.strict there is no way around a proxy that is away; else clients go direct, which shows as missing
    minutes.
    """
    listen = settings.listen
    if listen.mode != "regular" and not listen.mode.startswith("upstream:"):
        raise OperatorError(
            f"--print-pac is for mode regular or upstream: in mode {listen.mode} clients need no PAC file"
        )
    host = listen.advertise or listen.host
    if host in EVERYWHERE:
        raise OperatorError('--print-pac: write advertise = "NAME" under [listen], the name clients know this host by')
    proxy = f"PROXY {f'[{host}]' if ':' in host and is_address(host) else host}:{listen.port}"
    names = sorted(set(patterns))
    way = proxy if settings.record.strict else f"{proxy}; DIRECT"
    return (
        "// Made by `mutewatch live --print-pac`. Only these hosts are sent to the proxy:\n"
        f"// {', '.join(names)}\n"
        "function FindProxyForURL(url, host) {\n"
        f'  return /{host_regex(names)}/i.test(host) ? "{way}" : "DIRECT";\n'
        "}\n"
    )
