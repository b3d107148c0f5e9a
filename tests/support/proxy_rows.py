"""What is demanded of the proxy, row by row, and the tests that show it. See docs/proxy.md.

A test is named by its file, without `test_` and `.py`, and its name, without `test_`:
`proxy_door.rp1_pt12_only_…`; a name may end in … if it is still one test's alone.
"""

from __future__ import annotations

#: The rows, section by section: id, what is kept, the tests.
Row = tuple[str, str, str]

ARCHITECTURE: list[Row] = [
    ("AR-1", "a confidential client, at each question to the provider",
     "client_auth.private_key_jwt_signs_in… certification.client_secret_basic_by_the_letter"),
    ("AR-2", "the authorization code grant and no other",
     "certification.state_nonce_and_challenge… certification.a_link_cannot_change_the_request"),
    ("AR-3", "no token in anything the browser gets",
     "canary.no_secret_reaches… proxy_headers.ar3_an_upstream_that_echoes…"),
    ("AR-4", "`session/` says who, by an allow-list, and stores nothing",
     "cookies_and_pages.ar4_ar7_no_door_gives_a_token_away"),
    ("AR-5", "sign-in is a navigation", "journeys.a_login_is_a_navigation"),
    ("AR-6", "our cookie stays, the token goes along once",
     "proxy_headers.rh1_no_cookie_of_ours… proxy_door.ar6_whose_token_goes_along"),
    ("AR-7", "no door hands a token out", "cookies_and_pages.ar4_ar7_no_door_gives_a_token_away"),
    ("AR-8", "no body in a log, at any level", "proxy_crowd.ar8_no_body_is_in_the_log…"),
    ("AR-9", "the API's 429 and `Retry-After` pass, nothing is repeated",
     "proxy_door.rs10_rs16_what_is_our_fault…"),
    ("AR-10", "a token per `resource`, and none goes to another route",
     "refresh_provider.no_route_ever_gets_the_token_of_another "
     "refresh_provider.a_resource_is_asked_for_once…"),
    ("AR-11", "the access token is opaque to us",
     "refresh_provider.no_lifetime_however_odd… "
     "refresh_provider.without_a_lifetime_only_the_api_knows…"),
]  # fmt: skip

COOKIES: list[Row] = [
    ("CK-1", "`Secure`, on each cookie and its deletion", "cookies_and_pages.ck1_to_ck6…"),
    ("CK-2", "`HttpOnly`", "cookies_and_pages.ck1_to_ck6…"),
    ("CK-3", "`SameSite=Strict`; `Lax` on the cookie of a sign-in under way",
     "cookies_and_pages.ck1_to_ck6… journeys.the_strict_session_cookie_is_absent…"),
    ("CK-4", "`Path=/`", "cookies_and_pages.ck1_to_ck6…"),
    ("CK-5", "no `Domain`; a setting that adds one is found by `check`",
     "cookies_and_pages.ck1_to_ck6… checks.a_site_put_together_wrongly…"),
    ("CK-6", "the prefix `__Host-Http-`",
     "cookies_and_pages.ck1_to_ck6… checks.a_site_put_together_wrongly…"),
    ("CK-7", "read by its exact bytes; an ambiguous one is none",
     "proxy_csrf.a2_ck7_more_than_one_clean… proxy_csrf.a2_one_clean_cookie_among_others…"),
    ("CK-8", "long, random, and says nothing", "cookies_and_pages.ck8_a_session_key…"),
    ("CK-9", "below 4 kB, whatever the claims",
     "cookies_and_pages.ck1_to_ck6… journeys.long_odd_and_hostile_claims…"),
    ("CK-10", "never outlives what the provider gave",
     "refresh_provider.a_provider_without_refresh_tokens…"),
    ("CK-11", "deleted with the same attributes", "cookies_and_pages.ck1_to_ck6…"),
    ("CK-12", "at most five sign-ins under way", "certification.five_logins_at_most"),
]  # fmt: skip

