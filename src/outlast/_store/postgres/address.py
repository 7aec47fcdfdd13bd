"""The database's URL: what libpq understands, made fit for asyncpg, and never shown with its secrets.

asyncpg hands options that it does not know to the server, which then refuses the connection; hosted databases give out
such URLs by default. So every option is named here: passed on, used, left out because it changes nothing, or refused.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

from outlast.errors import ConfigError, did_you_mean

log = logging.getLogger("outlast")

_SCHEME: Final = re.compile(r"postgres(?:ql)?(?:\+(?:asyncpg|psycopg2?|psycopg_async))?")
_HOST: Final = re.compile(r"(?:\[[^\[\]@\s]+\]|[^\[\]:@\s]*)(?::\d{1,5})?")

_PASSED: Final = frozenset(
    (
        "application_name database dbname gsslib host krbsrvname options passfile password port service sslcert sslcrl"
        " sslkey sslmode sslnegotiation sslpassword sslrootcert ssl_max_protocol_version ssl_min_protocol_version"
        " target_session_attrs user"
    ).split()
)
_FILES: Final = frozenset({"sslcert", "sslcrl", "sslkey", "sslrootcert"})
_SILENCE: Final = {
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 2,
    "tcp_user_timeout": 5_000,
}
"""Ours where the URL says nothing: by itself the system waits for a quarter of an hour, or for hours."""
_USED: Final = frozenset({"connect_timeout", "channel_binding", "ssl", *_SILENCE})
_LEFT_OUT: Final = frozenset({"fallback_application_name", "sslsni"})
_HARMLESS: Final = {
    "gssencmode": ("disable", "prefer"),
    "load_balance_hosts": ("disable",),
    "client_encoding": ("auto", "utf8", "utf-8"),
    "sslcompression": ("0",),
}
"""Left out when they have one of these values, which say what happens anyway."""
_SECRET: Final = re.compile(r"([?&](?:ssl)?password=)[^&]*")
_BREAKS: Final = re.compile(r"[\t\r\n]")
"""What `urlsplit` leaves out wherever it stands: with one of them before its `//` a URL is one for it alone."""


@dataclass(frozen=True, slots=True)
class Silence:
    """When a connection is given up over which nothing comes, not even a sign that the other machine has heard.

    As libpq has it: 0 stands for what the system does by itself.

    Attributes:
        probes: Whether the other machine is asked while nothing is under way (`keepalives`).
        idle_s: Seconds without a word until it is asked (`keepalives_idle`).
        interval_s: Seconds between two questions (`keepalives_interval`).
        count: Questions without an answer that are enough (`keepalives_count`).
        timeout_ms: Milliseconds that what was sent may stay unheard (`tcp_user_timeout`).
    """

    probes: bool
    idle_s: int
    interval_s: int
    count: int
    timeout_ms: int


@dataclass(frozen=True, slots=True)
class Address:
    """Where the database is.

    Attributes:
        dsn: The URL for asyncpg. Holds the password.
        shown: The same for people, without secrets.
        connect_timeout_s: What the URL says, in seconds, or None.
        names_itself: Whether it carries an `application_name`.
        system_roots: Trust the machine's certificates (`sslrootcert=system`), and verify the server's name.
        files: Options that name a file of certificates or keys, with its path.
        silence: When a connection is given up over which nothing comes.
        servers: Where it names several, the URL for asyncpg of each.
    """

    dsn: str = field(repr=False)
    shown: str
    connect_timeout_s: float | None
    names_itself: bool
    system_roots: bool
    files: Mapping[str, str]
    silence: Silence
    servers: tuple[str, ...] = field(repr=False)


def parse(url: str) -> Address:
    """Reads a URL. Raises: ConfigError; its message never holds the password."""
    parts = _split(url)
    options = _options(parts.query)
    connect_timeout_s = _seconds(options.pop("connect_timeout", None))
    silence = _silence(options)
    if "ssl" in options:  # SQLAlchemy's asyncpg dialect calls it so.
        word = options.pop("ssl")
        options.setdefault("sslmode", {"true": "require", "false": "disable"}.get(word.lower(), word))
    system_roots = options.get("sslrootcert") == "system"
    if system_roots:
        del options["sslrootcert"]
        options["sslmode"] = "verify-full"
    if options.pop("channel_binding", "") == "require" and options.get("sslmode") != "verify-full":
        log.warning(
            "channel_binding=require is not supported and was left out; add sslmode=verify-full, "
            "which protects the connection from being intercepted"
        )
    query = urlencode(options, quote_via=quote)
    hosts = _hosts(parts.netloc)
    dsn, *servers = (
        f"postgresql://{_credentials(parts.netloc)}{host}{_path(parts.path)}{'?' * bool(query)}{query}"
        for host in (hosts, *hosts.split(","))
    )
    return Address(
        dsn,
        shown=redacted(dsn),
        connect_timeout_s=connect_timeout_s,
        names_itself="application_name" in options,
        system_roots=system_roots,
        files={name: path for name, path in options.items() if name in _FILES},
        silence=silence,
        servers=tuple(servers) if len(servers) > 1 else (),
    )


def redacted(url: str) -> str:
    """A URL fit to be shown, however malformed."""
    scheme, separator, rest = _BREAKS.sub("", url).partition("://")
    head, at, tail = rest.rpartition("@")
    user, colon, _ = head.partition(":")
    hidden = ":***" if colon else ""
    return scheme + separator + user + hidden + at + _SECRET.sub(r"\1***", tail)


def _split(url: str) -> SplitResult:
    scheme = url.partition(":")[0]
    if not _SCHEME.fullmatch(scheme):
        raise ConfigError(f"a Postgres URL begins with postgresql://, not with {scheme[:40]!r}")
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = None
    # An unescaped / ? or # in the password ends up in the path, the query or the fragment.
    if parts is None or parts.fragment or "@" in parts.path or _BREAKS.search(url) or not _is_writable(url):
        raise _unreadable()
    return parts


def _is_writable(url: str) -> bool:
    """Whether it is text that can be sent: no halves of characters, as come from bytes that a shell could not read."""
    try:
        url.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unreadable() -> ConfigError:
    # Nothing of the URL is quoted: any part of it may be a piece of the password.
    return ConfigError(
        "the Postgres URL is not understood: write postgresql://user:password@host:5432/name, with special characters "
        "in the password percent-encoded (/ as %2F, ? as %3F, # as %23, @ as %40)"
    )


def _credentials(netloc: str) -> str:
    head, at, _ = netloc.rpartition("@")
    if not at:
        return ""
    user, colon, password = head.partition(":")
    return f"{_escaped(user)}{colon}{_escaped(password)}@"


def _hosts(netloc: str) -> str:
    hosts = netloc.rpartition("@")[2]
    if not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise _unreadable()
    return hosts


def _path(path: str) -> str:
    return f"/{_escaped(path[1:])}" if path else ""


def _escaped(text: str) -> str:
    return quote(unquote(text), safe="")


def _options(query: str) -> dict[str, str]:
    """The options that matter."""
    kept: dict[str, str] = {}
    known = _PASSED | _USED | _LEFT_OUT | _HARMLESS.keys()
    for name, value in parse_qsl(query, keep_blank_values=True):
        if not re.fullmatch(r"[a-zA-Z_]\w{0,40}", name):
            raise _unreadable()
        if name not in known:
            raise ConfigError(f"the Postgres URL has an unknown option {name!r}{did_you_mean(name, known)}")
        if name in _HARMLESS and value.lower() not in _HARMLESS[name]:
            raise ConfigError(f"the Postgres URL has {name}={value[:40]}, which is not supported; leave it out")
        if (name in _PASSED or name in _USED) and value:
            kept[name] = value
    if kept.get("channel_binding", "prefer") not in ("disable", "prefer", "require"):
        raise ConfigError("channel_binding must be one of 'disable', 'prefer', 'require'")
    return kept


def _silence(options: dict[str, str]) -> Silence:
    """Takes what is said of it out of the options."""
    given: list[int] = []
    for name, default in _SILENCE.items():
        text = options.pop(name, None)
        if text is not None and not re.fullmatch(r"\d{1,8}", text, re.ASCII):
            kind = "whole milliseconds" if name == "tcp_user_timeout" else "a whole number"
            raise ConfigError(f"{name} in the Postgres URL must be {kind}, not {text[:40]!r}")
        given.append(default if text is None else int(text))
    return Silence(bool(given[0]), *given[1:])


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    if not re.fullmatch(r"-?\d{1,6}", text):
        raise ConfigError(f"connect_timeout in the Postgres URL must be whole seconds, not {text[:40]!r}")
    return float(text) if int(text) > 0 else None
