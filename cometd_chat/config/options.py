"""The table of options: what there is, what it may be, when a change takes effect.

Each field made by `option` is one row. Validation, the reference page, the sample
file and the answer to a reload all come from these rows.
"""
# ruff: noqa: RUF009  # `option` is a dataclass field, which ruff cannot see

from dataclasses import dataclass
from pathlib import Path

from cometd_chat.config.kinds import (
    BOOLEAN,
    SECRET,
    TEXT,
    choice,
    duration,
    integer,
    names,
    size,
)
from cometd_chat.config.places import (
    BASE_PATH,
    BUCKET,
    CHANNELS,
    EXTENSIONS,
    FILE,
    FOLDER,
    HOST,
    KEY_PREFIX,
    NETWORKS,
    ORIGINS,
    STORE_URL,
    URL,
    Network,
)
from cometd_chat.config.table import DAY, KIB, MIB, Reload, option

_IMAGES = ("jpg", "jpeg", "png", "gif", "webp", "heic")
_TYPES = (*_IMAGES, "pdf", "txt", "csv", "mp3", "m4a", "mp4", "mov", "zip")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """The HTTP server."""

    host: str = option(
        HOST,
        "127.0.0.1",
        "Address to listen on.",
        reload=Reload.RESTART,
    )
    port: int = option(
        integer(0, 65535, "port"),
        8080,
        "Port to listen on; 0 takes a free one.",
        reload=Reload.RESTART,
    )
    workers: int = option(
        integer(1, 256, "processes"),
        1,
        "Processes that serve the port together, one for each core; more than 1 need "
        "Redis.",
        reload=Reload.RESTART,
    )
    base_path: str = option(
        BASE_PATH,
        "/genesys",
        "Path under which the chat and CometD addresses live.",
        reload=Reload.RESTART,
    )
    trusted_proxies: tuple[Network, ...] = option(
        NETWORKS,
        (),
        "Networks of the reverse proxies whose headers gms_user and X-Forwarded-For "
        "are believed.",
    )
    allowed_origins: tuple[str, ...] = option(
        ORIGINS,
        (),
        "Web pages of other hosts that may talk to the server, such as "
        "https://www.example.com; * allows all.",
    )
    tls_cert: Path | None = option(
        FILE,
        None,
        "Certificate chain (PEM); with it the server speaks HTTPS.",
        reload=Reload.RESTART,
    )
    tls_key: Path | None = option(
        FILE,
        None,
        "Private key (PEM) of tls_cert.",
        reload=Reload.RESTART,
    )
    shutdown_timeout: float = option(
        duration(0, 600),
        25.0,
        "Time that running requests get to finish when the server stops.",
        reload=Reload.RESTART,
    )
    body_timeout: float = option(
        duration(0.1, 300),
        10.0,
        "Time within which the body of a request must have arrived.",
        reload=Reload.RESTART,
    )
    front: bool = option(
        BOOLEAN,
        True,
        "Whether plain requests of Bayeux and in chats are answered before aiohttp "
        "sees them, at a fraction of the cost; all others are aiohttp's.",
        reload=Reload.RESTART,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BayeuxOptions:
    """CometD: how long polls are held and clients are remembered."""

    timeout: float = option(
        duration(1, 300),
        25.0,
        "Time a poll is held when there is nothing to deliver.",
    )
    max_interval: float = option(
        duration(1, DAY),
        600.0,
        "Time without a poll after which a client is forgotten.",
    )
    offline_after: float = option(
        duration(0.1, 3600),
        10.0,
        "Time without a poll after which the customer counts as absent.",
    )
    broadcast_channels: tuple[str, ...] = option(
        CHANNELS,
        (),
        "Channels on which clients may publish to each other.",
    )
    transports: tuple[str, ...] = option(
        names("transport", "websocket", "long-polling", "callback-polling", least=1),
        ("websocket", "long-polling", "callback-polling"),
        "Transports offered in the handshake.",
    )
    lazy_channels: tuple[str, ...] = option(
        CHANNELS,
        (),
        "Channels whose messages wait for others to travel with.",
    )
    max_lazy_timeout: float = option(
        duration(0.01, 60),
        5.0,
        "Longest time for which a message of a lazy channel waits.",
    )
    broadcast_to_publisher: bool = option(
        BOOLEAN,
        True,
        "Sends what a client publishes back to it, if it is subscribed.",
    )
    mailbox_messages: int = option(
        integer(1, 1_000_000, "messages"),
        1000,
        "Greatest number of broadcast messages that wait for one client.",
    )
    mailbox_size: int = option(
        size(KIB, 256 * MIB),
        MIB,
        "Greatest size of the broadcast messages that wait for one client.",
    )
    mailbox_overflow: str = option(
        choice("oldest", "release"),
        "oldest",
        "What happens beyond that: oldest drops the oldest message, release makes "
        "the client begin anew, so that it learns of the loss.",
    )
    timestamps: bool = option(
        BOOLEAN,
        False,
        "Tells in each reply when it was sent (CometD's timestamp extension).",
        reload=Reload.RESTART,
    )
    max_inactivity: float = option(
        duration(0, 30 * DAY),
        0.0,
        "Time without any other message than polls after which a client is "
        "disconnected (CometD's activity extension); 0 never.",
    )
    deliveries_are_activity: bool = option(
        BOOLEAN,
        False,
        "Counts what is delivered to a client as its activity, too.",
    )
    max_sessions_per_browser: int = option(
        integer(-1, 100, "sessions"),
        5,
        "Polls that a node holds for one browser; further ones are answered at once. "
        "-1 holds all.",
    )
    multi_session_interval: float = option(
        duration(0.1, 60),
        2.0,
        "Time such a browser is told to wait between polls.",
    )
    browser_cookie: str = option(
        choice("off", "lax", "strict", "none"),
        "lax",
        "SameSite of the cookie BAYEUX_BROWSER, which tells browsers apart; none is "
        "for pages of other sites and needs HTTPS; off sets no cookie.",
        reload=Reload.RESTART,
    )
    browser_cookie_partitioned: bool = option(
        BOOLEAN,
        False,
        "Makes the cookie Partitioned, for browsers that block others in frames.",
        reload=Reload.RESTART,
    )
    handshakes_per_second: int = option(
        integer(1, 1_000_000, "handshakes"),
        500,
        "Handshakes of one address that a node answers at once; more have to wait a "
        "little, so that clients do not all come back to a restarted server in the "
        "same moment.",
    )
    sweep_period: float = option(
        duration(0.05, 60),
        1.0,
        "Time between two looks for polls that were held long enough and for clients "
        "that went silent.",
        reload=Reload.RESTART,
    )
    publish_window: float = option(
        duration(0, 3600),
        120.0,
        "Time in which a repeated publish without localId is stored only once.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """Where chats are kept, and for how long."""

    url: str = option(
        STORE_URL,
        "sqlite:///./data/cometd-chat.db",
        "Database: a file (three slashes start a relative path, four an absolute one), "
        "or Redis: redis://, rediss:// with TLS, redis+cluster://.",
        reload=Reload.RESTART,
    )
    user: str = option(
        TEXT,
        "",
        "User at Redis, where it is not in the URL.",
        reload=Reload.RESTART,
    )
    password: str = option(
        SECRET,
        "",
        "Password at Redis, where it is not in the URL.",
        reload=Reload.RESTART,
    )
    prefix: str = option(
        KEY_PREFIX,
        "chat",
        "What all keys and channels at Redis begin with.",
        reload=Reload.RESTART,
    )
    durability: str = option(
        choice("relaxed", "durable", "replicated"),
        "durable",
        "When Redis has stored a message: relaxed in memory, durable on its disk, "
        "replicated at one replica too.",
        reload=Reload.RESTART,
    )
    allow_volatile: bool = option(
        BOOLEAN,
        False,
        "Starts on a Redis that loses chats when it stops or is full.",
        reload=Reload.RESTART,
    )
    max_entries: int = option(
        integer(10, 1_000_000, "entries"),
        5000,
        "Greatest number of entries in one transcript.",
        reload=Reload.RESTART,
    )
    max_new: int = option(
        integer(1000, 100_000_000, "services"),
        50_000,
        "Greatest number of services without a chat; beyond it the oldest are deleted.",
        reload=Reload.RESTART,
    )
    new_retention: float = option(
        duration(60, 3650 * DAY),
        float(DAY),
        "Time after which a service without a chat is deleted.",
    )
    ended_retention: float = option(
        duration(60, 3650 * DAY),
        float(DAY),
        "Time after its end at which a chat is deleted.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthOptions:
    """How customers prove who they are."""

    gms_user: str = option(
        choice("trusted", "signed", "off"),
        "off",
        "What the header gms_user is worth: trusted is believed as GMS does, signed "
        "must be a token, off is not looked at.",
    )
    customer_secret: str = option(
        SECRET,
        "",
        "Key of customers' tokens that are signed with HMAC.",
    )
    customer_jwks: Path | None = option(
        FILE,
        None,
        "Key set (JWKS) of customers' tokens that are signed with a private key.",
    )
    i_understand_gms_user_is_spoofable: bool = option(
        BOOLEAN,
        False,
        "Lets a server that others can reach believe the header gms_user, which "
        "every caller can forge.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentOptions:
    """How agents prove who they are; without either, a secret is made."""

    secret: str = option(
        SECRET,
        "",
        "Key of agents' tokens that are signed with HMAC, 32 bytes or more.",
    )
    jwks: Path | None = option(
        FILE,
        None,
        "Key set (JWKS) of agents' tokens that are signed with a private key.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """What one request, client or chat may take."""

    body: int = option(
        size(KIB, 16 * MIB),
        256 * KIB,
        "Greatest body of a request.",
        reload=Reload.RESTART,
    )
    messages_per_request: int = option(
        integer(1, 10_000, "messages"),
        100,
        "Greatest number of Bayeux messages in one request.",
        reload=Reload.RESTART,
    )
    json_depth: int = option(
        integer(8, 500, "levels"),
        64,
        "Greatest nesting of JSON.",
        reload=Reload.RESTART,
    )
    text: int = option(
        size(1, MIB),
        8 * KIB,
        "Greatest text of one chat message, in UTF-8.",
    )
    nickname: int = option(
        integer(1, 1024, "bytes"),
        128,
        "Longest nickname, in UTF-8.",
    )
    user_data: int = option(
        size(0, MIB),
        16 * KIB,
        "Greatest user data of one chat, keys and values together.",
    )
    user_data_keys: int = option(
        integer(0, 1000, "keys"),
        64,
        "Greatest number of keys in the user data of one chat.",
    )
    subscriptions: int = option(
        integer(1, 1000, "channels"),
        10,
        "Greatest number of channels one client may subscribe to.",
    )
    reply: int = option(
        size(KIB, 16 * MIB),
        256 * KIB,
        "Size at which a reply is cut; the rest follows with the next poll.",
    )
    clients: int = option(
        integer(1, 10_000_000, "clients"),
        50_000,
        "Greatest number of Bayeux clients of this node.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesOptions:
    """Files that customers and agents send each other."""

    folder: str = option(
        FOLDER,
        "",
        "Folder for the files; several nodes share it. Without it, and without "
        "s3.bucket, it is files beside the SQLite database, and with Redis there are "
        "no files.",
        reload=Reload.RESTART,
    )
    s3_bucket: str = option(
        BUCKET,
        "",
        "Bucket for the files, at S3 or a compatible server, in place of a folder.",
        name="s3.bucket",
        reload=Reload.RESTART,
    )
    s3_endpoint: str = option(
        URL,
        "",
        "Address of the compatible server; that of S3 itself is known.",
        name="s3.endpoint",
        reload=Reload.RESTART,
    )
    s3_region: str = option(
        TEXT,
        "",
        "Region of the bucket, where the environment does not tell.",
        name="s3.region",
        reload=Reload.RESTART,
    )
    s3_access_key: str = option(
        TEXT,
        "",
        "Access key; without one, the usual places of S3 clients are looked at: the "
        "environment, ~/.aws, the role of the machine.",
        name="s3.access_key",
        reload=Reload.RESTART,
    )
    s3_secret_key: str = option(
        SECRET,
        "",
        "Secret key that belongs to the access key.",
        name="s3.secret_key",
        reload=Reload.RESTART,
    )
    upload_max_files: int = option(
        integer(0, 1000, "files"),
        20,
        "Greatest number of files of one participant in one chat.",
        name="upload-max-files",
    )
    upload_max_file_size: int = option(
        size(0, 1024 * MIB),
        10 * MIB,
        "Greatest size of one file.",
        name="upload-max-file-size",
    )
    upload_max_total_size: int = option(
        size(0, 1024 * MIB),
        100 * MIB,
        "Greatest size of all files of one participant in one chat.",
        name="upload-max-total-size",
    )
    upload_file_types: tuple[str, ...] = option(
        EXTENSIONS,
        _TYPES,
        "Extensions that the names of files may have; * allows any.",
        name="upload-file-types",
    )
    unfinished_after: float = option(
        duration(60, 30 * DAY),
        float(DAY),
        "Time in which an upload has to be finished.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class LogOptions:
    """What the server logs, and how."""

    level: str = option(
        choice("debug", "info", "warning", "error"),
        "info",
        "Least severity that is logged.",
    )
    format: str = option(
        choice("auto", "text", "json"),
        "auto",
        "Form of a line; auto is text on a terminal and json elsewhere.",
        reload=Reload.RESTART,
    )
