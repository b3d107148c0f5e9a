"""What a proxy in front does otherwise than Django's own door: the rows of docs/edge.md's table.

Each names the tests of the shared suite that show it; there, behind that proxy, they must fail.
What it does instead is asserted in test_edge.py. Nothing is marked anywhere else.
"""

# ruff: noqa: E501 - cells of a table

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Deviation:
    #: What Django's own door does.
    rule: str
    #: Proxy → what it does instead.
    instead: dict[str, str]
    #: Test names; with `[…]`, that parameter only.
    tests: tuple[str, ...]


DEVIATIONS = (
    Deviation(
        "Of an answer only the headers of an allow-list reach the browser, not what `Connection` names in it.",
        {
            "nginx": "It has no allow-list for answers. Everything known to act on a browser or a front server is "
            "taken out by name; a header that nobody knows passes."
        },
        (
            "test_cs5_rs3_rs9_nothing_that_acts_on_the_browser_or_the_front_server_passes",
            "test_rs1_hop_by_hop_headers_of_the_upstream_stay_there",
            "test_ar3_an_upstream_that_echoes_the_token_is_all_that_could_leak_it",
        ),
    ),
    Deviation(
        "A token that the API refuses before its time is refreshed once, and the call repeated.",
        {
            "nginx": "The 401 passes on; the next refresh is when the token is due.",
            "caddy": "The same as nginx.",
        },
        (
            "test_37_a_refused_token_is_refreshed_once_and_the_call_repeated_once",
            "test_37_an_upload_is_not_repeated_but_the_next_call_has_a_new_token",
            "test_37_a_second_401_is_relayed_and_ends_nothing",
            "test_37_a_bearer_challenge_is_found_among_others",
            "test_a19_every_answer_and_every_token_is_the_callers_own",
        ),
    ),
    Deviation(
        "A redirect that leaves the upstream is a 502.",
        {"nginx": "It passes, without its `Location`."},
        (
            "test_rs4_a_redirect_that_leaves_the_upstream_ends_here",
            "test_a13_nothing_that_is_said_to_us_is_fetched",
        ),
    ),
    Deviation(
        "A relative redirect is resolved.",
        {
            "nginx": "A plain one passes as it is, which leads to the same place. One that climbs (`../`, `./`) passes "
            "without its `Location`.",
            "caddy": "A plain one passes as it is, which leads to the same place. One that climbs (`../`, `./`) is a "
            "502, and so is a redirect that has no `Location`.",
        },
        ("test_rs4_a_relative_redirect_is_relative_to_what_was_asked",),
    ),
    Deviation(
        "A header that comes in several lines is read as one list.",
        {
            "nginx": "Before 1.23 it reads the first line only: of `Cache-Control` (a route with `cache`), of "
            "`Connection`, of `X-BFF`. Cookies are all read."
        },
        (
            "test_rs11_a_no_store_in_another_line_is_not_lost",
            "test_rh3_rh4_the_connection_header_removes_what_it_names_and_nothing_of_ours",
            "test_rh15_a_header_given_twice_is_one_or_refused_and_ours_is_single",
        ),
    ),
    Deviation(
        "A header that is folded over two lines is refused.",
        {
            "caddy": "It is read as one line. A cookie that goes on in the next line is no session (401)."
        },
        ("test_rh5_no_spelling_smuggles_a_header_name",),
    ),
    Deviation(
        "A path reaches the API as the browser wrote it, to the byte.",
        {
            "caddy": "`!`, `'`, `(`, `)` and `*` arrive percent-encoded if nothing else in the path is. Django judges what "
            "the browser wrote."
        },
        ("test_what_is_unambiguous_arrives_byte_identical[PT-0-characters]",),
    ),
    Deviation(
        "`OPTIONS *` is refused.",
        {"caddy": "It is answered by Caddy's HTTP server itself: an empty 200."},
        ("test_only_a_target_in_origin_form_is_forwarded[PT-11-asterisk-form]",),
    ),
    Deviation(
        "A request target in absolute form is refused.",
        {"nginx": "It is read as its path, if its host is ours; any other host is a 400."},
        (
            "test_pt11_an_absolute_form_is_refused_or_goes_to_the_configured_host[http://localhost:9]",
        ),
    ),
    Deviation(
        "A malformed first line is refused at once; a site that breaks says 500 at each of our doors.",
        {
            "nginx": "It waits for the rest of a head that it does not take for one, up to its header timeout; nobody "
            "gets as far as `authorize/` (404)."
        },
        ("test_rp2_rp3_no_path_query_or_header_reaches_another_host_port_or_prefix",),
    ),
    Deviation(
        "An answer may have `max_answer` bytes and take `timeouts.total` seconds at most.",
        {
            "nginx": "It knows neither limit: an answer ends when the API ends it, or is silent for `idle` seconds.",
            "caddy": "The same as nginx; its clock for silence runs for up to 10 seconds longer.",
        },
        (
            "test_rs8_an_answer_over_the_limit_is_refused_or_cut_off",
            "test_st4_a_call_has_an_end_however_busy_its_upstream_looks",
        ),
    ),
    Deviation(
        "An answer of whose body not a byte came is a 502.",
        {
            "nginx": "Its head has gone on by then: a 200 that is cut off.",
            "caddy": "The same as nginx.",
        },
        ("test_rs7_an_answer_that_ends_before_its_body_begins_is_a_502",),
    ),
    Deviation(
        "An empty `Origin` is a foreign one.",
        {
            "nginx": "It is none. Browsers send none that is empty, and `X-BFF: 1` is asked for all the same."
        },
        ("test_no_foreign_page_gets_through_any_door_with_any_method[CS-6]",),
    ),
    Deviation(
        "An interim answer (103) is skipped.",
        {
            "nginx": "It takes it for the answer. Let the API send no 103 to a proxy.",
            "caddy": "It passes it on, with all its headers, before the answer.",
        },
        (
            "test_rs5_an_interim_answer_is_not_the_answer",
            "test_a19_rs6_rs7_a_malformed_answer_to_one_does_not_bleed_into_anothers[interim-102",
            "test_a19_rs6_rs7_a_malformed_answer_to_one_does_not_bleed_into_anothers[interim-103",
        ),
    ),
    Deviation(
        "An answer that is no HTTP, or switches protocols unasked, is a 502.",
        {
            "nginx": "It passes what is not HTTP on as HTTP/0.9, and follows an upstream that switches protocols."
        },
        (
            "test_rs10_nonsense_of_an_upstream_is_a_bad_gateway",
            "test_rs10_st3_a_switch_of_protocols_that_nobody_asked_for_is_a_bad_gateway",
            "test_rs10_rs16_what_is_our_fault_and_what_is_theirs",
            "test_a19_rs6_rs7_a_malformed_answer_to_one_does_not_bleed_into_anothers[interim-101",
            "test_a19_rs6_rs7_a_malformed_answer_to_one_does_not_bleed_into_anothers[broken]",
        ),
    ),
    Deviation(
        "An answer with hundreds of header lines is a 502.",
        {"caddy": "It is one of more than 64 kB of them."},
        ("test_rs10_nonsense_of_an_upstream_is_a_bad_gateway",),
    ),
    Deviation(
        "An answer whose framing contradicts itself is broken off.",
        {"nginx": "Of two lengths it takes one, and it passes the body of a 205."},
        (
            "test_rs6_an_answer_that_has_no_body_gets_none[205]",
            "test_an_answer_that_is_cut_off_looks_cut_off[RS-7-lengths]",
        ),
    ),
    Deviation(
        "A connection on which an API broke HTTP is not used again.",
        {
            "nginx": "After a 304 with a length it is: bytes that a broken API sends late are the next caller's answer. "
            "For an API that you do not trust to speak HTTP, take `keepalive` out of its upstream block "
            "(`--no-keepalive`).",
            "caddy": "The same as nginx: `keepalive off` in its `transport` (`--no-keepalive`).",
        },
        (
            "test_a19_rs6_rs7_a_malformed_answer_to_one_does_not_bleed_into_anothers[without-a-body]",
        ),
    ),
    Deviation(
        "An answer that is cut off looks cut off.",
        {
            "caddy": "Before 2.8 (Debian 12 has 2.6) one in chunks ends as if it were whole, with what has come of it. "
            "One with a `Content-Length` looks cut off."
        },
        (
            "test_an_answer_that_is_cut_off_looks_cut_off[RS-7-chunk]",
            "test_an_answer_that_is_cut_off_looks_cut_off[RS-7-inside-a-chunk]",
            "test_an_answer_that_is_cut_off_looks_cut_off[RS-7-no-last-chunk]",
            "test_an_answer_that_is_cut_off_looks_cut_off[RS-7-not-a-chunk]",
            "test_st4_an_answer_that_falls_silent_is_cut_off[chunked]",
        ),
    ),
    Deviation(
        "An answer without a type is given none.",
        {"caddy": "It is `application/octet-stream`: else Caddy would guess one."},
        ("test_rs15_an_answer_without_a_type_is_given_none",),
    ),
    Deviation(
        "A GET whose kept connection turns out dead is sent once more, on a new one.",
        {
            "nginx": "It tries each kept connection in turn. POST and PATCH are never sent twice.",
            "caddy": "The same as nginx; also a POST without a body that has an `Idempotency-Key`.",
        },
        ("test_37_a_get_is_repeated_once_at_most",),
    ),
    Deviation(
        "`max_calls`, `max_streams` and `breaker` keep a slow API in its own compartment.",
        {
            "nginx": "`max_conns` is the sum of the first two, for each worker process; there is no breaker for a "
            "single server. A waiting call occupies nobody else: nginx waits for thousands.",
            "caddy": "Their sum is one compartment, and a full one is the same refusal; there is no breaker. A waiting "
            "call occupies nobody else.",
        },
        (
            "test_st5_a_silent_upstream_fills_its_own_places_and_no_other",
            "test_st5_event_streams_have_places_of_their_own",
            "test_a_route_has_so_many_places",
            "test_st5_the_breaker_opens_tries_once_and_closes",
        ),
    ),
    Deviation(
        "An open WebSocket is closed (4401) within a second of its grant's end. (The lane; Django's own door carries "
        "none.)",
        {
            "nginx": "A new one is refused within that second; an open one stays open for as long as the API talks. See "
            "[WebSockets](#websockets).",
            "caddy": "The same as nginx; a new one is refused at once.",
        },
        ("test_what_is_open_is_closed_when_its_grant_ends",),
    ),
    Deviation(
        "A message of a WebSocket has a limit (1009); a side that hangs up is told to the other (1011, 1001).",
        {
            "nginx": "It carries bytes and knows no messages: the API has to limit them, and a side that hangs up has "
            "hung up (1006).",
            "caddy": "The same as nginx.",
        },
        (
            "test_a_message_that_is_too_large_closes",
            "test_each_side_is_told_when_the_other_hangs_up",
        ),
    ),
    Deviation(
        "A handshake that has a body is none.",
        {
            "caddy": "One whose body comes in chunks is handed on as one, body and all. No page can send it."
        },
        ("test_what_has_a_body_is_no_handshake[chunked",),
    ),
    Deviation(
        "An API that opens no WebSocket when it is asked for one is a 502.",
        {"nginx": "Its answer passes. A browser shows a page none of it."},
        ("test_an_upstream_that_says_no_is_a_bad_gateway",),
    ),
    Deviation(
        "A permission that reads the body is told 415.",
        {
            "nginx": "The body is not there: the permission sees an empty one.",
            "caddy": "The same as nginx.",
        },
        ("test_a_permission_that_asks_for_the_body_gets_none_and_takes_none",),
    ),
)


def deviation(proxy: str, test: str) -> Deviation | None:
    """The row that a test of the shared suite shows, behind this proxy; None: it must pass."""
    for row in DEVIATIONS:
        for name in row.tests if proxy in row.instead else ():
            plain, _, value = name.rstrip("]").partition("[")
            if test.startswith(f"{plain}[") and value in test.partition("[")[2]:
                return row
    return None


def table() -> str:
    """The rows as docs/edge.md has them."""
    proxies = ("nginx", "caddy")
    lines = ["| Django's own door | nginx | Caddy |", "|---|---|---|"]
    for row in DEVIATIONS:
        cells = [row.instead.get(proxy, "the same") for proxy in proxies]
        lines.append(f"| {row.rule} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
