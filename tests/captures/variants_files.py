"""The variants of files and links: formats, byte orders, clocks, sections, secrets, encapsulations."""

from collections.abc import Callable

from tests.captures import files
from tests.captures.capture import Capture, capture, merged
from tests.captures.conversations import converse, tls13
from tests.captures.files import Pcapng
from tests.captures.links import Frame, dns_answers, frames, noise
from tests.captures.openssl import Settings
from tests.captures.packets import Ip, Tcp, segments

_NG = "capture.pcapng"


def rows(link: str = "ethernet") -> list[Frame]:
    return frames(segments(tls13()), link)


def on(link: str, version: int = 4, ip: Ip | None = None) -> Capture:
    """Return the conversation on this kind of link, as pcap."""
    packets = segments(tls13(), Tcp(version=version))
    order = ">" if link == "null_be" else "<"
    return capture(tls13(), files.pcap(frames(packets, link, ip), link, order=order))


def ng(file: Pcapng, *, embedded: bool = False, whole: bool = True) -> Capture:
    return capture(tls13(), file.done(), name=_NG, keylog=b"" if embedded else None, whole=whole)


def clock(resolution: int, offset: int | None = None, order: str = "<") -> Capture:
    """Return a pcapng with this if_tsresol and if_tsoffset."""
    return ng(Pcapng(order).section().interface(resolution=resolution, offset=offset).packets(rows()))


def secrets_at(place: int) -> Capture:
    """Return a pcapng whose secrets stand behind that many packets: tshark uses them from there on."""
    found, keylog = rows(), tls13().keylog
    file = Pcapng().section().interface().packets(found[:place]).secrets(keylog)
    return ng(file.packets(found[place:]), embedded=True, whole=not place)


