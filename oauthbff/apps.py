"""The app: registers checks, and listens to Django's own endings."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.apps import apps as installed
from django.utils.translation import gettext_lazy as _


class OAuthBFFConfig(AppConfig):
    name = "oauthbff"
    verbose_name = _("OAuth sessions")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from django.contrib.auth import get_user_model
        from django.contrib.auth.signals import user_logged_out
        from django.core.checks import Tags, register
        from django.db.models.signals import post_save, pre_delete

        from . import accesslog, checks, grants, telemetry

        accesslog.install()
        telemetry.observe("oauthbff.grants.active", grants.count_standing)
        telemetry.observe("oauthbff.revocation.backlog", grants.count_untold)
        if installed.is_installed("drf_spectacular"):
            from .openapi import spectacular  # noqa: F401 - importing it registers it
        register(checks.check_settings, Tags.security)
        register(checks.check_site, Tags.security)
        register(checks.check_deployment, Tags.security, deploy=True)
        user_logged_out.connect(_on_logout, dispatch_uid="oauthbff.logout")
        # Of any model: saved as a proxy model of the site's, a user is sent by that.
        post_save.connect(_after_save, dispatch_uid="oauthbff.user_saved")
        pre_delete.connect(
            _before_delete, sender=get_user_model(), dispatch_uid="oauthbff.user_deleted"
        )


def _on_logout(request: Any, **_: Any) -> None:
    """Django's logout (the admin's, say) ends the grant too. The session is still readable."""
    from . import grants
    from .models import EndReason, TokenGrant

    handle = request.session.get(grants.HANDLE) if hasattr(request, "session") else None
    if handle is not None:
        grants.end(TokenGrant.objects.filter(pk=handle), reason=EndReason.LOGOUT)


def _after_save(instance: Any, **_: Any) -> None:
    """A user who is disabled is out at once, everywhere; with a setting, a new password too."""
    from django.contrib.auth import get_user_model

    if not isinstance(instance, get_user_model()):
        return
    from . import grants
    from .conf import conf
    from .models import EndReason, TokenGrant

    theirs = TokenGrant.objects.filter(user=instance)
    if not instance.is_active:
        grants.end(theirs, reason=EndReason.USER_DISABLED)
    # AbstractBaseUser keeps a password that was just set until it is saved.
    elif getattr(instance, "_password", None) is not None and conf().end_on_password_change:
        grants.end(theirs, reason=EndReason.LOGOUT, note="the password was changed")


def _before_delete(instance: Any, **_: Any) -> None:
    """A user who is deleted takes their grants along, at the provider too."""
    from . import grants
    from .models import EndReason, TokenGrant

    grants.end(TokenGrant.objects.filter(user=instance), reason=EndReason.USER_DISABLED)
