"""The edge as a whole: a proxy in front that carries, and Django that decides.

The shared suite (`test_proxy_*`) runs behind it as well; here is what only an edge does, and what
it does where it keeps a rule otherwise (`tests/support/deviations.py`).
"""

from __future__ import annotations

import concurrent.futures
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MakeSite
from tests.support.caller import EDGES, Caller, eventually, proxy_site, routes, signed_in, two_feeds
from tests.support.provider import NodeProvider
from tests.support.site import EDGE_SECRET, Site
from tests.support.upstream import RecordingUpstream, answer, raw, redirect

#: 1,000 for the figure in docs/edge.md.
TRIALS = int(os.environ.get("EDGE_TRIALS", "4"))
#: Seconds of load for the figure in docs/edge.md; half of them with one server less.
LOAD_SECONDS = float(os.environ.get("EDGE_LOAD_SECONDS", "2"))
#: The longest that an ended grant is honoured: EDGE_REMEMBER, and a call's own time.
AT_MOST = 1.1

edges = pytest.mark.parametrize("door", EDGES)


def asked(site: Site) -> int:
    """How often Django was asked for a decision, by its access log."""
    return site.log().count("/bff/authorize/")


@edges
def test_what_is_remembered_is_one_persons_one_routes_one_methods(jane: Caller):
    bob = signed_in(jane.site, jane.upstream, "bob")
    for _ in range(3):
        for method in ("GET", "DELETE"):
            for target in ("photos/1", "photos2/1", "weather/1", "news/1"):
                for who in (jane, bob):
                    status = 405 if (method, target) == ("DELETE", "weather/1") else 200
                    assert who.ask(method, target).status == status
    tokens: dict[str, set[str | None]] = {}
    for call in jane.upstream.requests:
        tokens.setdefault(call.target, set()).add(call.token)
    assert tokens["/weather/1"] == {None}
    assert len(tokens["/photos/1"]) == len(tokens["/second/1"]) == len(tokens["/news/1"]) == 2
    assert jane.ask("GET", "news/1", cookie=b"a=b").status == 200
    assert jane.upstream.requests[-1].token is None


@edges
def test_of_a_crowd_each_gets_their_own_answer(
    make_site: MakeSite, upstream: RecordingUpstream, door: str
):
    """Many at once over the same few connections, with what was remembered of the others."""
    site = proxy_site(make_site, upstream, door)
    crowd = [signed_in(site, upstream, f"user{number:02}") for number in range(8)]
    tokens = []
    for caller in crowd:
        assert caller.ask("GET", "photos/who").status == 200
        tokens.append(upstream.requests[-1].token)
    assert len(set(tokens)) == len(crowd)
    upstream.on("/photos/*", lambda call: answer(json.dumps([call.target, call.token])))

    def call(number: int) -> bool:
        who, path = number % len(crowd), f"photos/{number}?of={number % len(crowd)}"
        said = crowd[who].ask("PUT", path, "Content-Length: 0")
        return bool(said.status == 200 and json.loads(said.body) == [f"/{path}", tokens[who]])

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        assert all(pool.map(call, range(320)))


@edges
def test_a_remembered_answer_opens_to_no_foreign_page(jane: Caller):
    """Whatever a decision rests on is part of the question: each twin differs in one thing."""
    embed = ["Sec-Fetch-Site: same-origin", "Sec-Fetch-Dest: image"]
    for target, own, foreign in (
        ("photos/1", ["X-BFF: 1"], []),
        ("photos/1", ["X-BFF: 1"], ["X-BFF: 0"]),
        ("photos/1", ["X-BFF: 1"], ["X-BFF: 1", "Origin: https://evil.test"]),
        ("photos/1", ["X-BFF: 1"], ["X-BFF: 1", "Sec-Fetch-Site: cross-site"]),
        ("pictures/1", embed, [embed[0], "Sec-Fetch-Dest: script"]),
        ("pictures/1", embed, [embed[1]]),
    ):
        for _ in range(2):
            assert jane.ask("GET", target, *own, ours=False).status == 200
            assert jane.ask("GET", target, *foreign, ours=False).code == "csrf_failed", foreign
    for target, code in {"photos/a%2Fb": "bad_path", "public/admin": "bad_path"}.items():
        good = target.partition("/")[0] + ("/list" if target.startswith("public") else "/a")
        for _ in range(2):
            assert jane.ask("GET", good).status == 200
            assert jane.ask("GET", target).code == code


