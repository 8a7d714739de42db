"""Pseudonyms: the same under one key, unlinkable under two, and the key is kept safe."""

import errno
import os
import stat
from pathlib import Path

import pytest

from mutewatch.errors import OperatorError
from mutewatch.identity import Names, load_or_create_key


def test_one_key_gives_one_pseudonym_and_another_key_another() -> None:
    first, second = Names(b"a" * 32), Names(b"b" * 32)
    assert first.pseudonym("alice") == first.pseudonym("alice")
    assert first.pseudonym("alice") != second.pseudonym("alice")
    assert first.pseudonym("alice") != first.pseudonym("bob")
    assert "alice" not in first.pseudonym("alice")


def test_without_a_key_names_are_shown() -> None:
    assert Names(None).pseudonym("alice") == "alice"


def test_a_lone_surrogate_has_a_pseudonym_too() -> None:
    assert Names(b"a" * 32).pseudonym("\ud800").startswith("client-")


def test_the_key_is_made_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "client.key"
    key = load_or_create_key(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_or_create_key(path) == key


@pytest.mark.parametrize(("mode", "content", "fault"), [(0o644, b"k" * 32, "chmod 600"), (0o600, b"short", "5 bytes")])
def test_a_key_that_is_open_or_no_key_is_refused(tmp_path: Path, mode: int, content: bytes, fault: str) -> None:
    path = tmp_path / "client.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(OperatorError, match=fault):
        load_or_create_key(path)


def test_a_stop_while_the_key_is_made_leaves_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stopped)
        with pytest.raises(OperatorError, match="No space left"):
            load_or_create_key(tmp_path / "client.key")
    assert list(tmp_path.iterdir()) == []
    assert len(load_or_create_key(tmp_path / "client.key")) == 32
