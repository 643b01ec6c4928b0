"""The one door to the network: a request goes out, and within a deadline a whole body comes back, or not.

httpx knows no total deadline and no limit of size, so both are enforced where bytes come in: every wait on
the socket (name look-up, connect, TLS, write, read) is cut to what is left of the deadline, and bytes are
counted after decompression. All foreign exceptions are mapped here to `Unreachable` or `BadAnswer`.
"""

from __future__ import annotations

import base64
import logging
import re
import ssl
import time
import zlib
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING

import httpcore
import httpx

from slo_budget_tracker.answers import printable
from slo_budget_tracker.errors import BadAnswer, PrometheusError, Unreachable
from slo_budget_tracker.sockets import DEADLINE, Pool, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

MOST_HEADERS = 100
_CHUNK = 65_536
_SNI = "sni_hostname"
_HIDDEN = b"[secret]"
_OVER = httpx.ByteStream(b"")
_SHORTEST_SECRET = 6  # bytes: shorter ones stand in any text
_NO_SECRET = re.compile(
    r"^content-|^accept|^user-agent$|(?:org-?id|tenant|-id)$", re.IGNORECASE
)  # tenants are labels

for _library in ("httpx", "httpcore"):  # they log addresses with passwords, and headers
    logging.getLogger(_library).setLevel(logging.WARNING)


@dataclass(frozen=True, slots=True)
class Reply:
    """Status, headers and the decoded body of one answer."""

    status: int
    headers: Mapping[str, str]  # names in any case
    body: bytes


class Transport:
    """Sends requests to one server; thread-safe. Knows no proxies and cookies; a redirect is an answer."""

    def __init__(
        self, *, context: ssl.SSLContext | None, server_name: str | None, connections: int, most_bytes: int
    ) -> None:
        self._most_bytes = most_bytes
        self._extensions = {_SNI: server_name} if server_name else {}
        self.certificate_expires: float | None = None
        self._client = httpx.Client(
            transport=Pool(context, connections),
            trust_env=False,
            follow_redirects=False,
            cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
            timeout=None,  # noqa: S113 - the deadline holds for every wait on the socket
        )

    def send(
        self,
        method: str,
        url: str,
        *,
        form: Mapping[str, str] | Sequence[tuple[str, str]],
        headers: Mapping[str, str],
        deadline: float,
        content: bytes | None = None,
        connect: bool = True,
        most_bytes: int | None = None,
    ) -> Reply:
        """One request, over at `deadline` (monotonic clock), its body decompressed and at most so long.

        With `connect=False` it goes over a connection that is open, or fails with reason `closed` and was
        not sent: whoever answered on that connection before is who gets it.
        """
        DEADLINE.at, DEADLINE.may_connect, DEADLINE.refused = deadline, connect, False
        try:
            with mapped():
                request = self._client.build_request(
                    method,
                    url,
                    headers={**headers, "Accept": "application/json", "Accept-Encoding": "gzip"},
                    extensions={**self._extensions, "timeout": {"pool": max(deadline - time.monotonic(), 0)}},
                    params=httpx.QueryParams(form) if method == "GET" else None,  # type: ignore[arg-type]  # both are taken
                    data=dict(form) if method != "GET" and content is None else None,
                    content=content,
                )
                response = self._client.send(request, stream=True)
                try:
                    reply = self._receive(response, most_bytes or self._most_bytes)
                    return replace(reply, body=_silenced(reply.body, headers))
                finally:
                    response.close()
                    response.stream = _OVER  # the one there was has the response: a cycle for each request
        except Unreachable:
            if DEADLINE.refused:
                raise Unreachable("the connection is closed", reason="closed") from None
            raise
        finally:
            DEADLINE.at, DEADLINE.may_connect = float("inf"), True

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def _receive(self, response: httpx.Response, most_bytes: int) -> Reply:
        if len(response.headers.raw) > MOST_HEADERS:
            raise Unreachable(f"more than {MOST_HEADERS} headers in an answer", reason="protocol")
        self._note_certificate(response)
        if response.is_redirect:
            return Reply(response.status_code, response.headers, b"")
        body = _decompressed(response.iter_raw(_CHUNK), response.headers, most_bytes)
        return Reply(response.status_code, response.headers, body)

    def _note_certificate(self, response: httpx.Response) -> None:
        stream = response.extensions.get("network_stream")
        secured = stream.get_extra_info("ssl_object") if stream is not None else None
        if isinstance(secured, ssl.SSLSocket) and (certificate := secured.getpeercert()):
            self.certificate_expires = ssl.cert_time_to_seconds(str(certificate["notAfter"]))


