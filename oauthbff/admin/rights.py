"""Who may see, see claims, end, end everything. Four rights, none of which implies another.

Ending needs seeing as well, since nobody should end what they cannot look at.
"""

from __future__ import annotations

from django.http import HttpRequest

VIEW = "oauthbff.view_tokengrant"
VIEW_CLAIMS = "oauthbff.view_claims"
END = "oauthbff.end_tokengrant"
END_EVERY = "oauthbff.end_every_tokengrant"


def may_see(request: HttpRequest) -> bool:
    return request.user.has_perm(VIEW)


def may_see_claims(request: HttpRequest) -> bool:
    return request.user.has_perms((VIEW, VIEW_CLAIMS))


def may_end(request: HttpRequest) -> bool:
    """One grant, some that were picked by hand, all of one user."""
    return request.user.has_perms((VIEW, END))


def may_end_every(request: HttpRequest) -> bool:
    """All that a filtered list shows, all of a provider."""
    return request.user.has_perms((VIEW, END_EVERY))
