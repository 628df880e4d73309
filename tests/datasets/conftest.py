"""The published sets, where they are, and no folder from outside."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"  # beside the repository


@pytest.fixture(autouse=True)
def no_folder_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ERASABLE_DATA", raising=False)


@pytest.fixture(scope="session")
def published() -> Path:
    if not SHARED.is_dir():
        pytest.skip("the published sets are not beside the repository (../shared/data)")
    return SHARED
