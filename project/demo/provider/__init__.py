"""Lumen ID: the demo's OpenID Provider, on django-oauth-toolkit (DOT).

settings.py     everything it is told, by `LUMEN_*` variables
keys.py         the key that signs
tokens.py       access tokens as JWT, claims about a person
views.py        DOT's doors where they need help: authorize, discovery; and the login page
urls.py         every door there is
prepare.py      database, people and client, before it serves
"""
