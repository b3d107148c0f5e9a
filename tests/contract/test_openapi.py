"""The OpenAPI document: valid, true of a running site, and part of a site's own document."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from django.urls import include, path
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema
from openapi_schema_validator import OAS30Validator
from openapi_spec_validator import validate
from rest_framework.permissions import IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView

from oauthbff import urls
from oauthbff.authentication import BFFAuthentication
from oauthbff.openapi import describe, document, spectacular
from tests.support.browser import Browser
from tests.support.site import Site

assert spectacular.BFFAuthenticationScheme  # registered by being imported
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,"
    "response_headers_conformance,response_schema_conformance"
)


def test_it_is_valid_and_every_example_fits_its_schema():
    told = document()
    validate(told)
    for where, media in medias(told):
        schema = {**media["schema"], "components": told["components"]}
        for name, example in media.get("examples", {}).items():
            found = list(OAS30Validator(schema).iter_errors(example["value"]))
            assert not found, (where, name, found)


def medias(node: Any, where: str = "") -> list[tuple[str, dict[str, Any]]]:
    if not isinstance(node, dict):
        return []
    found = [(where, node)] if "schema" in node and "examples" in node else []
    return found + [one for key, child in node.items() for one in medias(child, f"{where}/{key}")]


def test_it_knows_every_door():
    told = document()["paths"]
    mount = "/bff/"
    for pattern in urls.urlpatterns:
        if pattern.name == "api":
            assert f"{mount}api/photos/{{path}}" in told
        elif pattern.name == "authorize":  # nobody's but the proxy's in front
            assert "authorize" not in json.dumps(told)
        else:
            path = re.sub(r"<\w+:(\w+)>", r"{\1}", str(pattern.pattern))
            assert mount + path in told, pattern


class Orders(APIView):
    """A view of a site's own."""

    authentication_classes = (BFFAuthentication,)
    permission_classes = (IsAuthenticated,)
    schema = AutoSchema()

    def get(self, request: Any) -> Response:
        return Response({})


def test_it_joins_a_sites_own_document():
    patterns = [path("orders/", Orders.as_view()), path("bff/", include("oauthbff.urls"))]

    told = describe(SchemaGenerator(patterns=patterns).get_schema(public=True))

    validate(told)
    assert told["paths"]["/orders/"]["get"]["security"] == [{"bffSession": [], "bffHeader": []}]
    assert {"/bff/session/", "/bff/api/photos/{path}"} <= set(told["paths"])
    schemes = told["components"]["securitySchemes"]
    assert schemes["bffHeader"]["name"] == "X-BFF"
    assert schemes["bffSession"]["name"] == "__Host-Http-bff-auth"


def test_the_site_runs_as_it_says(site: Site, browser: Browser, tmp_path: Path):
    """Schemathesis: no 5xx, and no answer that the document does not tell of."""
    browser.login("jane")
    cookie = browser.cookie_header("/bff/session/")
    script = "import django; django.setup(); from oauthbff.openapi import document; import json;"
    said = subprocess.run(
        [sys.executable, "-c", f"{script} print(json.dumps(document()))"],
        env=site.env,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    file = tmp_path / "openapi.json"
    told = json.loads(said)
    # Signing out would leave nothing to look at; the rest is looked at signed in.
    del told["paths"]["/bff/logout/"]
    file.write_text(json.dumps(told))

    report = schemathesis(site, file, tmp_path, cookie)

    assert report.returncode == 0, report.stdout[-6000:] + report.stderr
    assert re.search(r"[1-9]\d+ generated", report.stdout), report.stdout[-2000:]
    print(report.stdout[-1500:])
    assert "Traceback" not in site.log()


def schemathesis(
    site: Site, file: Path, folder: Path, cookie: str
) -> subprocess.CompletedProcess[str]:
    words = (
        f"run {file} --url http://127.0.0.1:{site.port} --checks {CHECKS} --max-examples 15 "
        f"--phases examples,coverage,fuzzing --generation-deterministic --workers 1 --no-color"
    )
    headers = {"X-BFF": "1", "Host": f"localhost:{site.port}", "Cookie": cookie}
    given = [word for name, value in headers.items() for word in ("-H", f"{name}: {value}")]
    return subprocess.run(
        [Path(sys.executable).parent / "schemathesis", *words.split(), *given],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=400,
    )