def secrets_in_parts() -> Capture:
    """A block with the secrets of each connection, as they came to be known."""
    found, lines = rows(), tls13().keylog.splitlines(keepends=True)
    file = Pcapng().section().secrets(b"".join(lines[: len(lines) // 2])).interface().packets(found[:100])
    return ng(file.secrets(b"".join(lines[len(lines) // 2 :])).packets(found[100:]), embedded=True, whole=False)


def sections() -> Capture:
    """Three sections: two byte orders, three kinds of link, secrets only in the first."""
    one, two, three = rows()[:90], rows("raw")[90:200], rows("sll")[200:]
    file = Pcapng().section("<").secrets(tls13().keylog).interface().packets(one)
    file.section(">").interface("raw", resolution=9).packets(two)
    return ng(file.section("<").interface("sll", offset=1_000_000).packets(three), embedded=True)


def interfaces() -> Capture:
    """One connection on each of two interfaces, with clocks of different resolution; a third one is idle."""
    packets = segments(tls13())
    one = frames([row for row in packets if row.flow == 0], "sll2", interface=2)
    two = frames([row for row in packets if row.flow == 1], "vlan", interface=0)
    file = Pcapng().section().interface("vlan", resolution=9).interface("null").interface("sll2", resolution=0x80 | 20)
    return ng(file.packets(merged(one, two)))


def late_interface() -> Capture:
    """The second interface is described when its first packet comes."""
    packets = segments(tls13())
    file = Pcapng().section().interface().packets(frames(packets[:50]))
    return ng(file.interface("raw").packets(frames(packets[50:], "raw", interface=1)))


def many_options() -> Capture:
    """Options on every block, and blocks that hold no packet."""
    file = Pcapng()
    comment = file.option(1, b"made for a test")
    file.section(options=comment + file.option(4, b"tests") + bytes(4)).interface(options=comment).others()
    return ng(file.packets(rows()[:80], options=comment + file.option(2, bytes(4))).others().packets(rows()[80:]))


def mixed_blocks() -> Capture:
    """Enhanced, obsolete and again enhanced packet blocks."""
    found = rows()
    file = Pcapng().section().interface().packets(found[:60]).obsolete(found[60:120])
    return ng(file.packets(found[120:]))


def with_dns() -> Capture:
    """The answer of the name server comes first, for both families."""
    return capture(tls13(), files.pcap(merged(dns_answers(segments(tls13())), rows())))


def with_noise() -> Capture:
    """Among a thousand other frames, and another TLS conversation to which there are no keys."""
    packets = segments(tls13())
    other = segments(converse(Settings(), host="other.example", flows=3, count=10), Tcp(port=8_443))
    return capture(tls13(), files.pcap(merged(frames(packets), frames(other), noise(packets))))


def keyed(change: Callable[[bytes], bytes], least: int = 60) -> Capture:
    """Return the usual capture beside this form of its key log."""
    return capture(tls13(), files.pcap(rows()), keylog=change(tls13().keylog), least=least)


def foreign(keylog: bytes) -> bytes:
    """Return the key log among the secrets of thousand other connections, and some nonsense."""
    lines = [f"CLIENT_RANDOM {number:064x} {number:096x}\n".encode() for number in range(1_000)]
    return b"".join(lines[:500]) + b"# comment\n\nNOT A SECRET\nCLIENT_RANDOM xyz 12\n" + keylog + b"".join(lines[500:])


def of_one_connection(keylog: bytes) -> bytes:
    """Return the secrets of the connection that comes first in the log."""
    lines = keylog.splitlines(keepends=True)
    return b"".join(line for line in lines if line.split()[1] == lines[0].split()[1])


def pcap(**options: object) -> Callable[[], Capture]:
    return lambda: capture(tls13(), files.pcap(rows(), **options))  # type: ignore[arg-type]


FILES: dict[str, Callable[[], Capture]] = {
    "pcap": pcap(),
    "pcap_be": pcap(order=">"),
    "pcap_nano": pcap(nano=True),
    "pcap_nano_be": pcap(order=">", nano=True),
    "pcap_modified": lambda: capture(tls13(), files.modified_pcap(rows())),
    "pcap_gz": lambda: capture(tls13(), files.gz(files.pcap(rows())), name="capture.pcap.gz"),
    "pcap_zst": lambda: capture(tls13(), files.zst(files.pcap(rows())), name="capture.pcap.zst"),
    "pcap_rotated": lambda: capture(tls13(), *files.rotated(rows(), 4), whole=False),
    "pcap_with_dns": with_dns,
    "pcap_with_noise": with_noise,
    "pcapng": lambda: ng(Pcapng().section().interface().packets(rows())),
    "pcapng_be": lambda: ng(Pcapng(">").section().interface().packets(rows())),
    "pcapng_gz": lambda: capture(tls13(), files.gz(files.pcapng(rows())), name="capture.pcapng.gz"),
    "pcapng_zst": lambda: capture(tls13(), files.zst(files.pcapng(rows())), name="capture.pcapng.zst"),
    "pcapng_simple": lambda: ng(Pcapng().section().interface().simple(rows())),
    "pcapng_obsolete": lambda: ng(Pcapng().section().interface().obsolete(rows())),
    "pcapng_mixed_blocks": mixed_blocks,
    "pcapng_options": many_options,
    "pcapng_sections": sections,
    "pcapng_interfaces": interfaces,
    "pcapng_late_interface": late_interface,
    "pcapng_nano": lambda: clock(9),
    "pcapng_nano_be": lambda: clock(9, order=">"),
    "pcapng_milli": lambda: clock(3),
    "pcapng_two_to_20": lambda: clock(0x80 | 20),
    "pcapng_two_to_30": lambda: clock(0x80 | 30),
    "pcapng_offset": lambda: clock(6, 1_600_000_000),
    "pcapng_offset_negative": lambda: clock(9, -3_600, ">"),
    "dsb_first": lambda: secrets_at(0),
    "dsb_middle": lambda: secrets_at(100),
    "dsb_last": lambda: secrets_at(len(rows())),
    "dsb_parts": secrets_in_parts,
    "keylog_crlf": lambda: keyed(lambda keylog: keylog.replace(b"\n", b"\r\n")),
    "keylog_twice": lambda: keyed(lambda keylog: keylog + keylog),
    "keylog_foreign": lambda: keyed(foreign),
    "keylog_upper": lambda: keyed(lambda keylog: keylog.upper()),
    "keylog_without_end": lambda: keyed(lambda keylog: keylog.rstrip(b"\n")),
    "keylog_of_one": lambda: keyed(of_one_connection, 30),
    "keylog_empty": lambda: keyed(lambda _keylog: b"# nothing\n", 0),
    "ipv6": lambda: on("ethernet", 6),
    "ipv6_extended": lambda: on("ethernet", 6, Ip(extended=True)),
    "raw_ipv6": lambda: on("raw", 6),
    "null_ipv6": lambda: on("null", 6),
    "sll_ipv6": lambda: on("sll", 6),
    "vlan_ipv6": lambda: on("vlan", 6),
    **{
        link: (lambda link=link: on(link))  # type: ignore[misc]
        for link in ("vlan", "qinq", "raw", "null", "null_be", "loop", "sll", "sll2", "gre", "gre_ethernet", "vxlan")
    },
}
