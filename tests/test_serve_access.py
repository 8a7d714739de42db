"""Who may see what of the served page: by token, session, role, host and origin."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from mutewatch.errors import OperatorError
from mutewatch.report.payload import Role
from mutewatch.serve.access import SESSION_LIFE, WRONG_TOKENS
from mutewatch.serve.desk import Settings
from tests.serve_support import DAY, OWN_FORM, SECRETS, Served, finding, record

VIEWER, ANALYST = Role.VIEWER, Role.ANALYST
DATA = ("/api/overview", "/api/minutes?client=x", "/api/summary", "/export.csv", "/export.jsonl")
EVIDENCE = ("/export.csv?evidence=1", "/export.jsonl?evidence=1")
EVERYTHING = ("/", "/login", "/healthz", *DATA, *EVIDENCE)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    record(tmp_path / "mutewatch.db", *(finding(number) for number in (1, 2, 3)))
    return Served(tmp_path)


@pytest.mark.parametrize(
    ("paths", "nobody", "viewer", "analyst"),
    [
        (["/healthz", "/login"], 200, 200, 200),
        (["/"], 303, 200, 200),
        (DATA, 401, 200, 200),
        (EVIDENCE, 401, 403, 200),
        (["/api/", "/static/page.js", "/static/..%2ftokens.py", "/docs"], 404, 404, 404),
    ],
)
def test_each_role_gets_its_own(served: Served, paths: list[str], nobody: int, viewer: int, analyst: int) -> None:
    expected = {None: nobody, VIEWER: viewer, ANALYST: analyst}
    got = {(path, role): served.client(role).get(path).status_code for path in paths for role in expected}
    assert got == {(path, role): status for path in paths for role, status in expected.items()}


def test_without_tokens_anybody_is_a_viewer_if_the_operator_says_so(tmp_path: Path) -> None:
    record(tmp_path / "mutewatch.db", finding(1))
    served = Served(tmp_path, anonymous=VIEWER)
    statuses = {path: served.client().get(path).status_code for path in (*DATA, *EVIDENCE)}
    assert statuses == dict.fromkeys(DATA, 200) | dict.fromkeys(EVIDENCE, 403)
    assert served.client(ANALYST).get(EVIDENCE[0]).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "testserver.evil.example", "127.0.0.1.evil.example", "10.0.0.1", ""])
def test_a_host_that_is_not_ours_gets_nothing(served: Served, host: str) -> None:
    answers = [served.client(ANALYST, {"Host": host}).get(path) for path in EVERYTHING]
    assert {(answer.status_code, answer.text) for answer in answers} == {(400, "Invalid host header")}


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_page_of_another_site_gets_no_data(served: Served, site: str) -> None:
    client = served.client(ANALYST, {"Sec-Fetch-Site": site})
    assert {client.get(path).status_code for path in (*DATA, *EVIDENCE)} == {403}


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_reading_is_understood(served: Served, method: str) -> None:
    client = served.client(ANALYST)
    assert {client.request(method, path).status_code for path in EVERYTHING} == {405}


def test_what_is_read_cannot_be_posted_to(served: Served) -> None:
    client = served.client(ANALYST, OWN_FORM)
    assert {client.post(path).status_code for path in ("/", *DATA)} == {405}


def test_every_answer_tells_browsers_to_keep_to_our_own_files_and_to_keep_nothing(served: Served) -> None:
    for path in (*EVERYTHING, "/nothing", "/api/overview?since=x"):
        for role in (None, VIEWER, ANALYST):
            headers = served.client(role).get(path).headers
            assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self';")
            assert "unsafe" not in headers["content-security-policy"]
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
            assert headers["cross-origin-resource-policy"] == "same-origin"
            assert not any(name.startswith("access-control-") for name in headers)


def test_scripts_and_styles_are_kept_for_good_under_the_hash_in_their_names(served: Served) -> None:
    page = served.client(VIEWER).get("/").text + served.client().get("/login").text
    names = {word.strip('"') for part in page.split("=") for word in part.split() if word.startswith('"/static/')}
    names = {name.partition('"')[0] for name in names}
    assert len(names) == 4
    assert {served.client().get(name).headers["cache-control"] for name in names} == {
        "public, max-age=31536000, immutable"
    }


# Logging in


def test_a_token_becomes_a_session_that_ends_with_logging_out(served: Served) -> None:
    browser = served.log_in(served.token(VIEWER))
    assert browser.get("/").status_code == 200
    assert browser.post("/logout", headers=OWN_FORM).headers["location"] == "/login"
    assert browser.get("/api/overview").status_code == 401


@pytest.mark.parametrize(
    ("is_secure", "cookie"),
    [
        (True, {"__Host-mutewatch", "HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200", "Secure"}),
        (False, {"mutewatch", "HttpOnly", "SameSite=strict", "Path=/", "Max-Age=43200"}),
    ],
)
def test_a_sessions_cookie_is_for_our_own_pages_alone(tmp_path: Path, is_secure: bool, cookie: set[str]) -> None:
    served = Served(tmp_path, Settings(("testserver",), is_secure=is_secure, is_behind_proxy=False))
    answer = served.client().post("/login", data={"token": served.token(VIEWER)}, headers=OWN_FORM)
    told = {part.strip() for part in answer.headers["set-cookie"].split(";")}
    assert {part.partition("=")[0] if "mutewatch" in part else part for part in told} == cookie


def test_a_session_ends_by_itself(served: Served) -> None:
    browser = served.log_in(served.token(VIEWER))
    served.wait(seconds=SESSION_LIFE.total_seconds() - 1)
    assert browser.get("/api/summary").status_code == 200
    served.wait(seconds=1)
    assert browser.get("/api/summary").status_code == 401


def test_a_token_that_is_taken_away_takes_its_session_along(served: Served) -> None:
    browser, path = served.log_in(served.token(VIEWER)), served.token_file.path
    served.token(ANALYST)
    path.write_text("".join(line for line in path.read_text().splitlines(True) if "viewer" not in line))
    assert browser.get("/api/summary").status_code == 401
    assert served.client(ANALYST).get("/api/summary").status_code == 200


def test_a_token_that_becomes_another_role_does_not_lift_its_session(served: Served) -> None:
    browser, path = served.log_in(served.token(VIEWER)), served.token_file.path
    path.write_text(path.read_text().replace('"viewer"', '"analyst"'))
    assert browser.get(EVIDENCE[0]).status_code == 401


def test_the_link_of_the_start_works_once_and_is_an_analysts(served: Served) -> None:
    secret = served.access.make_link()
    assert served.log_in(secret).get(EVIDENCE[0]).status_code == 200
    again = served.client().post("/login", data={"token": secret}, headers=OWN_FORM)
    assert again.status_code == 401
    assert "Start <code>mutewatch serve</code> again for a new link." in again.text
    served.token(VIEWER)
    with_tokens = served.client().post("/login", data={"token": secret}, headers=OWN_FORM)
    assert "again for a new link" not in with_tokens.text


def test_wrong_tokens_are_not_looked_at_for_ever(served: Served) -> None:
    good = served.token(VIEWER)
    for _ in range(WRONG_TOKENS):
        assert served.client().post("/login", data={"token": "wrong"}, headers=OWN_FORM).status_code == 401
    refused = served.client().post("/login", data={"token": good}, headers=OWN_FORM)
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "60")
    assert served.client(VIEWER).get("/api/overview").status_code == 429
    served.wait(minutes=1)
    assert served.client(VIEWER).get("/api/overview").status_code == 200


def test_wrong_tokens_do_not_end_a_session(served: Served) -> None:
    browser = served.log_in(served.token(VIEWER))
    for _ in range(WRONG_TOKENS + 1):
        served.client(headers={"Authorization": "Bearer wrong"}).get("/api/overview")
    assert browser.get("/api/overview").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://testserver.evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver:99"},
    ],
)
@pytest.mark.parametrize("path", ["/login", "/logout"])
def test_another_site_logs_nobody_in_or_out(served: Served, path: str, headers: dict[str, str]) -> None:
    browser = served.log_in(served.token(VIEWER))
    assert browser.post(path, data={"token": served.token(ANALYST)}, headers=headers).status_code == 403
    assert browser.get("/").status_code == 200


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"token=" + b"x" * 4091, {}, 413),
        (b"token=%ff&token=%00", {}, 401),
        (b"\xff\xfe", {}, 400),
        (b"a=1&b=2&c=3&d=4&e=5", {}, 400),
        (b"", {}, 401),
        (b"token=x", {"Content-Length": "many"}, 413),
        (b"token=x", {"Transfer-Encoding": "chunked"}, 413),
    ],
)
def test_a_form_that_is_none_is_refused(served: Served, content: bytes, headers: dict[str, str], status: int) -> None:
    assert served.client().post("/login", content=content, headers=OWN_FORM | headers).status_code == status


# Tokens


def test_tokens_are_kept_as_hashes_for_their_owner_only(served: Served) -> None:
    token, path = served.token(VIEWER), served.token_file.path
    assert token not in path.read_text()
    assert json.loads(path.read_text())["role"] == "viewer"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "x" * 65, "ä", "{}"])
def test_a_token_has_a_plain_name(served: Served, name: str) -> None:
    with pytest.raises(OperatorError, match="name a token with"):
        served.token_file.add(VIEWER, name, served.now)


def test_a_name_is_given_once(served: Served) -> None:
    served.token_file.add(VIEWER, "anna", served.now)
    with pytest.raises(OperatorError, match="there is a token of anna already"):
        served.token_file.add(ANALYST, "anna", served.now)


def break_mode(path: Path) -> None:
    path.chmod(0o644)


def break_line(path: Path) -> None:
    path.write_text(path.read_text() + '{"name": "x", "role": "owner", "sha256": ""}\n')


@pytest.mark.parametrize(
    ("damage", "said"), [(break_mode, "open to others: chmod 600"), (break_line, "line 1 is no token: delete it")]
)
def test_a_token_file_that_is_not_in_order_lets_nobody_in(
    served: Served, damage: Callable[[Path], None], said: str, caplog: pytest.LogCaptureFixture
) -> None:
    served.token_file.path.touch(0o600)
    damage(served.token_file.path)
    answer = served.client(headers={"Authorization": "Bearer x"}).get("/api/overview")
    assert answer.status_code == 503
    assert said in caplog.text
    assert str(served.folder) not in answer.text


# What a viewer sees


def test_a_viewer_finds_no_value_evidence_or_guess_in_any_answer(served: Served) -> None:
    record(served.store, finding(5, client="bob@example.org"))
    client = served.client(VIEWER)
    names = [one["name"] for one in client.get("/api/overview", params=DAY).json()["clients"]]
    assert len(names) == 2
    answers = [client.get("/"), client.get("/api/summary", params={"month": "2026-03"})]
    answers += [client.get(path, params=DAY) for path in ("/api/overview", "/export.csv", "/export.jsonl")]
    answers += [client.get("/api/minutes", params=DAY | {"client": name}) for name in names]
    answers += [client.get("/export.csv", params=DAY | {"client": name, "evidence": "1"}) for name in names]
    text = "".join(answer.text + str(answer.headers) for answer in answers)
    assert text.count("flagged") > len(answers)
    assert [secret for secret in (*SECRETS, "bob@") if secret in text] == []


def test_a_viewer_finds_nobody_by_the_name_on_the_wire(served: Served) -> None:
    record(served.store, finding(5, client="bob@example.org"))
    wanted = DAY | {"client": "bob@example.org"}
    assert served.client(VIEWER).get("/api/minutes", params=wanted).json()["count"] == 0
    assert served.client(ANALYST).get("/api/minutes", params=wanted).json()["count"] == 1
    assert "flagged" not in served.client(VIEWER).get("/export.csv", params=wanted).text


def test_an_analyst_finds_all_of_it(served: Served) -> None:
    client = served.client(ANALYST)
    for text in (
        client.get("/api/minutes", params=DAY | {"client": finding(1).client}).text,
        client.get("/export.jsonl", params=DAY | {"evidence": "1"}).text,
    ):
        assert [secret for secret in SECRETS if secret not in text] == []


def test_guesses_can_be_left_out_for_everybody(tmp_path: Path) -> None:
    record(tmp_path / "mutewatch.db", finding(1))
    served = Served(tmp_path, Settings(("testserver",), is_secure=False, is_behind_proxy=False, guesses=False))
    client = served.client(ANALYST)
    for path in ("/api/minutes", "/export.csv", "/export.jsonl"):
        text = client.get(path, params=DAY | {"client": finding(1).client, "evidence": "1"}).text
        assert "46.5" in text
        assert "juggling" not in text