FORGERY: list[Row] = [
    ("CS-1", "a sibling subdomain's page gets through no door",
     "proxy_csrf.no_foreign_page_gets_through…"),
    ("CS-2", "our header on every call, GET too; the doors are read from the URLconf",
     "proxy_csrf.no_foreign_page_gets_through… proxy_csrf.cs2_every_door_of_the_urlconf…"),
    ("CS-3", "before the session, a refresh or a token",
     "proxy_csrf.cs3_the_header_is_asked_for… proxy_door.refusals_in_their_order…"),
    ("CS-4", "no preflight is granted", "proxy_csrf.cs4_no_preflight…"),
    ("CS-5", "the API's CORS headers stay here", "proxy_headers.cs5_rs3_rs9_nothing_that_acts…"),
    ("CS-6", "`Sec-Fetch-Site`, else `Origin`, else the header",
     "proxy_csrf.no_foreign_page_gets_through… proxy_csrf.cs6_rh4_our_own_page… "
     "origin.only_our_own_page_may_call"),
    ("CS-7", "the callback takes a window from elsewhere, no frame, image or script",
     "certification.only_a_window_that_gets… origin.a_navigation_is_told_from_a_fetch"),
    ("CS-8", "nothing changes on GET or HEAD", "proxy_csrf.cs8_a7_no_foreign_page_logs… "
     "certification.only_a_window_that_gets…"),
    ("CS-9", "forms take Django's token", "journeys.logout_by_form_needs_djangos_token…"),
    ("CS-10", "the provider's own door is exempt", "proxy_csrf.cs10_the_providers_door…"),
    ("CS-11", "no page of ours is framed", "cookies_and_pages.cs11_no_page_of_ours…"),
    ("CS-12", "markup of an API is no page of ours",
     "proxy_headers.cs12_rs15_markup… cookies_and_pages.cs11_no_page_of_ours…"),
]  # fmt: skip

ROUTING: list[Row] = [
    ("RP-1", "a closed list of upstreams, methods and paths; else no connection at all",
     "proxy_door.rp1_pt12_only_an_alias… proxy_door.rh16_the_routes_own_methods "
     "proxy_paths.pt13_the_routes_patterns…"),
    ("RP-2", "the browser names no destination",
     "proxy_door.rp2_no_header_chooses… proxy_reach.rp2_rp3_no_path_query_or_header…"),
    ("RP-3", "host, port and prefix are the configured ones, whatever is asked (hypothesis)",
     "proxy_reach.rp2_rp3_no_path_query_or_header… "
     "forwarding.whatever_is_asked_the_target_stays… forwarding_call.rp3_whatever_is_said…"),
    ("RP-4", "https, no user, query, fragment; at start",
     "conf.rp4_rp6_rp7_a_routes_mistake… proxy_reach.rp4_rp6_rp7_a_server_does_not_start…"),
    ("RP-5", "the certificate is the host's, whatever DNS says; there is no list of addresses",
     "proxy_reach.rp5_rp6_who_cannot_prove…"),
    ("RP-6", "no call goes round: found at start, else refused at the second door",
     "proxy_reach.rp5_rp6_who_cannot_prove… proxy_reach.rp4_rp6_rp7_a_server… "
     "conf.rp6_a_neighbour_on_this_machine…"),
    ("RP-7", "the provider is no upstream unless it is said",
     "conf.rp7_the_provider_is_no_upstream… proxy_reach.rp4_rp6_rp7_a_server…"),
]  # fmt: skip

