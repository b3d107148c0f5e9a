"""The admin: see every session, end any of them, know that it worked.

Nothing here can show or change a secret, and nothing here ends a grant by itself: it
asks `grants`. Its rooms, from the pure to the pages:

    charts      numbers become SVG                                    (pure)
    rights      who may see, see claims, end, end everything
    words       how a person, a moment, a state is written
    counting    counts that stop at a limit; the list without a COUNT of the table
    finding     filters and search that an index serves
    listing     the list
    detail      one grant
    ending      the confirmations, from wherever they are asked for
    outcome     what became of an order to end
    figures     what the dashboard asks the database
    dashboard   the pictures
    tokengrants all of these as one ModelAdmin
    users       the panel for the site's own user pages

A site with several tenants overrides `TokenGrantAdmin.get_queryset`: every page, count,
picture, search and ending goes through it. docs/admin.md.
"""

from __future__ import annotations

from .tokengrants import TokenGrantAdmin
from .users import GrantsOfUser

__all__ = ["GrantsOfUser", "TokenGrantAdmin"]
