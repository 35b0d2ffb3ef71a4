"""Who may ask: every request is checked for its Host, its Origin and, where one is set, its token, before any page sees it."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SAFE_METHODS = ("GET", "HEAD")
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self'; connect-src 'self';"
    " form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
# the report's pages hold their scripts and data inside; in a sandbox they are of no origin and reach nothing of this server
REPORT_POLICY = (
    "sandbox allow-scripts allow-downloads allow-popups; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline';"
    " img-src data: blob: 'self'; media-src data: blob:; font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": PAGE_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def is_loopback(host: str) -> bool:
    """Whether a name or address means this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def host_of(value: str) -> str:
    """The name or address of a Host header or of a URL's place, in lower case; empty where it is none."""
    try:
        return (urlsplit(f"//{value}").hostname or "").lower()
    except ValueError:
        return ""


class Guard:
    """ASGI middleware. On loopback only the names of this machine are taken as Host; else any address, and the names that are given.

    A page of another site whose name leads here (DNS rebinding) has that name in Host. A request that changes something must have
    the Origin that its Host has.
    """

    def __init__(self, app: ASGIApp, *, loopback: bool, names: tuple[str, ...], token: str | None, cookie: str) -> None:
        self.app, self.loopback, self.token, self.cookie = app, loopback, token, cookie
        self.names = {name.lower() for name in names}
        self.secret = secrets.token_bytes(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        scope["guard"] = self

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        answer = self.refusal(scope)
        await (answer or self.app)(scope, receive, with_headers)

    def refusal(self, scope: Scope) -> Response | None:
        """What is answered instead of the page; None: the request may go on."""
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._is_ours(host_of(hosts[0])):
            return _no(421, "This server does not have that name (see --allowed-host).")
        if scope["method"] not in SAFE_METHODS and not _same_origin(headers, hosts[0]):
            return _no(403, "Only the pages of this server may change something.")
        if self.token is None or self._has_key(scope):
            return None
        given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["method"] in SAFE_METHODS and given and self._is_token(given):
            answer = RedirectResponse("/", 303)
            answer.set_cookie(self.cookie, self.token, httponly=True, samesite="strict", path="/")
            return answer
        return (
            None if self._has_cookie(headers) else _no(401, "Open the address with the token that the server printed.")
        )

    def _is_ours(self, host: str) -> bool:
        if host in self.names:
            return True
        if self.loopback:
            return is_loopback(host)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host == "localhost"
        return True

    def _is_token(self, given: str) -> bool:
        return self.token is not None and hmac.compare_digest(given.encode(), self.token.encode())

    def _has_cookie(self, headers: Headers) -> bool:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            return False
        return morsel is not None and self._is_token(morsel.value)

    def report_key(self, batch_id: str) -> str:
        """What stands in the address of a batch's report: a page in a sandbox has no cookie when it links to the next."""
        return hmac.new(self.secret, batch_id.encode(), hashlib.sha256).hexdigest()[:40]

    def _has_key(self, scope: Scope) -> bool:
        parts = scope["path"].split("/")
        return len(parts) > 4 and parts[1] == "reports" and self.is_report_key(parts[2], parts[3])

    def is_report_key(self, batch_id: str, key: str) -> bool:
        return hmac.compare_digest(key.encode(), self.report_key(batch_id).encode())


def _same_origin(headers: Headers, host: str) -> bool:
    origins = headers.getlist("origin")
    if len(origins) != 1:
        return False
    try:
        return urlsplit(origins[0]).netloc.lower() == host.lower() and origins[0].startswith(("http://", "https://"))
    except ValueError:
        return False


def _no(status: int, message: str) -> Response:
    return PlainTextResponse(message + "\n", status)
