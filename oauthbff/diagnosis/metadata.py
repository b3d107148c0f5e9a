"""What the provider's metadata says of it, point by point. Pure.

OIDC Discovery 1.0 §3; RFC 8414 §2.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from oauthbff import claims, client_auth
from oauthbff.conf import SIGNATURE_ALGORITHMS, Conf, is_loopback

from .finding import Finding, ok, plain, problem, warning

ENDPOINTS = ("authorization_endpoint", "token_endpoint", "jwks_uri")
MORE_ENDPOINTS = (
    "userinfo_endpoint",
    "revocation_endpoint",
    "end_session_endpoint",
    "pushed_authorization_request_endpoint",
)


def judge_metadata(
    document: Mapping[str, Any], settings: Conf, *, method: str | None
) -> list[Finding]:
    """Return what there is to say of the metadata.

    `method` is how the client will authenticate, None when that could not be found out.
    """
    return [
        _issuer(document, settings),
        *_endpoints(document, settings),
        _code_flow(document),
        _pkce(document),
        _algorithm(document, settings),
        _scopes(document, settings),
        _refresh(document),
        *_offline_access(document, settings),
        _client_auth(document, settings, method),
        _par(document, settings),
        _names_itself(document),
        _userinfo(document, settings),
        _revocation(document, method),
        _end_session(document),
    ]


def usable_endpoint(document: Mapping[str, Any], name: str, settings: Conf) -> str | None:
    """Return an endpoint that may be asked: https, or loopback with a loopback issuer."""
    url = document.get(name)
    parts = split(url) if isinstance(url, str) else None
    if parts is None or not parts.hostname or parts.fragment:
        return None
    here = is_loopback(parts.hostname) and settings.issuer.startswith("http:")
    return str(url) if parts.scheme == "https" or (parts.scheme == "http" and here) else None


def _issuer(document: Mapping[str, Any], settings: Conf) -> Finding:
    said = document.get("issuer")
    if said == settings.issuer:
        return ok("provider.issuer", "It names itself exactly as OIDC_OP_ISSUER does.")
    advice = "Every sign-in will fail. If this is your provider, set OIDC_OP_ISSUER to that."
    fact = f"It names itself {plain(said)!r}, and OIDC_OP_ISSUER is {settings.issuer!r}."
    return problem("provider.issuer", fact, advice)


def _endpoints(document: Mapping[str, Any], settings: Conf) -> Iterator[Finding]:
    check = "provider.endpoints"
    good = True
    for name in (*ENDPOINTS, *MORE_ENDPOINTS):
        url = document.get(name)
        if url is None and name in MORE_ENDPOINTS:
            continue
        if usable_endpoint(document, name, settings) is None:
            good = False
            fact = f"Its {name} is {plain(url)!r}." if url is not None else f"It has no {name}."
            yield problem(check, fact, "It must be an https URL; correct it at the provider.")
    if good:
        kind = "https" if settings.issuer.startswith("https:") else "https or loopback"
        yield ok(check, f"Its endpoints are {kind}.")


def _code_flow(document: Mapping[str, Any]) -> Finding:
    check = "provider.code_flow"
    types = _listed(document, "response_types_supported")
    modes = _listed(document, "response_modes_supported")
    grants = _listed(document, "grant_types_supported")
    if types is not None and "code" not in types:
        fact = f"It does not offer the code flow (response types: {_join(types)})."
    elif grants is not None and "authorization_code" not in grants:
        fact = f"It does not offer the code flow (grant types: {_join(grants)})."
    elif modes is not None and "query" not in modes:
        fact = f"It does not answer in the query (response modes: {_join(modes)})."
    elif types is None:
        return warning(check, "It does not say whether it offers the code flow.")
    else:
        return ok(check, "It offers the code flow.")
    return problem(check, fact, "It is the only flow we use; allow it at the provider.")


def _pkce(document: Mapping[str, Any]) -> Finding:
    check = "provider.pkce"
    methods = _listed(document, "code_challenge_methods_supported")
    if methods is None:
        fact = "It does not advertise PKCE. We send S256 all the same."
        advice = "If it ignores that, state and nonce still protect the code. RFC 9700 §2.1.1."
        return warning(check, fact, advice)
    if "S256" in methods:
        return ok(check, "It supports PKCE with S256.")
    fact = f"Its PKCE has no S256 (methods: {_join(methods)}), and we use no other."
    return problem(check, fact, "It may refuse every sign-in; allow S256 at the provider.")


def _algorithm(document: Mapping[str, Any], settings: Conf) -> Finding:
    check = "provider.algorithm"
    ours = settings.sign_algorithm
    signs = _listed(document, "id_token_signing_alg_values_supported")
    if signs is None:
        fact = "It does not say how it signs ID tokens."
        return warning(check, fact, f"We accept {ours} only (OIDC_RP_SIGN_ALGO).")
    possible = [name for name in SIGNATURE_ALGORITHMS if name in signs]
    if not any(claims.same_algorithm(one, ours) for one in signs):
        fact = f"It does not sign ID tokens with {ours} (it does with: {_join(signs)})."
        if not possible:
            return problem(check, fact, "Every sign-in will fail, and we take none of these.")
        choice = f"Set OIDC_RP_SIGN_ALGO to {' or '.join(possible)}"
        return problem(check, fact, f"Every sign-in will fail. {choice}, as the client has it.")
    advice = ""
    if len(signs) > 1:
        advice = f"The client's id_token_signed_response_alg there must be {ours}, too."
    return ok(check, f"It can sign ID tokens with {ours}.", advice)


def _scopes(document: Mapping[str, Any], settings: Conf) -> Finding:
    check = "provider.scopes"
    ours = ", ".join(settings.scopes)
    known = _listed(document, "scopes_supported")
    if known is None:
        return ok(check, f"It does not list its scopes, and need not. We ask for {ours}.")
    missing = [scope for scope in settings.scopes if scope not in known]
    if missing:
        fact = f"It does not list {_join(missing)} among its scopes."
        advice = "It need not list all. If sign-in fails with invalid_scope, see OIDC_RP_SCOPES."
        return warning(check, fact, advice)
    return ok(check, f"It knows the scopes we ask for: {ours}.")


def _refresh(document: Mapping[str, Any]) -> Finding:
    check = "provider.refresh"
    grants = _listed(document, "grant_types_supported")
    if grants is None:
        fact = "It does not say whether it gives refresh tokens."
        return warning(check, fact, "Without them a sign-in lasts as long as one access token.")
    if "refresh_token" in grants:
        return ok(check, "It supports the refresh_token grant.")
    fact = "It does not support the refresh_token grant."
    return warning(check, fact, "A sign-in lasts as long as one access token; allow it there.")


def _offline_access(document: Mapping[str, Any], settings: Conf) -> Iterator[Finding]:
    check = "provider.offline_access"
    if "offline_access" in settings.scopes:
        fact = "We ask for offline_access, so refresh tokens may outlive the provider's session."
        yield ok(check, fact)
    elif "offline_access" in (_listed(document, "scopes_supported") or ()):
        fact = "There may be no refresh token: it knows offline_access, and we do not ask for it."
        advice = "If people are signed out when an access token expires, add it to OIDC_RP_SCOPES."
        yield warning(check, fact, advice)


def _client_auth(document: Mapping[str, Any], settings: Conf, method: str | None) -> Finding:
    check = "provider.client_auth"
    if method is None:
        fact = "How we would authenticate could not be found out."
        return warning(check, fact, "Ask again when the other problems are solved.")
    known = _listed(document, "token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    if method not in known:
        fact = f"It does not take {method}, which we would use (it takes: {_join(known)})."
        possible = [name for name in client_auth.METHODS if name in known]
        choice = f'Set OAUTHBFF["CLIENT_AUTH"] to {" or ".join(possible)}.' if possible else ""
        return problem(check, fact, f"No code can be exchanged. {choice}".strip())
    if method == "private_key_jwt" and settings.client_key is not None:
        ours = client_auth.algorithm_of(settings.client_key)
        takes = _listed(document, "token_endpoint_auth_signing_alg_values_supported")
        if takes is not None and not any(claims.same_algorithm(one, ours) for one in takes):
            fact = f"It takes no assertion signed with {ours} (it takes: {_join(takes)})."
            return problem(check, fact, 'Set another kind of key as OAUTHBFF["CLIENT_KEY"].')
        return ok(check, f"We authenticate by private_key_jwt, signed with {ours}.")
    return ok(check, f"We authenticate by {method}.", "Its registration must say the same.")


def _par(document: Mapping[str, Any], settings: Conf) -> Finding:
    check = "provider.par"
    offered = document.get("pushed_authorization_request_endpoint") is not None
    required = document.get("require_pushed_authorization_requests") is True
    if required and not offered:
        fact = "It requires pushed authorization requests (PAR) and says not where to push them."
        return problem(check, fact, "Every sign-in will fail; correct its metadata.")
    if settings.par and not offered:
        fact = "It does not offer pushed authorization requests (PAR), which we are to use."
        return problem(check, fact, 'Every sign-in will fail; set OAUTHBFF["PAR"] to False.')
    if required:
        return ok(check, "It requires pushed authorization requests (PAR): we push them.")
    if settings.par:
        return ok(check, 'We push authorization requests (PAR), as OAUTHBFF["PAR"] says.')
    if offered:
        advice = 'OAUTHBFF["PAR"] = True keeps them out of the browser.'
        return ok(check, "It offers pushed authorization requests (PAR).", advice)
    return ok(check, "It does not offer pushed authorization requests (PAR), and need not.")


def _names_itself(document: Mapping[str, Any]) -> Finding:
    check = "provider.iss"
    if document.get("authorization_response_iss_parameter_supported") is True:
        return ok(check, "It names itself in each answer (iss, RFC 9207): we insist on it.")
    return ok(
        check,
        "It does not name itself in its answers (RFC 9207), and need not while it is the only one.",
    )


def _userinfo(document: Mapping[str, Any], settings: Conf) -> Finding:
    check = "provider.userinfo"
    offered = document.get("userinfo_endpoint") is not None
    if settings.userinfo and not offered:
        fact = "It has no UserInfo: what we know of people is what the ID token says."
        return warning(check, fact, 'If that is enough, set OAUTHBFF["USERINFO"] to False.')
    if settings.userinfo:
        return ok(check, "It has UserInfo, which we ask at each sign-in.")
    return ok(check, 'UserInfo is not asked, as OAUTHBFF["USERINFO"] says.')


def _revocation(document: Mapping[str, Any], method: str | None) -> Finding:
    check = "provider.revocation"
    if document.get("revocation_endpoint") is None:
        fact = "It has no revocation endpoint: endings are local only."
        advice = "A refresh token stays good there until it expires; give it a short life."
        return warning(check, fact, advice)
    methods = _listed(document, "revocation_endpoint_auth_methods_supported")
    if methods is not None and method is not None and method not in methods:
        fact = f"Its revocation endpoint does not list {method} (it lists: {_join(methods)})."
        return warning(check, fact, "Endings may remain local only.")
    return ok(check, "It revokes tokens when a grant ends here.")


def _end_session(document: Mapping[str, Any]) -> Finding:
    check = "provider.end_session"
    if document.get("end_session_endpoint") is None:
        fact = "It has no end_session endpoint: signing out ends our session, not the provider's."
        return warning(check, fact, "The next sign-in may pass without a password.")
    return ok(check, "Signing out here can sign people out there, too (end_session).")


def _listed(document: Mapping[str, Any], name: str) -> list[str] | None:
    """The strings of a list; None where the provider says nothing, or nonsense."""
    found = document.get(name)
    if not isinstance(found, list):
        return None
    return [one for one in found if isinstance(one, str)]


def _join(words: Sequence[str]) -> str:
    return plain(", ".join(words)) or "nothing"


def split(url: str) -> SplitResult | None:
    try:
        return urlsplit(url)
    except ValueError:
        return None