_REFUSED = "proxy_paths.what_two_programs_could_read… forwarding.an_ambiguous_path_is_refused"
PATHS: list[Row] = [
    ("PT-1", "dot segments: 400", _REFUSED),
    ("PT-2", "encoded dot segments: 400", _REFUSED),
    ("PT-3", "double, overlong and odd encodings: 400", _REFUSED),
    ("PT-4", "`%2F` and `%5C`: 400; there is no way to let them through", _REFUSED),
    ("PT-5", "empty segments: 400", _REFUSED),
    ("PT-6", "backslashes: 400", _REFUSED),
    ("PT-7", "`..;` as Tomcat reads it: 400", _REFUSED),
    ("PT-8", "`%3F` and `%23` stay what they are", "proxy_paths.what_is_unambiguous…"),
    ("PT-9", "control characters, blanks, raw UTF-8: 400",
     f"{_REFUSED} proxy_paths.pt9_a_space_ends… proxy_paths.pt9_a_path_cannot_add…"),
    ("PT-10", "`@evil`, `:80@`, `.evil`: under the prefix; `http://`: 400",
     f"proxy_paths.what_is_unambiguous… {_REFUSED}"),
    ("PT-11", "absolute, asterisk and authority form",
     "proxy_door.only_a_target_in_origin_form… proxy_door.pt11_an_absolute_form…"),
    ("PT-12", "names are matched whole and to the letter",
     "proxy_door.rp1_pt12_only_an_alias… proxy_door.pt12_the_door_itself… "
     "proxy_door.pt12_aliases_that_begin_alike…"),
    ("PT-13", "patterns judge the very string that is sent",
     "proxy_paths.pt13_the_routes_patterns… proxy_paths.pt13_a_fragment…"),
    ("PT-14", "8 kB of path, 16 kB of query", _REFUSED),
    ("PT-15", "no redirect to a slash", "proxy_paths.pt15_nothing_is_redirected…"),
    ("PT-16", "`access_token=` passes, and is no credential here",
     "proxy_paths.what_is_unambiguous…"),
]  # fmt: skip

REQUEST_HEADERS: list[Row] = [
    ("RH-1", "no cookie passes, in any spelling, on any route",
     "proxy_headers.rh1_no_cookie_of_ours… proxy_headers.rh1_nothing_that_two_cookie_lines…"),
    ("RH-2", "the browser's credentials stay here, ours go once",
     "proxy_headers.rh2_rh6_what_the_browser_claims… proxy_door.ar6_whose_token…"),
    ("RH-3", "hop-by-hop headers, and what `Connection` names",
     "proxy_headers.rh3_hop_by_hop… proxy_headers.rh3_rh4_the_connection_header…"),
    ("RH-4", "taken out before ours are added",
     "proxy_headers.rh3_rh4_the_connection_header… proxy_csrf.cs6_rh4_our_own_page…"),
    ("RH-5", "no spelling of a name gets through", "proxy_headers.rh5_no_spelling…"),
    ("RH-6", "what claims who is calling never passes; `Forwarded` is our word",
     "proxy_headers.rh2_rh6_what_the_browser_claims… proxy_headers.rh6_rh7_our_word…"),
    ("RH-7", "`Host` and `Via`", "proxy_headers.rh6_rh7_our_word…"),
    ("RH-8", "no `Referer`, `Origin`, `Sec-*`, `User-Agent`",
     "proxy_headers.rh2_rh6_what_the_browser… proxy_headers.rh8_rh12_what_an_api_needs…"),
    ("RH-9", "values are clean or do not pass",
     "proxy_headers.rh9_a_value_is_clean… proxy_headers.rh9_a_value_beyond_ascii…"),
    ("RH-10", "framed anew: no request becomes two",
     "proxy_bodies.rh10_no_framing_makes_two… proxy_bodies.rh10_a_refused_body…"),
    ("RH-11", "the browser's `Accept-Encoding`, else `identity`; bytes untouched",
     "proxy_bodies.rh11_rs8_compressed_bytes… proxy_headers.rh11_without_a_wish…"),
    ("RH-12", "ranges and conditions are the API's to judge, and nobody's after it",
     "proxy_bodies.rh12_conditions_and_ranges… proxy_crowd.rh12_a_part_does_not…"),
    ("RH-13", "`Expect` is answered here; a refusal does not wait for the body",
     "proxy_bodies.rh13_expect_100… proxy_bodies.rh13_rb2_a_refusal_does_not_wait…"),
    ("RH-14", "`TRACE`, `CONNECT`, `Max-Forwards`",
     "proxy_door.rh14_rh16_an_unknown_verb… proxy_door.only_a_target_in_origin_form…"),
    ("RH-15", "given twice: one, or refused", "proxy_headers.rh15_a_header_given_twice…"),
    ("RH-16", "each route its methods; no override",
     "proxy_door.rh16_the_routes_own_methods proxy_door.rh14_rh16_an_unknown_verb… "
     "proxy_door.rp2_no_header_chooses…"),
]  # fmt: skip

