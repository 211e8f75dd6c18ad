"""A study folder written once per test session."""

from __future__ import annotations

from pathlib import Path

import pytest
from report_study_folder import write_study


@pytest.fixture(scope="session")
def study_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three methods, two draws, four classes, of which two have awkward names. Read only."""
    return write_study(tmp_path_factory.mktemp("study") / "moles")
