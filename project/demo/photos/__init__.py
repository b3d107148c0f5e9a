"""The photo service's API: the demo's resource server, on Starlette.

    app.py          the doors
    tokens.py       judging access tokens: the only room that knows JOSE
    problems.py     how refusals are worded
    albums.py       whose photos there are
    prints.py       print orders and their progress
    calls.py        what has been asked of us, for the demo to show
    scenes.py       the pictures themselves, painted on
    canvas.py       gradients, glows and ridges

It keeps everything in memory and runs as one process.
"""
