"""Files from the network: https only, bounded, resumed where they broke off, checked before they get their name. No torch import."""

from __future__ import annotations

import os
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection
from http.client import HTTPException, HTTPMessage, HTTPResponse
from pathlib import Path
from typing import IO, Any

from audiorestorer import locks
from audiorestorer.errors import AudioRestorerError

TIMEOUT_SEC = 30
REACH_SEC = 6.0  # for the answer of a host that is only asked whether it is there
BLOCK = 1 << 20
ATTEMPTS = 4
LEAST_RATE, LEAST_RATE_AFTER_SEC = 1_000, 60.0  # bytes per second: a slower server counts as hanging
PORTAL = (
    "the answer is a web page, not the file: a sign-in page of this network (captive portal), or a proxy's error. Open a browser"
    " and sign in, or fetch the file elsewhere"
)


Progress = Callable[[int, int | None], None]


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith("https://"):
            raise AudioRestorerError(f"redirected to {newurl:.100}, which is not https: refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Stays(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: a host that sends elsewhere has answered."""

    def redirect_request(self, *_: Any) -> None:
        return None


def unreachable(hosts: Collection[str], within_sec: float = REACH_SEC) -> dict[str, str]:
    """The hosts that do not answer by https, by the way of this machine's proxy if it has one, and why. All are asked at once."""
    answers: dict[str, str | None] = {}

    def ask(host: str) -> None:
        try:
            urllib.request.build_opener(_Stays).open(
                urllib.request.Request(f"https://{host}/", method="HEAD"), timeout=within_sec
            ).close()
            answers[host] = None
        except (urllib.error.HTTPError, AudioRestorerError):  # it answers, if only to refuse
            answers[host] = None
        except Exception as error:  # of the resolver, the socket, TLS or the proxy
            answers[host] = str(getattr(error, "reason", error)) or type(error).__name__

    threads = [threading.Thread(target=ask, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    end = time.monotonic() + within_sec + 1
    for thread in threads:  # a resolver may take longer than any time that it is given
        thread.join(max(0.0, end - time.monotonic()))
    found = dict(answers)
    reasons = {host: found.get(host, f"no answer within {within_sec:g} s") for host in hosts}
    return {host: reason for host, reason in reasons.items() if reason is not None}


class _Broken(Exception):
    """The connection ended before the file did."""


def fetch(
    url: str, target: Path, limit: int, check: Callable[[Path], Any], *, resume: bool, progress: Progress | None = None
) -> None:  # fmt: skip
    """Download a file. It appears under its name when it is complete and `check` has passed.

    Args:
        limit: largest size in bytes.
        check: raises where the content is wrong.
        resume: keep the bytes that have arrived when the connection breaks, for this call and the next; `check` must know the
            whole content.
        progress: told the bytes so far and those in all (None: the server does not say).

    Raises:
        AudioRestorerError: not https, a redirect to anything else, a web page instead of the file, too large or too slow, not
            complete after some attempts, refused by `check`, or another process is fetching it.
        OSError: no network, or the disk.
    """
    if not url.lower().startswith("https://"):
        raise AudioRestorerError(f"{url:.100}: only https:// is downloaded")
    part = target.with_name(f".{target.name}.part")
    with open(part, "ab") as out:
        locks.take(out, f"{part}: another process is fetching this file")
        resumed = resume and out.tell() > 0
        try:
            _complete(url, out, limit, resume, progress)
            try:
                check(part)
            except AudioRestorerError:
                out.truncate(0)
                if not resumed:
                    raise
                _complete(url, out, limit, resume, progress)  # the bytes kept may have been those of another file
                check(part)
            os.replace(part, target)
        except _Broken as error:
            raise AudioRestorerError(str(error)) from error
        finally:
            if part.exists() and not (resume and part.stat().st_size):
                part.unlink()


def _complete(url: str, out: IO[bytes], limit: int, resume: bool, progress: Progress | None) -> None:
    """Append to `out` until the file is complete."""
    for attempt in range(ATTEMPTS):
        try:
            return _more(url, out, limit, resume, progress)
        except (_Broken, HTTPException, ConnectionError, TimeoutError, ssl.SSLError) as error:
            if attempt == ATTEMPTS - 1:
                raise _Broken(f"{error} ({ATTEMPTS} attempts)") from error
            time.sleep(0.2 * 2**attempt)


def _more(url: str, out: IO[bytes], limit: int, resume: bool, progress: Progress | None) -> None:
    have = os.fstat(out.fileno()).st_size
    if not resume or have >= limit:
        out.truncate(have := 0)
    headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.build_opener(_HttpsOnly).open(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SEC
        )
    except urllib.error.HTTPError as error:
        if error.code != 416:  # no bytes after those here: `check` says whether the file is complete
            raise AudioRestorerError(f"the server says {error.code} {error.reason}") from error
        return
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise AudioRestorerError(
                f"the server's certificate is not valid ({error.reason.verify_message}): {PORTAL}"
            ) from error
        if isinstance(error.reason, ConnectionError | TimeoutError):
            raise error.reason from error
        raise
    with answer:
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            out.truncate(have := 0)
        _copy(answer, out, have, limit, progress)


def _copy(answer: HTTPResponse, out: IO[bytes], have: int, limit: int, progress: Progress | None) -> None:
    if answer.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise AudioRestorerError(PORTAL)
    announced = answer.headers.get("Content-Length", "")
    whole = have + int(announced) if announced.isdecimal() and len(announced) < 20 else None
    done, began = have, time.monotonic()
    too_large = AudioRestorerError(f"larger than {limit / 1e6:.0f} MB")
    if whole is not None and whole > limit:
        out.truncate(0)
        raise too_large
    while block := answer.read1(BLOCK):
        if done == 0 and block.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
            raise AudioRestorerError(PORTAL)
        done += len(block)
        if done > limit:
            out.truncate(0)
            raise too_large
        out.write(block)
        if progress is not None:
            progress(done, whole)
        lasted = time.monotonic() - began
        if lasted > LEAST_RATE_AFTER_SEC and (done - have) / lasted < LEAST_RATE:
            raise _Broken(f"slower than {LEAST_RATE} bytes a second")
    out.flush()
    os.fsync(out.fileno())
    if whole is not None and done != whole:
        raise _Broken(f"{done} of {whole} bytes arrived")
