"""Which hosts are opened and read, and which pass untouched."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from addons.gate import Gate, allow_hosts
from mutewatch.signatures import match_host, telemetry_hosts

PATTERNS = ("tsa*.webex.com", "locus-*.wbx2.com")


@pytest.mark.parametrize(
    "host",
    [
        "tsa3.webex.com",
        "tsa.webex.com",
        "TSA3.Webex.COM",
        "tsa3.webex.com.",
        "locus-a.wbx2.com",
    ],
)
def test_a_telemetry_host_is_inspected(host: str) -> None:
    assert Gate(PATTERNS).inspects(host)


NOT_TELEMETRY = [
    None,
    "",
    ".",
    "evil-webex.com",
    "tsa-eu_1.webex.com",  # no underscore in a host name
    "evil-tsa3.webex.com",
    "xtsa3.webex.com",
    "tsa3.webex.com.evil",
    "xtsa3.webex.com.evil.com",
    "tsa3.webex.com..",
    "tsa3.evil.webex.com",
    "tsa3.sub.webex.com",
    "tsa3xwebex.com",
    "tsa3.webexxcom",
    "webex.com",
    "www.example.com",
    "locus-.wbx2.com.example.com",
    "tsa3.webex.com\n",
    "tsa3.webex.com:443",
    "tsa3\u3002webex.com",
    "10.0.0.1",
    "::1",
    "[::1]",
]


@pytest.mark.parametrize("host", NOT_TELEMETRY)
def test_any_other_host_passes(host: str | None) -> None:
    assert not Gate(PATTERNS).inspects(host)


@given(st.text(alphabet="tsa3.webx2comlu-*_:\n", max_size=24))
def test_a_name_that_is_inspected_is_one_label_below_its_domain(host: str) -> None:
    if Gate(PATTERNS).inspects(host):
        label, domain = host.lower().rstrip(".").split(".", 1)
        assert (label[:3], domain) == ("tsa", "webex.com") or (label[:6], domain) == ("locus-", "wbx2.com")


@given(st.text(alphabet="tsa3.webx2comlu-", max_size=24))
def test_mitmproxy_is_given_the_same_decision(host: str) -> None:
    allowed = any(re.search(rule, f"{host}:443", re.IGNORECASE) for rule in allow_hosts(PATTERNS))
    assert allowed == Gate(PATTERNS).inspects(host)


@pytest.mark.parametrize("host", [host for host in NOT_TELEMETRY if host and host != "tsa3.webex.com:443"])
def test_mitmproxy_is_not_allowed_any_other_host(host: str) -> None:
    assert not any(re.search(rule, f"{host}:443", re.IGNORECASE) for rule in allow_hosts(PATTERNS))


@pytest.mark.parametrize("pattern", ["", "*", "*.com", "tsa.*.com", "webex", "tsa(.webex.com", "a b.webex.com", "*.*"])
def test_a_pattern_that_would_match_too_much_is_refused(pattern: str) -> None:
    with pytest.raises(ValueError, match="host pattern"):
        Gate([pattern])


def test_no_patterns_at_all_are_refused() -> None:
    with pytest.raises(ValueError, match="nothing would be inspected"):
        Gate([])


@given(st.text(alphabet="tsa3.webx2comlu-", max_size=24), st.sampled_from(telemetry_hosts()))
def test_the_signatures_match_what_the_gate_opens(host: str, pattern: str) -> None:
    assert match_host(pattern, host) == Gate([pattern]).inspects(host)


def test_the_hosts_of_all_signatures_are_accepted() -> None:
    assert Gate(telemetry_hosts()).inspects("tsa3.webex.com")
