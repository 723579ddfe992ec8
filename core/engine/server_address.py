"""The address of a model server: what it says about where words go."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from sparsedoctor.core.engine.protocol import EngineError

_EXAMPLE = "give one like http://127.0.0.1:8080"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A server's address, read. `path` is where its OpenAI-compatible functions lie."""

    url: str
    secure: bool  # https
    host: str
    port: int
    path: str

    @classmethod
    def of(cls, url: str) -> ServerAddress:
        """Read `url`; without a path it means its /v1. Raises EngineError for what is none."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise EngineError(f"{url} is no server's address ({error}); {_EXAMPLE}") from None
        # Other letters could look like those of another host; spaces cannot be sent.
        printable = url.isascii() and url.isprintable() and " " not in url
        if parts.scheme not in ("http", "https") or not parts.hostname or not printable:
            raise EngineError(f"{url or 'an empty text'} is no server's address; {_EXAMPLE}")
        if parts.username is not None or parts.query or parts.fragment:
            raise EngineError(
                "a server's address holds no name, password or key; "
                "put the key into SPARSEDOCTOR_SERVER_KEY"
            )
        secure = parts.scheme == "https"
        return cls(
            url=url,
            secure=secure,
            host=parts.hostname,
            port=port or (443 if secure else 80),
            path=parts.path.rstrip("/") or "/v1",
        )

    @property
    def place(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def local(self) -> bool:
        """Whether it is this computer's loopback address. A name other than "localhost" is not:
        it may mean another computer tomorrow."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
