"""`mutewatch prune`: deletes from a store what is too old, as the live proxy does by itself all the time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from mutewatch.config import StateDirectory
from mutewatch.errors import OperatorError
from mutewatch.expiry import newest, undated
from mutewatch.retention import Periods, Retention
from mutewatch.store import Store


def prune(
    config: Path | None, state: Path | None, chosen: Path | str | None, *, dry_run: bool, trust_clock: bool
) -> int:
    """Delete, or with `dry_run` count, what is older than the settings allow; print what and from before when.

    Raises OperatorError if there is no store, or if the clock is so far ahead that it may be wrong.
    """
    from addons.settings_sources import load

    settings = load(config, {("state", "directory"): state}).settings
    location = chosen or StateDirectory(settings.state.directory).store_location
    if isinstance(location, Path) and not location.is_file():
        raise OperatorError(f"no store at {location}")
    now = datetime.now(UTC)
    periods = Periods(settings.retention.minutes_days, settings.retention.counts_days)
    with Store(location) as store:
        retention = Retention(store, periods)
        before = now - timedelta(days=periods.minutes_days)
        messages, findings = retention.due(now)
        what = f"{messages} messages and {findings} findings from before {before:%Y-%m-%d %H:%M} UTC"
        if dry_run:
            print(f"{store.name}: {what} are due")
        else:
            _check_clock(retention, store, now, trust_clock=trust_clock)
            while retention.step(now).rows:
                pass
            is_emptied = store.empty_log()
            print(f"{store.name}: deleted {what}")
            if not is_emptied:
                print("A reader has the store open: the write-ahead log may hold some of it until that one is gone.")
        _tell_undated(store)
    return 0


def _check_clock(retention: Retention, store: Store, now: datetime, *, trust_clock: bool) -> None:
    if trust_clock:
        retention.trust(now)
    elif not retention.believes(now):
        with store.begin() as connection:
            last = newest(connection)
        seen = f"; the newest message is of {last:%Y-%m-%d %H:%M}" if last else ""
        raise OperatorError(
            f"the clock says {now:%Y-%m-%d %H:%M} UTC, more than a day ahead of what {store.name} knows{seen}: "
            "nothing is deleted. If the clock is right, say so with --trust-clock"
        )


def _tell_undated(store: Store) -> None:
    with store.begin() as connection:
        messages, findings = undated(connection)
    if messages or findings:
        print(f"{messages} messages and {findings} findings have no time and stay: delete the store to be rid of them.")
