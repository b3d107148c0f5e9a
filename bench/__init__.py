"""The benchmark: oauthbff beside what else carries a browser's call with a token.

    python bench/run.py --help

    run          the command line: which targets, which chapters
    machine      cores, programs, processor time and memory of processes
    world        what all targets share: provider, upstream, PostgreSQL, Redis
    upstream     the API behind everybody: uploads, event streams (nginx serves the rest)
    targets      whoever is measured: how it is started, how somebody signs in
    peers/       the small sites and configurations that peers need
    load         one shot: wrk, every answer's body compared
    chapters/    what is measured: calls, statements, streams, storms, growth
    report       the Markdown report, from the figures alone
    pictures     its SVGs

A target whose answers are wrong is reported as failed, one that cannot be started as missing.
Nothing of it is imported by the app.
"""
