"""The nftables ruleset of transparent mode: HTTPS of forwarded clients goes to the proxy, QUIC is refused.

One table of our own, loaded and removed as a whole. Telemetry hosts are patterns (`tsa*.webex.com`), and a set
of addresses cannot hold those: all HTTPS is redirected, and what is no telemetry host passes through untouched.
"""

import ipaddress

from addons.settings import Settings
from mutewatch.errors import OperatorError

CONNECTIONS = 256  # of one client at once: browsers hold some tens; a flood ends here, not in the proxy

RULES = """\
# Made by `mutewatch live --print-firewall`, for Debian 12 (nftables 1.0) or newer.
#   load:    nft -f FILE        (again after a change: it replaces itself)
#   remove:  nft delete table inet mutewatch
#   needs:   sysctl -w net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0
# Only forwarded clients are redirected: what this host sends itself, the proxy's own connections among it, never
# passes a prerouting hook.
table inet mutewatch
delete table inet mutewatch
table inet mutewatch {{
	# Who is a client. IPv6 clients mostly have public addresses, and mitmproxy refuses those: to inspect them, add
	# your prefix here and start mutewatch with `--set block_global=false`. Others pass, uninspected.
	set clients4 {{
		type ipv4_addr; flags interval
		elements = {{ 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 }}
	}}
	set clients6 {{
		type ipv6_addr; flags interval
		elements = {{ fc00::/7 }}
	}}
	set crowd4 {{
		type ipv4_addr; flags dynamic; size 65535
	}}
	set crowd6 {{
		type ipv6_addr; flags dynamic; size 65535
	}}

	chain to_proxy {{
		type nat hook prerouting priority dstnat; policy accept
		fib daddr type local return
		ip saddr @clients4 tcp dport 443 counter {redirect4}
		{redirect6}
	}}

	chain forwarded {{
		type filter hook forward priority filter; policy accept
		# QUIC would go around the proxy; refused, clients fall back to TCP. All of it: telemetry hosts are patterns,
		# which a set of addresses cannot hold.
		ip saddr @clients4 udp dport 443 counter reject
		ip6 saddr @clients6 udp dport 443 counter reject
		{reject6}
	}}

	chain at_proxy {{
		type filter hook input priority filter; policy accept
		# Not redirected: the proxy would take its own address for the server's, and connect to itself.
		tcp dport {port} ct status & dnat != dnat counter reject with tcp reset
		# No answer: a flood is not worth one.
		tcp dport {port} ct state new add @crowd4 {{ ip saddr ct count over {connections} }} counter drop
		tcp dport {port} ct state new add @crowd6 {{ ip6 saddr ct count over {connections} }} counter drop
	}}
}}
"""
NO_IPV6 = "# no IPv6: the proxy listens on {host} only"
REJECT_IPV6 = """# The proxy has no IPv6 address: refused, clients fall back to IPv4.
		ip6 saddr @clients6 tcp dport 443 counter reject with tcp reset"""


def firewall_rules(settings: Settings) -> str:
    """Return the ruleset for a proxy with `settings`. Raises OperatorError where it would not work."""
    host, port = settings.listen.host, settings.listen.port
    if settings.listen.mode != "transparent":
        raise OperatorError(f"--print-firewall is for mode transparent, not {settings.listen.mode}")
    if host and not _is_reachable_ipv4(host):
        raise OperatorError(
            f'--print-firewall: no redirected client reaches {host}; write host = "" under [listen], or an IPv4 '
            "address of this host"
        )
    if not host:
        redirect6 = f"ip6 saddr @clients6 tcp dport 443 counter redirect to :{port}"
        return RULES.format(
            port=port,
            connections=CONNECTIONS,
            redirect4=f"redirect to :{port}",
            redirect6=redirect6,
            reject6="# Other UDP is none of ours.",
        )
    unspecified = ipaddress.ip_address(host).is_unspecified
    return RULES.format(
        port=port,
        connections=CONNECTIONS,
        redirect4=f"redirect to :{port}" if unspecified else f"dnat ip to {host}:{port}",
        redirect6=NO_IPV6.format(host=host),
        reject6=REJECT_IPV6,
    )


def _is_reachable_ipv4(host: str) -> bool:
    try:
        return not ipaddress.IPv4Address(host).is_loopback
    except ValueError:
        return False