BODIES: list[Row] = [
    ("RB-1", "constant memory, both ways",
     "proxy_memory.rb1_a_body_of_any_size… proxy_bodies.rb1_an_upload_streams "
     "proxy_bodies.rb1_30_megabytes…"),
    ("RB-2", "`max_body`: refused early by its length, given up as it grows",
     "proxy_bodies.rb2_a_body_that_is_too_large… proxy_bodies.rb2_a_chunked_body_that_grows… "
     "proxy_bodies.rh13_rb2_a_refusal…"),
    ("RB-3", "byte-identical, of any type, parsed by nobody; 411 where a server cannot read it",
     "proxy_bodies.a_body_arrives_byte_identical proxy_bodies.rb3_a_chunked_body_arrives_whole "
     "proxy_bodies.rb3_runserver_cannot_read… proxy_crowd.rb3_no_middleware…"),
    ("RB-4", "a browser that leaves leaves no whole request",
     "proxy_bodies.rb4_a_browser_that_leaves…"),
    ("RB-5", "a body that stalls gives its worker back",
     "proxy_limits.rb5_a_body_that_stalls… proxy_limits.rb5_stalled_uploads…"),
    ("RB-6", "a body of no bytes, and none", "proxy_bodies.rb6_a_get_or_delete… "
     "proxy_bodies.a_body_arrives_byte_identical"),
    ("RB-7", "a trailer is no header", "proxy_bodies.rb7_a_trailer_is_no_header"),
]  # fmt: skip

RESPONSES: list[Row] = [
    ("RS-1", "hop-by-hop headers stay there", "proxy_headers.rs1_hop_by_hop…"),
    ("RS-2", "no API sets a cookie", "proxy_headers.rs2_no_upstream_sets_a_cookie"),
    ("RS-3", "nothing that acts on the browser or the front server",
     "proxy_headers.cs5_rs3_rs9_nothing_that_acts…"),
    ("RS-4", "redirects are not followed; rewritten within the upstream, else 502",
     "proxy_headers.rs4_a_redirect_within… proxy_headers.rs4_a_redirect_that_leaves… "
     "proxy_headers.rs4_neither_refresh… proxy_headers.rs4_a_relative_redirect…"),
    ("RS-5", "interim answers are swallowed (RFC 9110 would have them passed on)",
     "proxy_bodies.rs5_an_interim_answer…"),
    ("RS-6", "204, 304, HEAD: no body; after an illegal one the connection goes",
     "proxy_bodies.rs6_head_has… proxy_bodies.rs6_an_answer_that_has_no_body… "
     "proxy_mixing.a19_rs6_rs7_a_malformed_answer…"),
    ("RS-7", "cut off there looks cut off here",
     "proxy_bodies.an_answer_that_is_cut_off… proxy_bodies.rs7_rh10_an_answer_framed_twice… "
     "proxy_bodies.rs7_an_answer_in_any_legal_framing… "
     "proxy_fuzz.rs7_an_answer_that_two_readers…"),
    ("RS-8", "`max_answer` and `total` where a route sets them; nothing is decompressed",
     "proxy_limits.rs8_an_answer_over_the_limit… proxy_bodies.rh11_rs8_compressed_bytes…"),
    ("RS-9", "no native password prompt", "proxy_headers.rs9_a_native_password_prompt…"),
    ("RS-10", "502, 504, and whose fault it is in `X-BFF-Error`",
     "proxy_door.rs10_rs16_what_is_our_fault… proxy_bodies.rs10_nonsense_of_an_upstream…"),
    ("RS-11", "`private, no-store`; with `cache`, this one browser",
     "proxy_headers.rs11_by_default… proxy_headers.rs11_a_route_that_allows_it… "
     "proxy_headers.rs11_a_no_store_in_another_line… proxy_headers.rs11_vary_cookie…"),
    ("RS-12", "no middleware compresses it", "proxy_crowd.rs12_nothing_is_compressed…"),
    ("RS-13", "headers given twice are all there", "proxy_headers.rs13_headers_given_twice…"),
    ("RS-14", "no value splits the answer", "proxy_headers.rs14_a_value_cannot_split…"),
    ("RS-15", "`nosniff`, a sandbox", "proxy_headers.cs12_rs15_markup… "
     "proxy_headers.rs15_an_answer_without_a_type…"),
    ("RS-16", "no host, exception or token in an error, `DEBUG` or not",
     "proxy_door.rs10_rs16_what_is_our_fault… proxy_crowd.rs16_debug_tells…"),
]  # fmt: skip

