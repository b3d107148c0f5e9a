"""German and French are whole: every string is translated, none is a guess, and what is
shipped is what was written. Made anew by

    cd oauthbff && django-admin makemessages -a --no-location --no-obsolete
    cd oauthbff && django-admin compilemessages
"""

from __future__ import annotations

import gettext
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation

from oauthbff.models import EndReason
from tests.support import components
from tests.support.site import ROOT

APP = ROOT / "oauthbff"
LANGUAGES = ("de", "fr")
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]")


@pytest.fixture(scope="module")
def strings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every string that is marked in the app, as a template of a catalogue."""
    components.require("gettext")
    copy = tmp_path_factory.mktemp("app") / "oauthbff"
    shutil.copytree(APP, copy, ignore=shutil.ignore_patterns("__pycache__", "*.po", "*.mo"))
    words = "-m django makemessages -l de --keep-pot --no-location --verbosity 0"
    # Without our settings: it reads files, and needs no site.
    bare = {"PATH": os.environ["PATH"]}
    subprocess.run([sys.executable, *words.split()], cwd=copy, check=True, timeout=120, env=bare)
    return copy / "locale" / "django.pot"


def catalogue(language: str, kind: str) -> Path:
    return APP / "locale" / language / "LC_MESSAGES" / f"django.{kind}"


def shipped(path: Path) -> dict[Any, str]:
    with path.open("rb") as file:
        known: dict[Any, str] = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return {key: text for key, text in known.items() if key}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_string_is_translated_and_no_other(strings: Path, language: str):
    told = subprocess.run(
        ["msgcmp", catalogue(language, "po"), strings], capture_output=True, text=True, timeout=60
    )
    assert (told.stderr.replace("msgcmp: ", ""), told.returncode) == ("", 0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_none_is_a_guess_and_what_is_shipped_is_what_was_written(language: str, tmp_path: Path):
    components.require("gettext")
    compiled = tmp_path / "django.mo"
    words = ["msgfmt", "--statistics", "-o", compiled, catalogue(language, "po")]
    told = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True)
    assert not re.search("fuzzy|untranslated", told.stderr), told.stderr
    assert shipped(compiled) == shipped(catalogue(language, "mo")), "compilemessages was not run"


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_filled_in_is_filled_in_there_too(language: str):
    known = shipped(catalogue(language, "mo"))
    assert len(known) > 250
    for key, text in known.items():
        asked = key[0] if isinstance(key, tuple) else key
        assert set(PLACEHOLDER.findall(text)) == set(PLACEHOLDER.findall(asked)), key


@pytest.mark.parametrize(("language", "words"), [("de", "abgemeldet"), ("fr", "déconnexion")])
def test_django_finds_them(language: str, words: str):
    with translation.override(language):
        assert str(EndReason.LOGOUT.label) == words
