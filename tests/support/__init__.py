"""What the tests stand on: real programs, real sockets, no mock library.

ports, processes   free ports; children that are always stopped and show their log
provider           NodeProvider: a certified OpenID Provider (op/server.mjs) under test hooks
upstream           RecordingUpstream: an API that keeps the exact bytes and answers as told
site               Site: project/ served for real, on a database of its own
browser            Browser: cookies, SameSite, Fetch Metadata, redirects, and what it received
canary             finds a secret however it is encoded
components         what this machine has; skips, or fails where everything must be there
"""
