"""The systemd units: the proxy and its canary, as a user of their own that may do little but listen and connect.

Both are the same user, since a canary's ticket is honoured only from there; systemd makes the user anew with the
first of them, and gives the other the same.
"""

import re
from pathlib import Path

from addons.canary_client import check_mode
from addons.settings import Settings
from certs.passphrase import CREDENTIAL
from mutewatch.errors import OperatorError

STATES = Path("/var/lib")  # where StateDirectory= puts them
HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 (what the unit cannot see)
PLAIN = re.compile(r"[\w./@:+,=~-]+", re.ASCII)  # what systemd takes as it stands (systemd.syntax, systemd.unit)

UNIT = """\
# Made by `mutewatch live --print-unit`.
#   install:  write this to /etc/systemd/system/mutewatch.service, then
#             systemctl daemon-reload && systemctl enable --now mutewatch
#   settings: systemctl reload mutewatch takes them anew; what needs a restart is said in the journal
#   state:    {state}, for root only: mutewatch report --state {state}
{leaves}[Unit]
Description=mutewatch: shows audio-derived telemetry of video-conferencing clients
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStartPre={program} check{config}
ExecStart={program} live{config}
# the first says what is wrong to whoever reloads; the proxy would not take it either
ExecReload={program} check --running{config}
ExecReload=/bin/kill -HUP $MAINPID
Restart=on-failure
RestartSec=1
# 2: a setting is wrong, and starting again will not mend it
RestartPreventExitStatus=2
# the last commits take at most five
TimeoutStopSec=10

# 18 kB a stalled connection, 80 MB at rest: a flood ends the proxy before it takes the host
MemoryMax=1G
# a tunnel takes two
LimitNOFILE=65536
TasksMax=256
{credential}
# Redirected connections are ordinary ones: neither transparent mode nor WireGuard (in user space) needs a capability.
{capabilities}
{exports}{confined}
[Install]
WantedBy=multi-user.target
"""

LEAVES = """\
#   leaves:   for the service's own user, before its first start and each time that there are new ones:
#             install -d -m 700 {leaf_dir} && cp leaves/* {leaf_dir}/
#             chown -R --reference={state} {leaf_dir}
"""

CANARY_UNIT = """\
# Made by `mutewatch live --print-canary-unit`.
#   install:  write this to /etc/systemd/system/mutewatch-canary.service; its timer starts it
#   result:   systemctl status mutewatch-canary, and canary.json in {state}
[Unit]
Description=mutewatch: telemetry of nobody through the gateway, and what became of it
After=mutewatch.service

[Service]
Type=oneshot
ExecStart={program} canary{config}
# each step has its own limit, twenty seconds; this one is for all of them
TimeoutStartSec=180
MemoryMax=512M
TasksMax=64
CapabilityBoundingSet=
{confined}"""

CANARY_TIMER = """\
# Made by `mutewatch live --print-canary-timer`, from canary.interval.
#   install:  write this to /etc/systemd/system/mutewatch-canary.timer, then
#             systemctl daemon-reload && systemctl enable --now mutewatch-canary.timer
[Unit]
Description=mutewatch: a canary every {interval:g} seconds

[Timer]
OnActiveSec=60
OnUnitActiveSec={interval:g}
AccuracySec=1

[Install]
WantedBy=timers.target
"""

CONFINED = """\
DynamicUser=yes
User={name}
StateDirectory={name}
StateDirectoryMode=0700
Environment=MUTEWATCH_STATE={state} PYTHONUNBUFFERED=1
UMask=0077
# a core dump would hold keys
LimitCORE=0
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
"""


def service_unit(settings: Settings, program: Path, config: Path | None, *, is_state_chosen: bool) -> str:
    """Return the unit that runs `program` with the settings in `config`. Raises OperatorError.

    `is_state_chosen`: the operator named a state directory; it must be one that systemd keeps.
    """
    if settings.listen.port < 1024:
        capabilities = "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\nAmbientCapabilities=CAP_NET_BIND_SERVICE"
    else:
        capabilities = "CapabilityBoundingSet="
    file = settings.certificates.passphrase_file
    secret = f"# read by systemd: the user of the service could not\nLoadCredential={CREDENTIAL}:"
    credential = f"{secret}{_plain(file)}\n" if file else ""
    parts = _parts(settings, program, config, is_state_chosen=is_state_chosen)
    leaf_dir = settings.certificates.leaf_dir
    leaves = LEAVES.format(leaf_dir=_plain(leaf_dir), state=parts["state"]) if leaf_dir else ""
    return UNIT.format(
        capabilities=capabilities, credential=credential, exports=_exports(settings), leaves=leaves, **parts
    )


def _exports(settings: Settings) -> str:
    """What lets the service write the files of [export], and a shipper of the group adm read them."""
    files = (settings.export.eve_file, settings.export.ecs_file)
    folders = sorted({_plain(file.parent) for file in files if file is not None})
    if not folders:
        return ""
    made = "".join(f"#   install -d -o root -g adm -m 2770 {folder}\n" for folder in folders)
    paths = " ".join(f"-{folder}" for folder in folders)
    return (
        f"# for the export files; make their directory first:\n{made}ReadWritePaths={paths}\nSupplementaryGroups=adm\n"
    )


def canary_unit(settings: Settings, program: Path, config: Path | None, *, is_state_chosen: bool) -> str:
    """Return the unit that sends one canary through the gateway. Raises OperatorError."""
    check_mode(settings.listen.mode)
    return CANARY_UNIT.format(**_parts(settings, program, config, is_state_chosen=is_state_chosen))


def canary_timer(settings: Settings) -> str:
    """Return the timer that starts it. Raises OperatorError."""
    check_mode(settings.listen.mode)
    return CANARY_TIMER.format(interval=settings.canary.interval)


def _parts(settings: Settings, program: Path, config: Path | None, *, is_state_chosen: bool) -> dict[str, object]:
    """What the units have in common. Raises OperatorError for what a service cannot see."""
    state = settings.state.directory if is_state_chosen else STATES / "mutewatch"
    if state.parent != STATES:
        raise OperatorError(f"--print-unit: a service keeps its state below {STATES}, not in {state}: leave it out")
    for path in (program, config, settings.signatures.folder):
        if path is not None and str(path).startswith(tuple(f"{folder}/" for folder in HIDDEN)):
            raise OperatorError(f"--print-unit: a service cannot see {path}; move it, for example to /opt or /etc")
    leaf_dir = settings.certificates.leaf_dir
    if leaf_dir is not None and state not in leaf_dir.parents:
        raise OperatorError(
            f"--print-unit: leaves are for their owner alone, and the service's user owns nothing in {leaf_dir}: "
            f"put them in {state / 'leaves'}, certificates.leaf_dir"
        )
    option = f" --config {_plain(config)}" if config else ""
    confined = CONFINED.format(name=state.name, state=_plain(state))
    return {"program": _plain(program), "config": option, "state": state, "confined": confined}


def _plain(path: Path) -> str:
    """Return `path` for a unit. Raises OperatorError for one that systemd would take apart, or for something else."""
    if not PLAIN.fullmatch(str(path)):
        raise OperatorError(
            f"--print-unit: systemd would not read {path} as one path: name one without such characters"
        )
    return str(path)