TIME: list[Row] = [
    ("ST-1", "events at once; let go within two seconds of the browser; cut when the grant ends",
     "proxy_streams.st1_the_first_event… proxy_streams.st1_the_upstream_is_let_go… "
     "proxy_streams.st1_many_idle_streams… proxy_streams.st1_a_browser_that_leaves_before… "
     "endings.an_event_stream_is_cut…"),
    ("ST-2", "a stream outlives its token, not its grant",
     "proxy_streams.st2_a_stream_outlives_a_logout… endings.an_event_stream_is_cut…"),
    ("ST-3", "no upgrade is granted by this door",
     "proxy_streams.st3_no_upgrade… proxy_bodies.rs10_st3_a_switch…"),
    ("ST-4", "connect, first byte, idle, total; a browser that does not read",
     "proxy_streams.st4_connecting_takes_too_long… proxy_streams.st4_no_first_byte… "
     "proxy_streams.st4_an_answer_that_falls_silent… proxy_limits.st4_a_call_has_an_end… "
     "proxy_limits.st4_a_browser_that_does_not_take…"),
    ("ST-5", "a compartment and a breaker for each upstream",
     "proxy_bulkhead.st5_a_silent_upstream… proxy_bulkhead.st5_the_breaker_opens… "
     "proxy_bulkhead.st5_event_streams_have… proxy_bulkhead.st5_a_place_is_free_again…"),
    ("ST-6", "no transaction while an upstream thinks, `ATOMIC_REQUESTS` or not",
     "proxy_streams.st6_no_database_lock… proxy_crowd.st6_no_transaction_is_open…"),
]  # fmt: skip

RETRY: list[Row] = [
    ("3.7 invalid_token", "a Bearer challenge `invalid_token`: one refresh, one more try",
     "proxy_bodies.37_a_refused_token_is_refreshed_once… proxy_bodies.37_a_bearer_challenge…"),
    ("3.7 other 401", "passed on without its challenge, no refresh",
     "proxy_bodies.37_any_other_refusal… proxy_bodies.37_the_words_invalid_token_elsewhere…"),
    ("3.7 403", "passed on, no refresh", "proxy_bodies.37_any_other_refusal…"),
    ("3.7 held bodies", "up to 64 kB sent again; a larger upload gets the 401, the next call the "
     "new token", "proxy_bodies.37_an_upload_is_not_repeated… "
     "forwarding_call.37_what_is_held_can_be_sent_again"),
    ("3.7 POST, PATCH", "sent once, whatever happens", "proxy_bodies.37_a_post_is_sent_once…"),
    ("3.7 GET, HEAD, PUT, DELETE", "once more on a kept connection that was dead",
     "proxy_bodies.37_a_get_is_repeated_once… proxy_bodies.37_a_kept_connection_that_died…"),
    ("3.7 second 401", "passed on, ends nothing", "proxy_bodies.37_a_second_401…"),
    ("3.7 429, 503", "passed on with `Retry-After`", "proxy_door.rs10_rs16_what_is_our_fault…"),
]  # fmt: skip

