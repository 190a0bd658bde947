"""The wire forms of Genesys Mobile Services: requests in, chat objects out.

`v1` and `v2` are the two versions of its Chat API, `values` is what both share. All
of it is pure: text from outside becomes frozen facts or one clear error, and facts
become bytes. The two count differently, and only this package knows: a v1 position
is the last one a client has, a v2 position the next one it wants.
"""
