"""What `pip install` brings: everything that the app needs, and nothing that is ours alone."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from tests.support.site import ROOT


@pytest.fixture(scope="session")
def files(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_it_has_every_file_of_the_app(files: set[str]):
    here = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "oauthbff").rglob("*")
        if path.is_file() and path.suffix not in (".pyc", ".po")
    }
    assert here - files == set()


@pytest.mark.parametrize(
    "file",
    [
        "oauthbff/py.typed",
        "oauthbff/migrations/0001_initial.py",
        "oauthbff/templates/oauthbff/error.html",
        "oauthbff/static/oauthbff/bff.js",
        "oauthbff/static/oauthbff/bff.d.ts",
        "oauthbff/static/oauthbff/package.json",
        "oauthbff/testing/fixtures.py",
        "oauthbff/management/commands/sweepgrants.py",
    ],
)
def test_it_has(files: set[str], file: str):
    assert file in files


def test_it_has_nothing_else(files: set[str]):
    tops = {name.split("/")[0] for name in files}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"oauthbff"}
