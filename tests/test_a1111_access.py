"""The routes' authorization."""

from __future__ import annotations

import base64

import pytest

from tests.house import house

access = house("a1111_extension.access")
USERS = {"ann": "pass:word", "bob": "geheim"}


def header(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("right", ["ann:pass:word", "bob:geheim"])
def test_right_passwords(right: str) -> None:
    access.check_credentials(header(right), USERS)


@pytest.mark.parametrize(
    "wrong",
    ["", "Basic", "Basic !!!", "Bearer YW5u", header("ann:geheim"), header("eve:pass:word"), header("ann"), header("")],
)
def test_wrong_ones_are_refused(wrong: str) -> None:
    with pytest.raises(access.Refused) as refusal:
        access.check_credentials(wrong, USERS)
    assert refusal.value.status == 401
    assert refusal.value.headers == {"WWW-Authenticate": "Basic"}


def test_without_users_everybody_may() -> None:
    access.check_credentials("", {})
