"""Keeping freed memory, where the system has a way to."""

from __future__ import annotations

import platform

import pytest

from training.allocator import keep_freed_memory


def test_python_itself_is_not_opened_where_there_is_no_glibc(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> tuple[str, str]:
        raise PermissionError

    monkeypatch.setattr(platform, "libc_ver", refused)
    monkeypatch.setattr("sys.platform", "win32")
    keep_freed_memory()
