"""Room for what is held (`addons/held.py`)."""

from mitmproxy.options import Options

from addons.held import SHORT, HoldingNothing, Room


class Holder:
    pass


def test_who_holds_less_or_lets_go_or_is_gone_makes_room() -> None:
    room, one, other = Room(4 * SHORT), Holder(), Holder()
    assert room.fits(one, 2 * SHORT)
    assert room.fits(other, 2 * SHORT)
    assert not room.fits(one, 2 * SHORT + 1)
    assert room.fits(other, 4 * SHORT)
    assert room.fits(other, SHORT + 1)
    assert room.fits(one, 2 * SHORT)
    del other
    assert room.taken == 2 * SHORT
    assert room.fits(one, 0)
    assert room.taken == 0


def test_what_is_short_needs_no_room() -> None:
    assert Room(0).fits(Holder(), SHORT)


def test_only_limits_that_are_set_become_nothing() -> None:
    options = Options()
    options.add_option("stream_large_bodies", str | None, "1m", "")
    options.add_option("body_size_limit", str | None, None, "")
    tight = HoldingNothing(options)
    assert (tight.stream_large_bodies, tight.body_size_limit, tight.mode) == ("1", None, options.mode)
