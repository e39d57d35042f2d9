"""The page: everything it loads comes from this server, and nothing in it runs that is not a file of ours."""

import re
from pathlib import Path

from served import served

from jaxembed.server.routes import pages

FILES = sorted(pages.FOLDER.iterdir())


def test_the_page_and_its_files_are_served_with_a_strict_policy(llm):
    with served(llm) as client:
        page = client.get("/playground")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        for name in re.findall(r'(?:src|href)="(playground/[^"]+)"', page.text):
            file = client.get(f"/{name}")
            assert file.status_code == 200, name
            assert "default-src 'none'" in file.headers["content-security-policy"]
            assert "script-src 'self'" in file.headers["content-security-policy"]
        assert client.get("/", follow_redirects=False).headers["location"] == "playground"
        assert client.get("/playground/../app.py").status_code == 404
        assert client.get("/playground/index.html").status_code == 404


def test_the_page_is_open_and_its_routes_are_not(llm):
    with served(llm, api_keys=("secret",)) as client:
        assert client.get("/playground").status_code == 200
        assert client.get("/playground/app.js").status_code == 200
        assert client.post("/", json={"inputs": "a"}).status_code == 401
        assert client.get("/v1/models").status_code == 401


def test_nothing_comes_from_elsewhere():
    assert [path.name for path in FILES] == ["app.js", "docs.html", "docs.js", "index.html", "style.css"]
    for path in FILES:
        assert not re.search(r"https?://|//[a-z]+\.|@import|\beval\b|innerHTML", path.read_text()), path.name


def test_the_page_uses_only_routes_and_fields_that_there_are(llm):
    script = (pages.FOLDER / "app.js").read_text()
    with served(llm) as client:
        (card,) = client.get("/v1/models").json()["data"]
        for field in set(re.findall(r"\bmodel\.(\w+)", script)):
            assert field in card
        for path in set(re.findall(r'call\("([^"]+)"', script)):
            assert client.options(f"/{path}").status_code in (200, 405)


def test_the_wheel_takes_the_page_along():
    assert '"jaxembed.server": ["playground/*"]' in (Path(__file__).parents[2] / "setup.py").read_text()


def test_the_page_of_routes_needs_nothing_from_elsewhere(llm):
    with served(llm) as client:
        for path in ("/docs", "/redoc"):
            page = client.get(path)
            assert page.headers["content-type"] == "text/html; charset=utf-8"
            assert "script-src 'self'" in page.headers["content-security-policy"]
            assert not re.search(r'(?:src|href)="(?:https?:)?//', page.text)
            for name in re.findall(r'(?:src|href)="([^":]+)"', page.text):
                assert client.get(f"/{name}").status_code == 200, name


def test_the_requests_that_the_page_shows_are_answered(llm):
    """The script puts one together of the fields that it knows; here as there."""
    script = (pages.FOLDER / "docs.js").read_text()
    with served(llm) as client:
        schema = client.get("/openapi.json").json()
        named = set(re.findall(r"\b(\w+): (?=[\[\"])", script.split("const EXAMPLES")[1].split("};")[0]))
        fields = {name for body in schema["components"]["schemas"].values() for name in body.get("properties", {})}
        assert named
        assert named <= fields
