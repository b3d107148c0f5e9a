"""The cast of `manage.py demo`, after the example of RFC 6749 §1.

A print shop may use the photos that a person keeps at a photo service. The
print shop is the site (`project.settings`). The other two parties live here,
each a program of its own that knows the others by URL only:

    provider/        the OpenID Provider, "Lumen ID"
    photos/          the photo service's API, a resource server

and three rooms that put them on one machine:

    people.py        who has an account
    environment.py   what each program is told when it starts
    processes.py     starting them, watching them, ending them
"""
