"""Faults under load: several nodes, many chats, one fault, and what came of it.

* `record`: what was sent, what came where, what was stored and pushed;
* `judge`: which promises that record keeps, and its figures;
* `people`: the customers and agents who make it;
* `stand`: Redis, nodes and the proxy before them;
* `faults`: what is done to them.

`scripts/faults` runs all of it.
"""
