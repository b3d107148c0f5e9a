"""The tables: grants, identities, the audit trail, what was spent. Data, no verbs.

Only `grants` changes a `TokenGrant`. No column holds a secret in clear: tokens,
the session key and personal claims are in the sealed envelope.
"""

from __future__ import annotations

import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Value
from django.db.models.functions import Concat, Least, StrIndex, Substr
from django.utils.translation import gettext_lazy as _


class ExactCharField(models.CharField):  # type: ignore[type-arg]
    """A `CharField` that MySQL compares byte by byte: `sub` "A" and "a" are two people."""

    def db_parameters(self, connection: Any) -> Any:
        parameters = super().db_parameters(connection)
        if connection.vendor == "mysql":
            parameters["collation"] = "utf8mb4_bin"
        return parameters


class EndReason(models.TextChoices):
    """Why a grant ended. The SPA sees the value, the admin the label."""

    LOGOUT = "logout", _("signed out")
    IDLE = "idle", _("unused for too long")
    ABSOLUTE = "absolute", _("reached its greatest age")
    BACKCHANNEL = "backchannel", _("signed out at the provider")
    ADMIN = "admin", _("ended by an administrator")
    INVALID_GRANT = "invalid_grant", _("refused by the provider")
    USER_DISABLED = "user_disabled", _("the account was disabled or deleted")
    SUPERSEDED = "superseded", _("replaced by a newer sign-in")
    KEY_LOST = "key_lost", _("its encryption key is gone")


class Revocation(models.TextChoices):
    """Whether the provider knows that a grant has ended. RFC 7009."""

    NONE = "none", _("not ended")
    PENDING = "pending", _("to be told")
    DONE = "done", _("told")
    UNSUPPORTED = "unsupported", _("provider has no revocation endpoint")
    FAILED = "failed", _("given up")


#: `v1.<key id>.<…>` without its head, with an end to find however short it is.
_AFTER_VERSION = Substr(Concat("envelope", Value("....")), 4)


def full_name(user: Any) -> str:
    """Empty where the site's user model knows none: Django does not ask it to."""
    named = getattr(user, "get_full_name", None)
    return str(named()) if named is not None else ""


