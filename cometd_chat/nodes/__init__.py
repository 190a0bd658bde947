"""Several nodes that serve the clients of one storage, in any order.

* `directory`: which node has a client, kept in Redis;
* `hub`: short calls between nodes, by Redis's channels;
* `cluster`: how a client moves from one node to another.

A store that is a file belongs to one node, which needs nothing of this.
"""