def test_django_is_asked_once_a_second_and_each_time_for_what_the_site_judges_itself(
    make_site: MakeSite, upstream: RecordingUpstream
):
    options = {"server": "gunicorn", "front": "nginx"}
    env = {"GUNICORN_CMD_ARGS": "--access-logfile -"}
    jane = signed_in(make_site(upstreams=routes(upstream.url), env=env, **options), upstream)
    before = time.time()
    count = asked(jane.site)
    for _ in range(30):
        assert jane.ask("GET", "photos/1").status == 200
    seconds = int(time.time()) - int(before) + 1
    time.sleep(0.5)  # gunicorn writes its log after the answer
    assert 1 <= asked(jane.site) - count <= seconds
    count = asked(jane.site)
    for _ in range(5):
        assert jane.ask("GET", "guarded/1").status == 200
    eventually(lambda: asked(jane.site) - count == 5)


def refused_after(caller: Caller, moment: float) -> float:
    """End the caller's grant at some moment of a second; return when a call is first refused."""
    assert caller.ask("GET", "photos/1").status == 200
    time.sleep(moment)
    assert caller.ask("GET", "photos/1").status == 200
    out = caller.ask("POST", "/bff/logout/", "Content-Length: 0", whole_target=True)
    begin = time.monotonic()
    assert out.status == 200
    while (said := caller.ask("GET", "photos/1")).status == 200:
        time.sleep(0.002)
    assert said.code in ("grant_ended", "login_required")
    return time.monotonic() - begin


