"""The sliders for a lecture hall: pages without code, and a server whose visitors cannot run any."""

import asyncio
import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import urllib.request
import uuid
from contextlib import contextmanager

import pytest
from playwright.sync_api import expect
from tornado.websocket import websocket_connect

from tests.browser import browser_or_skip, chromium_page
from tests.patience import PATIENCE, next_line
from tests.site.browser import Site
from tools.app import serve
from tools.app.pages import page
from tools.app.serve import settings
from tools.chapter_widgets import WIDGETS

pytest.importorskip("voila")
CHAPTER = "06_where_does_the_loss_come_from"


@pytest.mark.parametrize("chapter", sorted(WIDGETS))
def test_a_page_runs_what_its_widgets_need_and_no_more(chapter):
    cells = page(chapter).cells
    code = [cell.source for cell in cells if cell.cell_type == "code"]
    shown = [source for source in code if not source.startswith("%%capture")]
    assert len(shown) == len(WIDGETS[chapter]) and all("widgets." in source for source in shown)
    assert len(code) == len(set(code))
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    assert text.startswith(f"# {chapter[:2]} · ") and "### Exercise" not in text


def test_the_token_stays_on():
    assert "--token" in settings("127.0.0.1", 8866, None)
    assert "--token=hall" in settings("127.0.0.1", 8866, "hall")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"token": ""}, "--token wants a word"),
        ({"port": 99_999}, "--port wants a number from 1 to 65535, such as 8866, and not 99999"),
        ({"port": 0}, "--port wants a number from 1 to 65535, such as 8866, and not 0"),
        ({"host": ""}, "--host wants an address of this machine: 127.0.0.1, or 0.0.0.0 for every one"),
        ({"host": "2001:db8::1"}, "nothing can be served at [2001:db8::1]:8866"),
        ({"host": "[::1]"}, "nothing can be served at"),
    ],
)
def test_what_would_let_everybody_in_or_go_elsewhere_is_refused(capsys, wrong, said):
    with pytest.raises(SystemExit) as stop:
        serve.app(**wrong)
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and said in printed and printed.count("\n") == 1


def free_port(host, family):
    with socket.create_server((host, 0), family=family) as free:
        return free.getsockname()[1]


@contextmanager
def served(host, port):
    """What `python -m tools.app` says until it runs, with the token "hall", as long as the context is open."""
    command = [sys.executable, "-m", "tools.app", "--host", host, "--port", str(port), "--token", "hall"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        said = []
        while "is running at" not in "".join(said):
            said.append(next_line(server))
            assert said[-1], "".join(said)
        said.append(next_line(server))  # the address
        threading.Thread(target=server.stdout.read, daemon=True).start()  # or it would wait for a reader
        try:
            yield "".join(said)
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def app():
    """The address at which it is served."""
    port = free_port("127.0.0.1", socket.AF_INET)
    with served("127.0.0.1", port) as said:
        address = f"http://127.0.0.1:{port}"
        assert f"{address}/" in said
        yield address


def test_an_address_of_ipv6_is_served_and_stands_in_brackets():
    try:
        port = free_port("::1", socket.AF_INET6)
    except OSError as error:
        pytest.skip(f"no IPv6 on this machine: {error}")
    with served("::1", port) as said:
        address = f"http://[::1]:{port}"
        assert f"{address}/" in said
        with urllib.request.urlopen(f"{address}/?token=hall", timeout=PATIENCE) as answer:
            assert CHAPTER in answer.read().decode()


def test_every_address_of_ipv6_is_told_by_the_name_of_the_machine():
    assert f"--Voila.custom_display_url=http://{socket.gethostname()}:8866" in settings("::", 8866, None)
    assert not any("display" in option for option in settings("0.0.0.0", 8866, None))


def kernel_of_a_visitor(app):
    """The kernel that a visitor's page gets."""
    with urllib.request.urlopen(f"{app}/voila/render/{CHAPTER}.ipynb?token=hall", timeout=PATIENCE) as answer:
        return re.search(r'"kernelId": ?"([0-9a-f-]+)"', answer.read().decode())[1]


@pytest.mark.parametrize("path", ["/", f"/voila/render/{CHAPTER}.ipynb", "/voila/tree"])
def test_nobody_comes_in_without_the_token(app, path):
    connection = http.client.HTTPConnection(app.removeprefix("http://"), timeout=PATIENCE)
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status in (302, 403) and b"kernelId" not in answer.read()
    assert "login" in answer.getheader("Location", "login")
    connection.close()


def test_a_visitor_runs_no_code_and_has_a_kernel_alone(app, tmp_path):
    one, other = kernel_of_a_visitor(app), kernel_of_a_visitor(app)
    assert one != other
    code = f"open({str(tmp_path / 'written')!r}, 'w')"

    async def visit():
        address = f"{app.replace('http', 'ws')}/api/kernels/{one}/channels?token=hall"
        connection = await websocket_connect(address)
        for kind, content in (("execute_request", {"code": code, "silent": False}), ("kernel_info_request", {})):
            header = {"msg_id": uuid.uuid4().hex, "msg_type": kind, "session": "s", "username": "", "version": "5.3"}
            message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
            await connection.write_message(json.dumps(message))
        kinds = []
        while "kernel_info_reply" not in kinds:  # which answers the later question
            kinds.append(json.loads(await connection.read_message())["msg_type"])
        connection.close()
        return kinds

    kinds = asyncio.run(asyncio.wait_for(visit(), PATIENCE))
    assert "execute_reply" not in kinds and not (tmp_path / "written").exists()


def test_sliders_move_by_keyboard_and_the_live_run_ends(app):
    with chromium_page(browser_or_skip(), 1024, 768) as page:
        site = Site(page, app)
        page.goto(f"{app}/?token=hall")
        links = page.locator("a").all_inner_texts()
        assert len(links) == len(WIDGETS) and "06 where does the loss come from" in links
        page.goto(f"{app}/voila/render/{CHAPTER}.ipynb")
        picture = page.locator("img").first
        picture.wait_for()
        before = picture.get_attribute("src")
        page.locator('[role="slider"], input[type="range"]').first.press("ArrowRight")
        page.wait_for_function("before => document.querySelector('img').src !== before", arg=before)
        assert "import" not in page.locator("body").inner_text()

        page.goto(f"{app}/voila/render/07_does_it_get_there.ipynb")
        steps = page.locator('[role="slider"], input[type="range"]').nth(2)
        steps.wait_for()
        for _ in range(14):
            steps.press("ArrowLeft")  # from 300 steps to 20
        page.get_by_role("button", name="Run").click()
        expect(page.locator("body")).to_contain_text("done", timeout=1000 * PATIENCE)
        assert page.locator("img").first.get_attribute("alt")
        assert not site.violations(), site.violations()
        assert not site.leaving, site.leaving
        assert not site.console_errors, site.console_errors
