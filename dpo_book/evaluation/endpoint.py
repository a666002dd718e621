"""Where a model that judges is reached: an address, a name, and the name of the variable that holds the key."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from dpo_book.maths.require import SettingError, require_count, require_positive, require_temperature


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model behind ``base_url``/chat/completions.

    key_variable: the environment variable that holds the key; any text where the server wants none. timeout: seconds
    without a byte from the server. max_tokens: of an answer, reasoning included, sent as ``max_tokens_field``, which
    some servers know by its older name "max_tokens". temperature: None leaves it to the server.
    """

    model: str
    base_url: str = "https://api.openai.com/v1"
    key_variable: str = "OPENAI_API_KEY"
    timeout: float = 60.0
    max_tokens: int = 1024
    max_tokens_field: str = "max_completion_tokens"
    temperature: float | None = None

    def __post_init__(self) -> None:
        require_positive("timeout", self.timeout)
        require_count("max_tokens", self.max_tokens)
        if self.temperature is not None:
            require_temperature(self.temperature)
        url = urlsplit(self.base_url)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise SettingError("base_url must be such as http://localhost:8000/v1")

    @property
    def host(self) -> str:
        """The server's name, for messages: an address may have a password in it."""
        return urlsplit(self.base_url).netloc.rpartition("@")[2]

    def key(self) -> str:
        """The key, read anew each time and kept nowhere. SettingError if there is none."""
        key = os.environ.get(self.key_variable, "").strip()
        if not key:
            raise SettingError(
                f"the environment variable {self.key_variable} holds no key for {self.host}: set it, to any text if "
                "the server wants none"
            )
        if not (key.isascii() and key.isprintable() and " " not in key):
            raise SettingError(f"the environment variable {self.key_variable} holds characters that no key has")
        return key