@edges
def test_an_ended_grant_is_refused_within_a_second(
    make_site: MakeSite, upstream: RecordingUpstream, door: str
):
    site = proxy_site(make_site, upstream, door)

    def trial(number: int) -> float:
        took = refused_after(signed_in(site, upstream, f"user{number}"), (number * 0.37) % 1)
        upstream.clear()
        return took

    with concurrent.futures.ThreadPoolExecutor(4 if TRIALS < 100 else 8) as pool:
        took = sorted(pool.map(trial, range(TRIALS)))
    if TRIALS > 10:
        median = took[TRIALS // 2]
        print(f"\n{door}: {TRIALS} trials, median {median:.3f} s, longest {took[-1]:.3f} s")
    assert took[-1] < AT_MOST


@edges
def test_a_longer_memory_ends_in_its_time(
    make_site: MakeSite, upstream: RecordingUpstream, door: str
):
    """Then the same question has the same key for longer, and its answer is replaced in place."""
    env = {"OAUTHBFF_EDGE_REMEMBER": "2"}
    site = make_site(upstreams=routes(upstream.url), env=env, **EDGES[door])
    jane = signed_in(site, upstream)
    assert jane.ask("GET", "photos/1").status == 200
    first, begin = upstream.requests[-1].token, time.monotonic()
    site.sql("UPDATE oauthbff_tokengrant SET access_expires_at = created_at")
    while upstream.requests[-1].token == first:
        assert jane.ask("GET", "photos/1").status == 200
    assert time.monotonic() - begin < 2 + AT_MOST - 1
    assert refused_after(jane, 0.3) < 2 + AT_MOST - 1


@edges
def test_without_django_what_is_remembered_runs_out_and_then_nothing_is_open(
    make_site: MakeSite, upstream: RecordingUpstream, door: str
):
    options = {"server": "gunicorn", "front": door}
    jane = signed_in(make_site(fresh=True, **options), upstream)
    assert jane.ask("GET", "photos/1").status == 200
    jane.site.halt()
    begin = time.monotonic()
    eventually(lambda: jane.ask("GET", "photos/1").status == 503, seconds=AT_MOST + 1)
    assert time.monotonic() - begin < AT_MOST + 0.5
    upstream.clear()
    for target in ("photos/1", "weather/1", "news/1"):
        said = jane.ask("GET", target)
        assert (said.status, said.code) == (503, "bff_unavailable"), target
        assert said.get("Retry-After") is not None
        assert json.loads(said.body)["code"] == "bff_unavailable"
        assert said.get("Cache-Control") == "no-store"
    assert jane.reached() == []
    jane.site.restart()
    jane.still_works()


@edges
def test_one_of_two_servers_dies_under_load_and_no_call_is_answered_wrongly(
    make_site: MakeSite, provider: NodeProvider, upstream: RecordingUpstream, door: str
):
    """Each call is answered by its own echo, or, if it was not sent, by a 503 of ours."""
    first = make_site(fresh=True, server="gunicorn", front=door, servers=2)
    crowd = [signed_in(first, upstream, f"user{number}") for number in range(4)]
    upstream.on("/photos/*", lambda call: answer(json.dumps({"t": call.target, "k": call.token})))
    tokens = {}
    for number, caller in enumerate(crowd):
        tokens[number] = json.loads(caller.ask("GET", "photos/who").body)["k"]
    assert len(set(tokens.values())) == len(crowd)
    upstream.clear()
    upstream.on("/photos/*", lambda call: answer(json.dumps({"t": call.target, "k": call.token})))
    ends = time.monotonic() + LOAD_SECONDS

    def work(number: int) -> list[str]:
        wrong, count = [], 0
        while time.monotonic() < ends:
            count += 1
            path = f"photos/{number}/{count}"
            said = crowd[number].ask("POST", path, "Content-Length: 0")
            right = {"t": f"/{path}", "k": tokens[number]}
            if said.status != 200 or json.loads(said.body) != right:
                wrong.append(f"{path}: {said.status} {said.code}")
        done.append(count)
        return wrong

    done: list[int] = []
    with concurrent.futures.ThreadPoolExecutor(len(crowd)) as pool:
        working = [pool.submit(work, number) for number in range(len(crowd))]
        time.sleep(LOAD_SECONDS / 2)
        first.kill()
        wrong = [line for one in working for line in one.result()]
    sent = [call.target for call in upstream.requests]
    assert len(sent) == len(set(sent))  # nothing was sent twice
    assert wrong == []
    assert len(sent) == sum(done)
    print(f"\n{door}: {sum(done)} calls in {LOAD_SECONDS:g} s, one server killed: all answered")


# ------------------------------------------------------------ routes that are handed on to the lane


@pytest.fixture
def handed_on(make_site: MakeSite, upstream: RecordingUpstream, door: str) -> Caller:
    """Jane, where the lane carries `photos` and what has WebSockets, and the proxy the rest."""
    how = {**EDGES[door], "lane_routes": ["photos"], "database": "postgresql"}
    how["env"] = {"GUNICORN_CMD_ARGS": "--access-logfile -"}
    return signed_in(make_site(fresh=True, upstreams=routes(upstream.url), **how), upstream)


@edges
def test_the_lane_behind_it_cuts_what_is_open_when_a_grant_ends(handed_on: Caller):
    jane, bob = handed_on, signed_in(handed_on.site, handed_on.upstream, "bob")
    with two_feeds(jane, bob) as (stream, others):
        assert jane.browser.fetch("logout/", "POST").status == 200
        ended = time.monotonic()
        assert list(stream.chunks) == []
        assert time.monotonic() - ended < 1.5
        assert b"".join(others.chunks) == b"data: never\n\n"  # the positive twin
    assert jane.ask("GET", "photos/1").status == 401  # at once: nobody remembers


@edges
def test_the_lane_behind_it_gets_the_call_as_it_came_and_the_browsers_address(handed_on: Caller):
    jane = handed_on
    asked_before = asked(jane.site)
    body, odd = b"x" * 200_000, "a%2fb/c%20d!(e)*'?q=%2F&r"
    for method, target in (("GET", "a!(b)*'?q=%2F&r=(!)"), ("POST", "1")):
        lines = [f"Content-Length: {len(body)}"] if method == "POST" else []
        said = jane.ask(method, f"photos/{target}", *lines, body=body if lines else b"")
        assert said.status == 200
        call = jane.upstream.requests[-1]
        assert (call.method, call.target) == (method, f"/photos/{target}")
        assert "for=127.0.0.1" in str(call.get("Forwarded"))
        assert call.token
    assert jane.upstream.requests[-1].length == len(body)
    assert jane.ask("GET", f"photos/{odd}").code == "bad_path"
    assert jane.ask("GET", "photos/1", ours=False).code == "csrf_failed"
    assert jane.ask("GET", "photos2/1").status == 200  # the rest is the proxy's as ever
    eventually(lambda: asked(jane.site) > asked_before)
    assert asked(jane.site) == asked_before + 1  # the lane judges


@edges
def test_without_the_lane_its_routes_are_503_and_the_others_stay(handed_on: Caller):
    jane = handed_on
    assert jane.ask("GET", "photos/1").status == 200
    jane.site.halt_lane()
    said = jane.ask("GET", "photos/1")
    assert (said.status, said.code) == (503, "bff_unavailable")
    assert said.get("Retry-After") is not None
    assert jane.ask("GET", "photos2/1").status == 200


@edges
@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("--lane-route photos", "--lane-route needs --lane HOST:PORT"),
        ("--lane 127.0.0.1:9 --lane-route nonsense", "nonsense: there is no such upstream"),
        ("--lane 127.0.0.1:9", 'no route has "websocket"'),
    ],
)
def test_a_lane_with_nothing_to_carry_is_refused(
    make_site: MakeSite, door: str, words: str, why: str
):
    site = make_site(server="gunicorn", front=door)
    assert why in site.manage("oauthbff_edge", door, *words.split(), expect=1)


