"""The example site: a small print shop that shows oauthbff at work.

`settings.py` is the deployment contract (environment names), `demo/` holds the
two foreign parties of `manage.py demo`: the provider and the photo API.
"""
