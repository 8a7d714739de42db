"""The systemd unit: the proxy as a user of its own that may do nothing but listen, connect, and keep its state."""

from pathlib import Path

from addons.settings import Settings
from mutewatch.errors import OperatorError

STATES = Path("/var/lib")  # where StateDirectory= puts them
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 (what the unit cannot see)

UNIT = """\
# Made by `mutewatch live --print-unit`.
#   install:  write this to /etc/systemd/system/mutewatch.service, then
#             systemctl daemon-reload && systemctl enable --now mutewatch
#   state:    {state}, for root only: mutewatch report --state {state}
[Unit]
Description=mutewatch: shows audio-derived telemetry of video-conferencing clients
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStartPre={program} check{config}
ExecStart={program} live{config}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
# 2: a setting is wrong, and starting again will not mend it
RestartPreventExitStatus=2
# the last commits take at most five
TimeoutStopSec=10

DynamicUser=yes
StateDirectory={name}
StateDirectoryMode=0700
Environment=MUTEWATCH_STATE={state} PYTHONUNBUFFERED=1
UMask=0077

# 18 kB a stalled connection, 80 MB at rest: a flood ends the proxy before it takes the host
MemoryMax=1G
# a tunnel takes two
LimitNOFILE=65536
# a core dump would hold keys
LimitCORE=0
TasksMax=256

# Redirected connections are ordinary ones: neither transparent mode nor WireGuard (in user space) needs a capability.
{capabilities}
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
LockPersonality=yes
# Not MemoryDenyWriteExecute: pyOpenSSL needs such memory, without it no connection is opened (observed).
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def service_unit(settings: Settings, program: Path, config: Path | None, *, is_state_chosen: bool) -> str:
    """Return the unit that runs `program` with the settings in `config`. Raises OperatorError.

    `is_state_chosen`: the operator named a state directory; it must be one that systemd keeps.
    """
    state = settings.state.directory if is_state_chosen else STATES / "mutewatch"
    if state.parent != STATES:
        raise OperatorError(f"--print-unit: a service keeps its state below {STATES}, not in {state}: leave it out")
    for path in (program, config):
        if path is not None and str(path).startswith(tuple(f"{folder}/" for folder in HIDDEN)):
            raise OperatorError(f"--print-unit: a service cannot see {path}; move it, for example to /opt or /etc")
    if settings.listen.port < 1024:
        capabilities = "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE"
    else:
        capabilities = "CapabilityBoundingSet="
    option = f" --config {config}" if config else ""
    return UNIT.format(program=program, config=option, state=state, name=state.name, capabilities=capabilities)