def _silenced(body: bytes, sent: Mapping[str, str]) -> bytes:
    """The body without what was sent as a secret: some servers repeat what they were told (H14)."""
    for word in _secrets(sent):
        if word in body:
            body = body.replace(word, _HIDDEN)
    return body


def _secrets(sent: Mapping[str, str]) -> Iterator[bytes]:
    """The parts of headers that nobody else may see: tokens and passwords, as they were sent."""
    for name, value in sent.items():
        if _NO_SECRET.search(name) is not None:
            continue
        scheme, _, token = value.rpartition(" ")
        words = [token.encode()]
        if scheme.lower() == "basic":
            with suppress(ValueError):
                words.append(base64.b64decode(token).partition(b":")[2])
        yield from (word for word in words if len(word) >= _SHORTEST_SECRET)


def _decompressed(chunks: Iterable[bytes], headers: httpx.Headers, most: int) -> bytes:
    """The body without its one layer of gzip; BadAnswer when it is too large, cut or coded otherwise."""
    codings = headers.get("Content-Encoding", "identity").strip().lower()
    if codings == "identity":
        return _limited(chunks, most)
    if codings not in ("gzip", "x-gzip"):
        raise BadAnswer(f"the answer is coded as {printable(codings)}, gzip was asked for", reason="encoding")
    unpacker = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)

    def unpacked() -> Iterator[bytes]:
        room = most + 1
        for chunk in chunks:
            part = unpacker.decompress(chunk, room)
            room -= len(part)
            yield part
            if unpacker.unused_data:
                raise BadAnswer("bytes after the end of the compressed answer", reason="encoding")
        if not unpacker.eof:
            raise BadAnswer("the compressed answer is cut", reason="truncated")

    try:
        return _limited(unpacked(), most)
    except zlib.error:
        raise BadAnswer("the answer says gzip and is not", reason="encoding") from None


def _limited(chunks: Iterable[bytes], most: int) -> bytes:
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > most:
            raise BadAnswer(f"the answer is longer than {most} bytes", reason="too_large")
    return bytes(body)


@contextmanager
def mapped() -> Iterator[None]:
    """Whatever httpx, httpcore, ssl or the system raise becomes a PrometheusError; URLs stay out of it."""
    try:
        yield
    except PrometheusError:
        raise
    except (httpx.TimeoutException, httpcore.TimeoutException, TimeoutError):
        raise Unreachable("no complete answer within the deadline", reason="timeout") from None
    except (httpx.RemoteProtocolError, httpcore.RemoteProtocolError) as error:
        if "incomplete" in str(error) or "without sending complete" in str(error):
            raise BadAnswer("the answer was cut", reason="truncated") from None
        raise Unreachable("the answer is not HTTP as it should be", reason="protocol") from None
    except (httpx.NetworkError, httpcore.NetworkError, OSError) as error:
        raise Unreachable(f"no connection: {reason_of(error)}", reason="connection") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError) as error:
        raise Unreachable(f"the request failed: {type(error).__name__}", reason="protocol") from None
    except Exception as error:  # noqa: BLE001 - the door: nothing foreign goes further
        raise Unreachable(f"the request failed: {type(error).__name__}", reason="protocol") from None
