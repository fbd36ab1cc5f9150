"""Nobody acts without a name, and no name changes afterwards."""

from dataclasses import FrozenInstanceError, replace

import pytest

from model.principal import ANONYMOUS, INTERNAL, Principal


def test_a_door_completes_the_anonymous_principal() -> None:
    caller = replace(ANONYMOUS, host="10.0.0.7", client_id="billing-1")
    assert caller == Principal("anonymous", "10.0.0.7", "billing-1")
    assert caller.name != INTERNAL.name


def test_a_principal_does_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        INTERNAL.name = "root"  # type: ignore[misc]
