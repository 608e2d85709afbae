"""No environments of peers for these tests."""

from typing import Any

import pytest


@pytest.fixture(scope="module", autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """No environment is made, and none that this machine may have is seen."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRIPTYCH_PEERS", str(tmp_path_factory.mktemp("peers")))
        yield
