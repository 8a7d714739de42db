"""What a test needs of the machine; it is skipped by name where that is not there."""

import os
import shutil
import subprocess

import pytest


def tool(name: str) -> str:
    """Path of a program."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/sbin")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


def unshare(flags: str = "-rn") -> list[str]:
    """How to start a program in a network of its own; with -rnm, mounts of its own too."""
    words = [tool("unshare"), flags]
    if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
        pytest.skip(f"unshare {flags} is not permitted here")
    return words


def tunnels() -> None:
    """WireGuard in user space, which needs a tun device."""
    tool("wireguard-go")
    tool("wg")
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun is not to be had here")