# ----------------------------------------------------- what it does where it keeps a rule otherwise


@edges
def test_a_redirect_that_leaves_tells_nobody_where(jane: Caller):
    for location in ("https://evil.test/", "//evil.test/x", "/second/1", "../second/1", "/", "x:y"):
        jane.upstream.on("/photos/leaves", redirect(location, status=302))
        said = jane.ask("GET", "photos/leaves")
        status = 302 if jane.site.front == "nginx" else 502
        assert (said.status, said.get("Location")) == (status, None), location
    assert set(jane.reached()) == {"GET /photos/leaves"}


caddy = pytest.mark.parametrize("door", ["caddy"])


@caddy
def test_caddy_writes_some_signs_of_a_path_percent_encoded(jane: Caller):
    for path, sent in {
        "a!(b)*'": "a%21%28b%29%2A%27",
        "a!b%20c": "a!b%20c",
        "a$&+,;=:@": None,
    }.items():
        jane.upstream.clear()
        assert jane.ask("GET", f"photos/{path}?(!)").status == 200
        assert jane.reached() == [f"GET /photos/{sent or path}?(!)"]
    assert jane.ask("GET", "public/open/a!").code == "bad_path"  # judged as it was written


@caddy
def test_caddy_answers_an_asterisk_itself_and_reads_a_folded_line_as_one(jane: Caller):
    said = jane.ask("OPTIONS", "*", whole_target=True)
    assert (said.status, said.body) == (200, b"")
    assert jane.ask("GET", "photos/1", " X-Tenant: canary").code == "login_required"
    assert jane.reached() == []


@caddy
def test_caddy_gives_an_answer_without_a_type_one_that_no_browser_shows(jane: Caller):
    jane.upstream.on("/photos/1", answer(b"<html>", headers=[]))
    assert jane.ask("GET", "photos/1").get("Content-Type") == "application/octet-stream"
    jane.upstream.on("/photos/1", answer(b"", status=304, headers=[("ETag", '"x"')]))
    assert jane.ask("GET", "photos/1").get("Content-Type") is None


