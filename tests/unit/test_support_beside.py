"""Two runs side by side: each test is run once, and what fails in either is said by its status."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.site import ROOT

FILES = 6
#: Waits for the other run if there is one, which else might find everything taken.
TEST = """
import pathlib, time, uuid, pytest
here = pathlib.Path(__file__)
ran = here.with_suffix(".ran")

@pytest.fixture(scope="module")
def module():
    (here.parent / f"begun-{uuid.uuid4()}").touch()
    runs = int((here.parent / "runs").read_text())
    end = time.monotonic() + 20
    while len(list(here.parent.glob("begun-*"))) < runs and time.monotonic() < end:
        time.sleep(0.01)
    yield
    with ran.open("a") as file:
        file.write("end ")

@pytest.mark.parametrize("number", range(3))
def test_it(module, number):
    with ran.open("a") as file:
        file.write(f"{number} ")
    assert here.stem != "test_5"
"""


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    folder = tmp_path / "suite"
    folder.mkdir()
    (folder / "pytest.ini").touch()
    (folder / "runs").write_text("1")
    for number in range(FILES):
        (folder / f"test_{number}.py").write_text(TEST)
    return folder


def start(suite: Path, *words: str) -> subprocess.Popen[str]:
    options = ["-q", "-p", "no:cacheprovider", "-p", "tests.support.beside"]
    marks = suite.parent / "taken"
    marks.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", *options, "--taken", marks, *words, suite],
        cwd=ROOT,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        text=True,
        stdout=subprocess.PIPE,
    )


def test_each_test_is_run_once_and_each_file_by_one_of_them(suite: Path):
    (suite / "runs").write_text("2")
    runs = [start(suite), start(suite)]
    said = [run.communicate(timeout=60)[0] for run in runs]
    for number in range(FILES):
        assert (suite / f"test_{number}.ran").read_text() == "0 1 2 end ", said
    # The file that fails is run by one of them.
    assert sorted(run.returncode for run in runs) == [0, 1], said
    assert sum(text.count("passed") for text in said) == 2, said


def test_who_has_collected_something_else_runs_all_of_it(suite: Path):
    for words in ([], ["-k", "test_it and not 2"]):
        start(suite, *words).communicate(timeout=60)
    assert (suite / "test_0.ran").read_text() == "0 1 2 end 0 1 end "


def test_what_cannot_be_collected_fails(suite: Path):
    (suite / "test_odd.py").write_text("import nothing_of_that_name")
    run = start(suite)
    assert "nothing_of_that_name" in run.communicate(timeout=60)[0]
    assert run.returncode == 2
