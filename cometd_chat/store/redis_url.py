"""The address of a Redis storage, as `[store] url` has it."""

import re
import ssl
from urllib.parse import unquote

from cometd_chat.store import StoreError
from cometd_chat.store.redis_link import Address, Login
from cometd_chat.store.redis_topology import Servers

PORT = 6379

_URL = re.compile(
    r"redis(?P<tls>s)?(?P<cluster>\+cluster)?://"
    r"(?:(?P<user>[^:@/]*)(?::(?P<password>[^@/]*))?@)?"
    r"(?P<hosts>[^@/]+)(?:/(?P<database>\d*))?"
)
_HOST = re.compile(r"(?P<host>\[[^\]]+\]|[^:\[\]]+)(?::(?P<port>\d+))?")


def parse(url: str, user: str = "", password: str = "") -> Servers:
    """Return the servers of `redis://[user[:password]@]host[:port],…[/database]`.

    `rediss` is with TLS, `+cluster` for a cluster. What stands in the URL goes before
    `user` and `password`.

    Raises: StoreError when the URL is none.
    """
    found = _URL.fullmatch(url)
    hosts = (
        [_HOST.fullmatch(host) for host in found["hosts"].split(",")] if found else []
    )
    if not found or not all(hosts):
        raise StoreError("the address of the Redis servers cannot be read")
    login = Login(
        user=unquote(found["user"] or "") or user,
        password=unquote(found["password"] or "") or password,
        database=int(found["database"] or 0),
        tls=ssl.create_default_context() if found["tls"] else None,
    )
    addresses = tuple(
        Address(host["host"].strip("[]"), int(host["port"] or PORT))
        for host in hosts
        if host
    )
    return Servers(
        addresses=addresses, cluster=found["cluster"] is not None, login=login
    )
