"""What a site installs with us is justified and floored, and the image gives nothing away."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    path = str(ROOT / ".ci" / "audit")
    spec = importlib.util.spec_from_loader("audit", SourceFileLoader("audit", path))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_dependency_has_a_line_with_its_floor(audit: ModuleType) -> None:
    page, _, _ = (ROOT / "docs" / "dependencies.md").read_text().partition("## The matrix")
    rows = re.findall(r"^\| `([\w.-]+)` \| ([\d.]+) \| (.+) \| (.+) \|$", page, re.MULTILINE)
    assert {name: floor for name, floor, *_ in rows} == audit.floors()
    assert all(len(why) > 10 and len(floor) > 10 for _, _, why, floor in rows)


def test_what_is_installed_here_is_above_the_floors(audit: ModuleType) -> None:
    assert audit.below() == []


@pytest.mark.parametrize(
    ("older", "newer"),
    [("2.9", "2.15"), ("5.2.9", "5.2.17"), ("5.2", "5.2.17"), ("48.0.0", "48.0.1"), ("9", "10")],
)
def test_versions_are_compared_as_numbers(audit: ModuleType, older: str, newer: str) -> None:
    assert audit.numbers(older) < audit.numbers(newer)


def run_audit(folder: Path, says: str | None) -> subprocess.CompletedProcess[str]:
    """Run the check with a pip-audit on the PATH that says this; None: there is no such program."""
    if says is not None:
        program = folder / "pip-audit"
        program.write_text(f"#!/bin/sh\ncat >/dev/null\necho {shlex.quote(says)}\n")
        program.chmod(0o755)
    return subprocess.run(
        [sys.executable, ROOT / ".ci" / "audit"],
        env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


UNSAFE = (
    '{"dependencies": [{"name": "django", "version": "1.0", '
    '"vulns": [{"id": "CVE-1", "fix_versions": ["1.1"]}]}]}'
)
SKIPPED = '{"dependencies": [{"name": "django", "skip_reason": "nobody answered"}]}'


@pytest.mark.parametrize(
    ("says", "status", "words"),
    [
        pytest.param(None, 0, "advisories NOT asked: no pip-audit", id="no pip-audit"),
        pytest.param("", 0, "NOT (all) asked: it said nothing", id="no network"),
        pytest.param(SKIPPED, 0, "NOT (all) asked: not asked about django", id="skipped"),
        pytest.param('{"dependencies": []}', 0, "advisories asked", id="all is well"),
        pytest.param(UNSAFE, 1, "django 1.0: CVE-1, fixed in 1.1", id="unsafe"),
    ],
)
def test_the_audit_says_what_it_did(
    tmp_path: Path, says: str | None, status: int, words: str
) -> None:
    done = run_audit(tmp_path, says)
    assert done.returncode == status, done
    assert words in done.stdout + done.stderr


# --- the image ---


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines]


def test_the_image_runs_as_nobody_special() -> None:
    done = [word for word, _ in instructions()]
    [user] = [rest for word, rest in instructions() if word == "USER"]
    assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", user)
    # After USER nothing is written any more.
    assert set(done[done.index("USER") :]) <= {"USER", "EXPOSE", "STOPSIGNAL", "CMD"}


def test_no_secret_and_nothing_from_elsewhere_goes_into_the_image() -> None:
    for word, rest in instructions():
        assert word not in ("ADD", "ARG", "ONBUILD"), (word, rest)
        assert not re.search(r"--mount|--secret|curl|wget|http", rest), (word, rest)
        if word == "ENV":
            assert not re.search(r"(?i)secret|password|token|_KEY", rest), rest


def test_what_is_copied_is_there_and_the_rest_is_ignored() -> None:
    first, *rules = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line and not line.startswith("#")
    ]
    assert first == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and "--from" not in rest
        for source in rest.split()[:-1]
    }
    assert copied == kept
    assert all((ROOT / source).exists() for source in copied)
    assert {"**/.env*", "**/*.sqlite3*"} <= set(rules)


def test_its_command_is_one_that_gunicorn_understands(tmp_path: Path) -> None:
    [command] = [rest for word, rest in instructions() if word == "CMD"]
    words = re.findall(r'"([^"]+)"', command)
    assert words[0] == "gunicorn"
    done = subprocess.run(
        [sys.executable, "-m", *words, "--check-config"],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project.settings"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
