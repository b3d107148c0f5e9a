"""The SPA client: its own tests in node, its size, and what a bundler needs to find it."""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import zlib
from pathlib import Path

import pytest

import oauthbff
from oauthbff.errors import BFFError
from oauthbff.models import EndReason
from tests.support import components
from tests.support.site import ROOT

CLIENT = Path(oauthbff.__file__).parent / "static" / "oauthbff"
MOST_BYTES = 3000


@pytest.mark.parametrize("file", sorted((ROOT / "tests/client").glob("*.test.mjs")), ids=str)
def test_in_node(file: Path):
    components.require("node")
    told = subprocess.run(
        [str(components.node()), "--test", "--test-reporter=tap", str(file)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert told.returncode == 0, told.stdout[-6000:] + told.stderr
    passed = re.search(r"^# pass (\d+)$", told.stdout, re.M)
    assert passed and int(passed[1]) > 10, "no tests ran"
    assert "# skipped 0" in told.stdout


def test_it_is_small_as_it_is_served():
    compressed = len(gzip.compress((CLIENT / "bff.js").read_bytes(), zlib.Z_BEST_COMPRESSION))
    assert compressed < MOST_BYTES


def test_a_bundler_finds_what_the_package_names():
    package = json.loads((CLIENT / "package.json").read_text())
    for file in (package["main"], package["types"], *package["exports"]["."].values()):
        assert (CLIENT / file).is_file(), file
    assert package["version"] == oauthbff.__version__
    assert "dependencies" not in package


def test_its_types_know_every_reason_and_code():
    types = (CLIENT / "bff.d.ts").read_text()
    reasons = re.search(r"export type EndReason =(.*?);", types, re.S)
    assert reasons and set(re.findall(r'"(\w+)"', reasons[1])) == set(EndReason.values)
    codes = re.search(r"export type Code =(.*?);", types, re.S)
    assert codes
    missing = {one.code for one in family(BFFError)} - set(re.findall(r'"(\w+)"', codes[1]))
    assert missing <= {"token_rejected", "login_expired"}, "codes that no fetched door answers"


def family(kind: type[BFFError]) -> list[type[BFFError]]:
    return [kind, *(one for child in kind.__subclasses__() for one in family(child))]
