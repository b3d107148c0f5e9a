"""The reference pages say what the code says; WRITE_DOCS=1 writes them."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from oauthbff.conf import Breaking, Conf, Timeouts, Upstream
from tests.support import reference
from tests.support.generated_docs import check_page


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("settings.md", reference.settings),
        ("doors.md", reference.doors),
        ("errors.md", reference.refusals),
        ("commands.md", reference.commands),
        ("signals.md", reference.signal_table),
    ],
)
def test_a_page_is_what_the_code_says(page: str, said: Callable[[], str]) -> None:
    check_page(page, said())


@pytest.mark.parametrize("kind", [Conf, Upstream, Timeouts, Breaking])
def test_every_setting_has_its_sentence(kind: type) -> None:
    missing = [name for name, text in reference.comments(kind.__name__).items() if not text]
    assert missing in ([], ["name"])


def test_every_setting_of_the_provider_is_told() -> None:
    assert reference.oidc_names() == {*reference.OIDC, reference.BASIC}


def test_every_option_of_a_command_has_its_sentence() -> None:
    bare = [line for line in reference.commands().splitlines() if line.endswith("` |  |")]
    assert bare == []


def test_troubleshooting_knows_every_code() -> None:
    told = (reference.ROOT / "docs/troubleshooting.md").read_text()
    refused = re.findall(r"^\| \d+ \| `(\w+)`", reference.refusals(), re.M)
    assert "csrf_failed" in refused
    codes = {*refused, *reference.sign_in_codes()}
    assert [code for code in sorted(codes) if f"`{code}`" not in told] == []


def test_every_test_that_a_page_names_exists() -> None:
    named = {
        (page.name, *found)
        for page in (reference.ROOT / "docs").glob("*.md")
        for found in re.findall(r"(tests/[\w/]+\.py)(?:::(test_\w+))?", page.read_text())
    }
    assert len(named) > 20
    for page, file, test in named:
        path = reference.ROOT / file
        assert path.exists(), (page, file)
        assert f"def {test}" in path.read_text(), (page, file, test)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md"])
def test_the_links_of_a_page_outside_the_site_lead_somewhere(page: str) -> None:
    text = (reference.ROOT / page).read_text()
    for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
        assert (reference.ROOT / link).exists(), link