class TokenGrant(models.Model):
    """What the provider gave us for one sign-in of one browser."""

    #: The handle: the only thing of a grant that the Django session holds. Not a secret.
    id = models.UUIDField(_("handle"), primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("user"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="token_grants",
    )
    issuer = ExactCharField(_("provider"), max_length=255)
    client_id = models.CharField(_("client"), max_length=255)
    subject = ExactCharField(_("subject"), max_length=255)
    #: The provider's session. Not unique: two sign-ins may share it.
    sid = ExactCharField(_("provider session"), max_length=255, blank=True)
    scopes = models.TextField(_("scopes"), blank=True)
    #: Names of the upstreams that were called with it, each written down once.
    upstreams = models.TextField(_("APIs called"), blank=True, default="", db_default="")
    envelope = models.TextField(_("sealed envelope"), blank=True, editable=False)
    #: The key that seals the envelope. The database itself reads it there, so it cannot be wrong.
    key_id = models.GeneratedField(
        verbose_name=_("sealed with key"),
        expression=Substr("envelope", 4, Least(StrIndex(_AFTER_VERSION, Value(".")) - 1, 40)),
        output_field=ExactCharField(max_length=40),
        db_persist=True,
    )
    #: SHA-256 of the session key: finds the grant of a session that is gone already.
    session_digest = models.CharField(max_length=64, blank=True, editable=False)

    created_at = models.DateTimeField(_("signed in"))
    #: When the provider issued the ID token, by its own clock: what a logout token is held against.
    authenticated_at = models.DateTimeField(_("ID token issued"))
    last_used_at = models.DateTimeField(_("last used"))
    #: Absolute end, whatever happens.
    expires_at = models.DateTimeField(_("ends at the latest"))
    access_expires_at = models.DateTimeField(_("access token expires"), null=True, blank=True)
    refreshed_at = models.DateTimeField(_("tokens received"))

    #: Goes up when the envelope comes to say something else, or the grant ends; every such write
    #: is conditional on it.
    version = models.PositiveBigIntegerField(default=1, editable=False)
    lease_owner = models.CharField(max_length=32, blank=True, editable=False)
    lease_until = models.DateTimeField(null=True, blank=True, editable=False)
    #: After a failed refresh nobody asks again before this.
    refresh_not_before = models.DateTimeField(null=True, blank=True, editable=False)
    refresh_failures = models.PositiveIntegerField(default=0, editable=False)

    ip = models.GenericIPAddressField(_("address"), null=True, blank=True)
    user_agent = models.CharField(_("user agent"), max_length=400, blank=True)

    ended_at = models.DateTimeField(_("ended"), null=True, blank=True)
    end_reason = models.CharField(_("reason"), max_length=16, choices=EndReason.choices, blank=True)
    ended_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("ended by"),
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    end_note = models.CharField(_("note"), max_length=255, blank=True)
    #: The order of an administrator that ended it, if one did.
    end_order = models.ForeignKey(
        "EndOrder",
        verbose_name=_("order"),
        null=True,
        blank=True,
        db_index=False,  # `oauthbff_by_order` serves it
        on_delete=models.SET_NULL,
        related_name="grants",
    )

    revocation = models.CharField(
        _("revocation"), max_length=12, choices=Revocation.choices, default=Revocation.NONE
    )
    revocation_attempts = models.PositiveIntegerField(_("attempts"), default=0)
    revocation_due_at = models.DateTimeField(_("next attempt"), null=True, blank=True)
    revocation_error = models.CharField(_("last error"), max_length=255, blank=True)

    class Meta:
        verbose_name = _("grant")
        verbose_name_plural = _("grants")
        ordering = ("-created_at",)
        permissions = (
            ("view_claims", _("Can see the claims of a grant")),
            ("end_tokengrant", _("Can end a grant, and all of one user")),
            ("end_every_tokengrant", _("Can end all grants that a list shows, or of a provider")),
        )
        default_permissions = ("view",)
        indexes = (
            models.Index(fields=["user", "ended_at"], name="oauthbff_by_user"),
            models.Index(fields=["issuer", "subject"], name="oauthbff_by_subject"),
            models.Index(fields=["issuer", "sid"], name="oauthbff_by_sid"),
            models.Index(fields=["session_digest"], name="oauthbff_by_session"),
            models.Index(fields=["revocation", "revocation_due_at"], name="oauthbff_due"),
            models.Index(fields=["ended_at", "expires_at"], name="oauthbff_expiring"),
            models.Index(fields=["ended_at", "last_used_at"], name="oauthbff_idling"),
            models.Index(fields=["created_at"], name="oauthbff_by_time"),
            models.Index(fields=["key_id", "id"], name="oauthbff_by_key"),
            models.Index(fields=["end_reason", "created_at"], name="oauthbff_by_reason"),
            models.Index(fields=["revocation", "ended_at"], name="oauthbff_waiting"),
            models.Index(fields=["end_order", "revocation"], name="oauthbff_by_order"),
            models.Index(fields=["ip"], name="oauthbff_by_ip"),
        )

    def __str__(self) -> str:
        return f"{full_name(self.user) or self.subject}, signed in {self.created_at:%Y-%m-%d %H:%M}"

    def __repr__(self) -> str:
        return f"<TokenGrant {self.id}>"

    @property
    def place(self) -> str:
        """Where the envelope belongs: its associated data."""
        return f"grant:{self.id}"


class Identity(models.Model):
    """A person at a provider, and who that is here. E-mail addresses decide nothing."""

    issuer = ExactCharField(max_length=255)
    subject = ExactCharField(max_length=255)
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="oidc_identities"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        verbose_name = _("identity")
        verbose_name_plural = _("identities")
        constraints = (
            models.UniqueConstraint(fields=["issuer", "subject"], name="oauthbff_one_identity"),
        )

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


class GrantEvent(models.Model):
    """One line of a grant's history. Append-only, no secrets."""

    class Kind(models.TextChoices):
        ISSUED = "issued", _("issued")
        REFRESHED = "refreshed", _("refreshed")
        REFRESH_FAILED = "refresh_failed", _("refresh failed")
        ENDED = "ended", _("ended")
        REVOKED = "revoked", _("revoked at the provider")
        REVOCATION_FAILED = "revocation_failed", _("revocation failed")
        VIEWED = "viewed", _("viewed by an administrator")

    grant = models.ForeignKey(TokenGrant, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=20, choices=Kind.choices)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    note = models.CharField(max_length=255, blank=True)

    class Meta:
        verbose_name = _("event")
        verbose_name_plural = _("events")
        ordering = ("at", "id")
        indexes = (models.Index(fields=["kind", "at"], name="oauthbff_events"),)

    def __str__(self) -> str:
        return f"{self.kind} {self.at:%Y-%m-%d %H:%M:%S}"


class EndOrder(models.Model):
    """An administrator's order to end some grants: who, when, why, and how many.

    Which grants is fixed when it is given, as `EndBatch` rows; what is left of them is
    what is left to do. So an order outlives the browser tab, and the worker, that began it.
    """

    class Scope(models.TextChoices):
        CHOSEN = "chosen", _("chosen grants")
        USER = "user", _("all of a user")
        OTHERS = "others", _("all others of a user")
        PROVIDER = "provider", _("all of a provider")
        LIST = "list", _("all that a list showed")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    scope = models.CharField(_("what"), max_length=10, choices=Scope.choices)
    #: The user's or the provider's name; for a list, how it was filtered.
    label = models.CharField(max_length=255, blank=True)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        verbose_name=_("by"),
        null=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    requested_at = models.DateTimeField(_("when"))
    note = models.CharField(_("why"), max_length=255)
    total = models.PositiveIntegerField(_("grants"), default=0)

    class Meta:
        verbose_name = _("order to end grants")
        verbose_name_plural = _("orders to end grants")
        ordering = ("-requested_at",)
        default_permissions = ()
        indexes = (
            models.Index(fields=["requested_by", "requested_at"], name="oauthbff_orders_of"),
        )

    def __str__(self) -> str:
        return f"{self.scope} {self.label}, {self.total}, {self.requested_at:%Y-%m-%d %H:%M}"


class EndBatch(models.Model):
    """Handles that an order has not come to yet. The row goes in the transaction that ends them."""

    order = models.ForeignKey(EndOrder, on_delete=models.CASCADE, related_name="batches")
    handles = models.TextField()
    size = models.PositiveIntegerField()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.size} grants"


class SpentToken(models.Model):
    """A `state` or a logout token's `jti`, spent once for all processes; or that somebody left.

    The kinds `sid` and `sub` remember for a while that the provider signed a session or a
    person out, so that a sign-in that was under way does not outlive it.
    """

    kind = models.CharField(max_length=10)
    issuer = ExactCharField(max_length=255)
    digest = models.CharField(max_length=64)
    expires_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["kind", "issuer", "digest"], name="oauthbff_spent_once"
            ),
        )

    def __str__(self) -> str:
        return f"{self.kind} {self.digest[:8]}"
