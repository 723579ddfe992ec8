"""The page answers to this computer and to itself, and sends nothing anywhere."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import httpx
import pytest

from sparsedoctor.app.web.hardening import HEADERS, OwnOriginOnly, with_headers


def get(server: Any, path: str, **headers: str) -> httpx.Response:
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(server.url + path, headers=names, trust_env=False)


@pytest.mark.parametrize("path", ["/", "/config", "/gradio_api/info", "/nothing-here"])
def test_every_answer_carries_the_headers(server: Any, path: str) -> None:
    given = get(server, path).headers
    for name, value in HEADERS.items():
        assert given[name] == value
    assert "access-control-allow-origin" not in given


@pytest.mark.parametrize("host", ["evil.example", "192.168.1.7", "127.0.0.1.evil.example"])
def test_a_foreign_host_name_is_refused(server: Any, host: str) -> None:
    answer = get(server, "/config", host=host)
    assert answer.status_code == 400
    assert "components" not in answer.text


def test_localhost_is_this_computer_too(server: Any) -> None:
    port = server.url.rsplit(":", 1)[1]
    assert get(server, "/config", host=f"localhost:{port}").status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_another_web_page_is_refused(server: Any, origin: str, method: str) -> None:
    answer = httpx.request(
        method, server.url + "/gradio_api/queue/join", headers={"origin": origin}, json={}
    )
    assert answer.status_code == 403


def test_its_own_origin_may_ask(server: Any) -> None:
    assert get(server, "/config", origin=server.url).status_code == 200


def test_a_request_that_another_site_causes_is_refused(server: Any) -> None:
    assert get(server, "/config", sec_fetch_site="cross-site").status_code == 403
    # but a link to the page may be followed
    answer = get(server, "/", sec_fetch_site="cross-site", sec_fetch_mode="navigate")
    assert answer.status_code == 200


def test_nothing_can_be_uploaded(server: Any) -> None:
    for path in ("/gradio_api/upload", "/upload"):
        answer = httpx.post(server.url + path, files={"files": ("x.sh", b"echo")})
        assert answer.status_code in (403, 404)


@pytest.mark.parametrize(
    "path", ["/docs", "/redoc", "/openapi.json", "/monitoring", "/gradio_api/runs"]
)
def test_there_is_nothing_beside_the_page(server: Any, path: str) -> None:
    assert get(server, path).status_code in (403, 404)


def test_no_function_can_be_called_by_name(server: Any) -> None:
    told = get(server, "/gradio_api/info").json()
    assert told["named_endpoints"] == {}
    assert told["unnamed_endpoints"] == {}


def test_gradio_is_configured_to_keep_and_share_nothing(server: Any) -> None:
    config = get(server, "/config").json()
    assert config["analytics_enabled"] is False
    assert config.get("run_history") is False
    text = json.dumps(config)
    for word in ("https://api.gradio.app", "fonts.googleapis.com", "unpkg.com"):
        assert word not in text
    chat = next(c for c in config["components"] if c["type"] == "chatbot")
    assert chat["props"]["buttons"] == []
    assert chat["props"]["sanitize_html"] is True


def test_the_page_names_no_foreign_address_it_loads_from(server: Any) -> None:
    page = get(server, "/").text
    for attribute in ('src="http', 'href="http', "@import"):
        for part in page.split(attribute)[1:]:
            assert part.startswith(server.url.removeprefix("http")), part[:80]


def test_only_this_computer_can_connect(server: Any) -> None:
    import socket

    port = int(server.url.rsplit(":", 1)[1])
    addresses = {row[4][0] for row in socket.getaddrinfo(socket.gethostname(), None)}
    for address in addresses - {"127.0.0.1", "::1"}:
        if address.startswith("127."):
            continue
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
            probe.settimeout(2)
            assert probe.connect_ex((address, port)) != 0, address


def test_the_environment_is_set_before_gradio_is_imported() -> None:
    program = (
        "import sys, os\n"
        "from sparsedoctor.app.web import serve, hardening\n"
        "assert 'gradio' not in sys.modules\n"
        "hardening.prepare_environment()\n"
        "print(os.environ['GRADIO_ANALYTICS_ENABLED'], os.environ['GRADIO_RUN_HISTORY'])\n"
    )
    environment = dict(os.environ) | {"GRADIO_ANALYTICS_ENABLED": "True", "GRADIO_SHARE": "True"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


def test_a_foreign_permission_is_taken_off() -> None:
    given = [(b"Access-Control-Allow-Origin", b"*"), (b"Cache-Control", b"public"), (b"x", b"y")]
    names = dict(with_headers(given))
    assert b"Access-Control-Allow-Origin" not in names
    assert names[b"cache-control"] == b"no-store"
    assert names[b"x"] == b"y"


async def test_a_foreign_websocket_is_closed() -> None:
    sent: list[Any] = []

    async def inner(*_: Any) -> None:
        raise AssertionError("it went through")

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {}

    scope = {"type": "websocket", "path": "/", "headers": [(b"origin", b"http://evil.example")]}
    await OwnOriginOnly(inner, 1)(scope, receive, send)
    assert sent[0]["type"] == "websocket.close"
