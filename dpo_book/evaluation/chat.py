"""Questions to an OpenAI-compatible chat endpoint: tried again where that may help, else an error without the key."""

import json
import threading
from typing import NamedTuple

from dpo_book.evaluation.endpoint import Endpoint
from dpo_book.evaluation.judges import JudgeError
from dpo_book.evaluation.retries import NoAnswer, Retries, Stopped
from dpo_book.evaluation.spending import Call, Spending
from dpo_book.maths.require import require_extra

AT_ANOTHER_TIME = (408, 409, 429)  # and everything from 500: then the same request may do
AROUND = 100  # tokens that a server may put around a message
SECRET = 8  # characters: a shorter key is a stand-in, as for servers that want none
HIDDEN = "[key]"
MOST_SAID = 200  # characters of what a server says, in an error


class Reply(NamedTuple):
    """What a model answered, and the tokens that are charged. refusal: why it would not answer, else empty."""

    text: str
    refusal: str
    input_tokens: int
    output_tokens: int


class Chat:
    """The connection to an endpoint. Threads may share it; ``stopping`` ends what waits for its next try."""

    def __init__(self, endpoint: Endpoint, retries: Retries, spending: Spending, stopping: threading.Event):
        require_extra("openai", "openai", "an endpoint as a judge")
        import openai

        self._openai = openai
        self._endpoint, self._retries, self._spending, self._stopping = endpoint, retries, spending, stopping
        self._key = endpoint.key()
        self._client = openai.OpenAI(
            api_key=self._key, base_url=endpoint.base_url, timeout=endpoint.timeout, max_retries=0
        )

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def ask(self, message: str) -> Reply:
        """The model's reply to a message.

        LimitReached where a call could exceed the limits; JudgeError, in one line, where the endpoint does not answer
        after all tries, or turns the request away for good; Stopped where somebody else failed meanwhile.
        """
        most = (len(message.encode()) + AROUND, self._endpoint.max_tokens)  # a token is at least a byte
        tried = 0
        while True:
            tried += 1
            try:
                with self._spending.call(most) as call:
                    return self._send(message, call)
            except NoAnswer as no_answer:
                trouble = no_answer
            self._before_another_try(tried, trouble)

    def _before_another_try(self, tried: int, trouble: NoAnswer) -> None:
        """Wait as long as it takes; JudgeError if there is no other try, Stopped if somebody else failed."""
        host, asked_for = self._endpoint.host, trouble.asked_for
        if tried == self._retries.tries:
            raise JudgeError(
                f"{host} gave no answer in {tried} tries, the last time because of {trouble}. Every answer is kept: "
                "ask again to go on"
            )
        if asked_for is not None and asked_for > self._retries.longest_asked:
            raise JudgeError(
                f"{host} asks for {asked_for:.0f} s of waiting. Every answer is kept: ask again then to go on"
            )
        seconds = self._retries.wait_after(tried) if asked_for is None else asked_for
        self._retries.sleep(self._stopping, seconds)
        if self._stopping.is_set():
            raise Stopped

    def _send(self, message: str, call: Call) -> Reply:
        """One try. NoAnswer where another one may do."""
        settings = {self._endpoint.max_tokens_field: self._endpoint.max_tokens}
        if self._endpoint.temperature is not None:
            settings["temperature"] = self._endpoint.temperature
        try:
            response = self._client.chat.completions.with_raw_response.create(
                model=self._endpoint.model, messages=[{"role": "user", "content": message}], extra_body=settings
            )
        except self._openai.APIError as error:
            failure = error  # told outside, for an error raised in here shows this one, the server's echo and all
        else:
            return self._reply(response.content, call)
        if isinstance(failure, self._openai.APIStatusError):
            call.used(0, 0)
            return self._turned_away(failure)
        if isinstance(failure, self._openai.APITimeoutError):
            raise NoAnswer(f"silence for {self._endpoint.timeout} seconds")
        raise NoAnswer(f"a connection that failed ({self._one_line(failure.__cause__ or failure)})")

    def _reply(self, content: bytes, call: Call) -> Reply:
        """A chat completion's text or refusal; NoAnswer for what is no chat completion."""
        try:
            body = json.loads(content)
            choice = body["choices"][0]
            message = choice["message"]
            text, refusal = message.get("content") or "", message.get("refusal") or ""
            if choice.get("finish_reason") == "content_filter":
                refusal = refusal or "content filter"
            if not (isinstance(text, str) and isinstance(refusal, str)):
                raise TypeError("no text")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise NoAnswer(f"an answer that is no chat completion ({self._one_line(content)})") from None
        usage = body.get("usage")
        known = isinstance(usage, dict)
        counted = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")] if known else []
        if counted and all(type(count) is int and count >= 0 for count in counted):
            call.used(*counted)
        return Reply(self._without_key(text), self._without_key(refusal), *call.tokens)

    def _turned_away(self, error: Exception) -> Reply:
        """What follows from an error in the server's own words."""
        status, host = error.status_code, self._endpoint.host
        body = error.body if isinstance(error.body, dict) else {}
        said = self._one_line(body.get("message") or error.response.text)
        if error.code == "content_filter":
            return Reply("", f"content filter: {said}", 0, 0)
        if error.code == "insufficient_quota":
            raise JudgeError(f"{host}: nothing is left to spend ({said}). Every answer is kept: ask again to go on")
        if status in AT_ANOTHER_TIME or status >= 500:
            asked_for = self._retries.asked_for(error.response.headers.get("retry-after"))
            raise NoAnswer(f"status {status} ({said})", asked_for)
        if status in (401, 403):
            variable = self._endpoint.key_variable
            raise JudgeError(f"{host} does not take the key in {variable} (status {status}: {said})")
        if status == 404:
            raise JudgeError(f"{host} has no model {self._endpoint.model!r} at this base_url (status 404: {said})")
        raise JudgeError(f"{host} turns the request away (status {status}: {said})")

    def _one_line(self, said: object) -> str:
        """What a server said, for an error: the key taken out before anything is cut."""
        text = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        line = " ".join(self._without_key(text).split())
        return line if len(line) <= MOST_SAID else f"{line[:MOST_SAID]}..."

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, HIDDEN) if len(self._key) >= SECRET else text