ATTACKS: list[Row] = [
    ("A.2", "cookie tossing", "proxy_csrf.a2_ck7_more_than_one_clean… "
     "proxy_csrf.a2_a_jar_that_overflows… certification.a_planted_login_cookie…"),
    ("A.7", "forged logout", "proxy_csrf.cs8_a7_no_foreign_page_logs…"),
    ("A.13", "requests of our making to a place of theirs",
     "proxy_reach.a13_nothing_that_is_said… certification.metadata_that_redirect"),
    ("A.17", "smuggled identity", "proxy_headers.rh2_rh6_what_the_browser_claims… "
     "proxy_headers.rh5_no_spelling… proxy_headers.rh3_rh4_the_connection_header…"),
    ("A.18", "caches", "proxy_headers.rs11_by_default… proxy_headers.rs11_a_route_that_allows_it…"),
    ("A.19", "one person's answer to another",
     "proxy_mixing.a19_every_answer_and_every_token… proxy_mixing.a19_pf8_no_cookie… "
     "proxy_mixing.a19_a_browser_that_leaves… proxy_mixing.a19_rs6_rs7… "
     "proxy_fuzz.a19_malformed_requests…"),
]  # fmt: skip

PLATFORM: list[Row] = [
    ("DRF bodies", "not parsed, not negotiated, no 415, 406 or `?format=`",
     "proxy_bodies.a_body_arrives_byte_identical proxy_drf.no_accept_and_no_format… "
     "proxy_drf.a_permission_that_asks_for_the_body…"),
    ("DRF rules", "permissions and throttles, `request.user`, `request.auth`",
     "proxy_drf.whatever_a_permission_raises… proxy_drf.request_user_and_request_auth… "
     "proxy_drf.a_throttle_counts…"),
    ("own views", "`BFFAuthentication`: the doors' header rule, 401 and 403",
     "views.the_header_rule_is_that_of_the_doors views.nobody_is_401… "
     "views.the_view_of_the_page_calls_an_api…"),
    ("ATOMIC_REQUESTS", "what was refreshed or ended stays so",
     "refresh.a_rotated_token_survives… proxy_crowd.st6_an_ending_stays…"),
    ("streams", "chunk by chunk under WSGI and ASGI",
     "proxy_streams.st1_the_first_event… proxy_streams.st1_a_long_download…"),
    ("raw target", "from the server, else only what is certain",
     "proxy_paths.pf5_a_server_that_hides… forwarding_call.pf5_the_target_is_taken…"),
]  # fmt: skip

SECTIONS: dict[str, list[Row]] = {
    "Architecture": ARCHITECTURE,
    "Cookies": COOKIES,
    "Forged calls and framing": FORGERY,
    "Routing": ROUTING,
    "Paths and queries": PATHS,
    "Request headers": REQUEST_HEADERS,
    "Request bodies": BODIES,
    "Answers": RESPONSES,
    "Streams and time": TIME,
    "Refused tokens and repeating": RETRY,
    "Attacks": ATTACKS,
    "Django and DRF": PLATFORM,
}
#: How many rows each family has: none is forgotten.
FAMILIES = {
    "AR": 11, "CK": 12, "CS": 12, "RP": 7, "PT": 16, "RH": 16, "RB": 7, "RS": 16, "ST": 6,
}  # fmt: skip