@caddy
def test_caddy_passes_an_interim_answer_on_and_then_the_answer(jane: Caller):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </x.css>; rel=preload\r\n\r\n"
    jane.upstream.on("/photos/1", raw(hint + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal"))
    wire = jane.ask("GET", "photos/1").wire
    assert wire.startswith(b"HTTP/1.1 103 ")
    assert b"\r\nHTTP/1.1 200 " in wire
    assert wire.endswith(b"\r\n\r\nfinal")


@caddy
def test_no_word_of_browser_or_api_is_a_placeholder_of_caddys(jane: Caller):
    word = "{http.request.header.Cookie}{env.OAUTHBFF_EDGE_SECRET}"
    assert jane.ask("GET", f"extra/1?{word}", f"X-Tenant: {word}").status == 200
    [call] = jane.upstream.requests
    assert (call.target, call.get("X-Tenant")) == (f"/extra/1?{word}", word)
    said = jane.ask("GET", f"photos/1?{word}", "Origin: https://evil.test")
    assert said.code == "csrf_failed"
    headers = [("Location", f"/extra/2?{word}"), ("X-Extra", word)]
    jane.upstream.on("/extra/1", answer(status=303, headers=headers))
    said = jane.ask("GET", "extra/1")
    assert (said.get("Location"), said.get("X-Extra")) == (f"/bff/api/extra/2?{word}", word)


@edges
def test_a_refused_token_is_told_and_nothing_is_refreshed(jane: Caller, provider: NodeProvider):
    refusal = [("WWW-Authenticate", 'Bearer error="invalid_token"')]
    jane.upstream.on("/photos/1", answer(b"theirs", status=401, headers=refusal))
    said = jane.ask("GET", "photos/1")
    assert (said.status, said.body, said.code) == (401, b"theirs", None)
    assert said.get("WWW-Authenticate") is None
    assert (len(jane.upstream.requests), provider.refreshes) == (1, 0)


@edges
def test_no_known_header_of_an_answer_acts_on_the_browser(jane: Caller):
    given = """Set-Cookie Clear-Site-Data Strict-Transport-Security Access-Control-Allow-Origin
        Access-Control-Allow-Credentials X-Accel-Redirect X-Sendfile WWW-Authenticate Refresh
        Alt-Svc Service-Worker-Allowed SourceMap Public-Key-Pins X-BFF-Error Authorization NEL
        Report-To
        Permissions-Policy Expires Age Pragma Content-Location X-Powered-By""".split()
    jane.upstream.on("/photos/1", answer(b"b", headers=[(name, "canary") for name in given]))
    said = jane.ask("GET", "photos/1")
    assert (said.status, said.body) == (200, b"b")
    assert b"canary" not in said.wire


@edges
def test_the_question_cannot_be_put_by_a_browser(jane: Caller):
    lines = [f"X-BFF-Edge: {EDGE_SECRET}", "X-Forwarded-Method: GET"]
    for target in (
        *("/bff/authorize/photos/", "/bff/%61uthorize/photos/", "/bff/./authorize/photos/"),
        *("/bff/x/../authorize/photos/", "//bff/authorize/photos/", "/oauthbff-asks/photos"),
    ):
        said = jane.ask(
            "GET", target, *lines, "X-Forwarded-Uri: /bff/api/photos/1", whole_target=True
        )
        assert said.status in (400, 404), target
        assert b"Bearer" not in said.wire, target


@edges
def test_neither_log_holds_a_query_a_cookie_or_a_token(jane: Caller):
    targets = "photos/1?access_token=canary-1 gone/1?code=canary-2 photos/a%2Fb?canary-3"
    for target in targets.split():
        jane.ask("GET", target)
    jane.ask("GET", "/bff/callback/?code=canary-4&state=x", whole_target=True)
    token = jane.upstream.requests[0].token
    logs = list((jane.site.folder / "edge").glob("*.log"))
    logs.append(jane.site.folder / "front.log")
    if jane.site.front == "nginx":
        time.sleep(1.5)  # each of its workers writes once a second
    text = "".join(log.read_text() for log in logs if log.exists())
    assert "/bff/api/photos/1" in text
    for secret in ("canary", str(token), jane.key.decode(), EDGE_SECRET):
        assert secret not in text


OWN_WORDS = {
    "nginx": "location /own/ {{ alias {folder}/; }}\nadd_header X-Own yes;\n",
    "caddy": "header X-Own yes\nhandle_path /own/* {{\n\troot * {folder}\n\tfile_server\n}}\n",
}


@edges
def test_a_sites_own_words_stand_beside_and_no_call_notices(
    make_site: MakeSite, upstream: RecordingUpstream, tmp_path: Path, door: str
):
    (tmp_path / "hello.txt").write_text("hello")
    own = tmp_path / "own.conf"
    own.write_text(OWN_WORDS[door].format(folder=tmp_path))
    jane = signed_in(make_site(server="gunicorn", front=door, front_include=own), upstream)

    mine = jane.ask("GET", "/own/hello.txt", whole_target=True)
    assert (mine.status, mine.body) == (200, b"hello")
    home = jane.ask("GET", "/", whole_target=True)
    assert (home.status, home.get("X-Own")) == (200, "yes")
    call = jane.ask("GET", "photos/1")
    assert (call.status, call.get("X-Own")) == (200, None)
    assert upstream.requests[-1].token
    assert jane.ask("GET", "/bff/authorize/photos/1", whole_target=True).status == 404
    assert jane.ask("GET", "photos/1", ours=False).code == "csrf_failed"


@edges
def test_the_configuration_is_its_owners_alone_and_is_checked(make_site: MakeSite, door: str):
    site: Any = make_site(server="gunicorn", front=door)
    file = site.folder / "edge" / "configuration"
    assert file.stat().st_mode & 0o777 == 0o600
    assert EDGE_SECRET in file.read_text()
    assert f"{door} takes it" in site.manage("oauthbff_edge", door, "--check")
    said = site.manage("oauthbff_edge", door, "--check", "--listen", "nonsense {", expect=1)
    assert f"{door} refuses it" in said
