"""Who is let in: the Host, the Origin and the token of a request, on a real server."""

from __future__ import annotations

import pytest

from audiorestorer.serving.guard import Guard, host_of, is_loopback
from tests.serving.conftest import Server


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7", "", "localhost.evil.example:80"]
)
def test_another_name_is_refused(server: Server, host: str) -> None:
    for method, path in (("GET", "/"), ("GET", "/batches.json"), ("POST", "/batches")):
        assert server.ask(method, path, Host=host, Origin=f"http://{host}").status == 421


def test_names_of_this_machine_are_taken(server: Server) -> None:
    for host in ("127.0.0.1", f"localhost:{server.port}", f"[::1]:{server.port}"):
        assert server.ask("GET", "/", Host=host).status == 200
    assert server.ask("GET", "/", Host=None).status == 400


@pytest.mark.parametrize(
    "origin", [None, "null", "http://evil.example", "https://127.0.0.1", "file://", "http://localhost"]
)
def test_a_change_needs_the_own_origin(server: Server, origin: str | None) -> None:
    before = len(server.ask("GET", "/batches.json").json["batches"])
    batch = server.new()
    asked = {"preset": "speech_over_music"}
    assert server.ask("POST", "/batches", asked, Origin=origin).status == 403
    assert server.ask("PUT", f"/batches/{batch}/files?name=a.wav", b"x", Origin=origin).status == 403
    assert server.ask("DELETE", f"/batches/{batch}", Origin=origin).status == 403
    assert len(server.ask("GET", "/batches.json").json["batches"]) == before + 1
    assert server.ask("DELETE", f"/batches/{batch}").status == 204


def test_without_the_token_nothing_is_shown(guarded: Server) -> None:
    for path in (
        "/",
        "/batches.json",
        "/static/app.js",
        "/?token=",
        "/?token=x",
        f"/?token={guarded.token}x",
        "/reports/a/b/c",
    ):
        assert guarded.ask("GET", path).status == 401, path
    for cookie in (
        "x=y",
        f"audiorestorer-{guarded.port}=",
        f"audiorestorer-{guarded.port}=é",
        f"other={guarded.token}",
        ";;=",
    ):
        assert guarded.ask("GET", "/", Cookie=cookie).status == 401, cookie
    assert guarded.ask("POST", "/batches", {"preset": "speech_over_music"}).status == 401
    assert guarded.ask("POST", f"/batches?token={guarded.token}", {"preset": "speech_over_music"}).status == 401


def test_the_token_becomes_a_cookie_that_no_script_and_no_other_site_has(guarded: Server) -> None:
    answer = guarded.ask("GET", f"/?token={guarded.token}")
    assert answer.status == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"]
    assert "httponly" in cookie.lower() and "samesite=strict" in cookie.lower()
    pair = cookie.split(";")[0]
    assert guarded.ask("GET", "/", Cookie=pair).status == 200
    assert guarded.ask("GET", "/", Cookie=pair, Host="evil.example").status == 421
    assert (
        guarded.ask("POST", "/batches", {"preset": "noisy_speech"}, Cookie=pair, Origin="http://evil.example").status
        == 403
    )


def test_a_page_may_run_its_own_script_alone(server: Server) -> None:
    policy = server.ask("GET", "/").headers["content-security-policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "default-src 'none'" in policy
    missing = server.ask("GET", "/nowhere")
    assert missing.status == 404 and missing.headers["content-security-policy"] == policy


def test_a_report_page_of_another_key_is_not_shown(server: Server) -> None:
    batch = server.new()
    assert server.ask("GET", f"/reports/{batch}/{'0' * 40}/results.html").status == 404
    assert server.ask("GET", f"/batches/{batch}/../../../etc/passwd").status == 404
    server.ask("DELETE", f"/batches/{batch}")


def test_what_is_this_machine() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "127.8.0.1", "::1", "localhost", "LOCALHOST"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.0.7", "localhost.example", ""))
    assert [host_of(value) for value in ("a:1", "[::1]:80", "A", "[", "a@b")] == ["a", "::1", "a", "", "b"]


def test_beyond_loopback_addresses_and_given_names_are_taken() -> None:
    guard = Guard(None, loopback=False, names=("Studio.example",), token="t", cookie="c")  # type: ignore[arg-type]
    assert [guard._is_ours(host) for host in ("192.168.0.7", "::1", "studio.example", "other.example")] == [
        True,
        True,
        True,
        False,
    ]
