"""`mutewatch forget`: deletes from a store all that stands there under one client's name."""

from pathlib import Path

from mutewatch.config import StateDirectory
from mutewatch.errors import OperatorError
from mutewatch.forget import addresses, count, forget, ids_in_calls
from mutewatch.identity import Names, load_or_create_key
from mutewatch.store import Store


def forget_client(client: str, location: Path | str, state: StateDirectory, *, dry_run: bool) -> None:
    """Delete, or with `dry_run` count, what names `client`: a pseudonym, or a name on the wire. Print how many rows.

    A name on the wire is looked for as it is, and as the pseudonym that the key in `state` makes of it. OperatorError
    if there is no store, or no name.
    """
    if not client.strip():  # an unset variable of a script: some rows name nobody
        raise OperatorError("name whom to forget: a pseudonym, or a name on the wire")
    if isinstance(location, Path) and not location.is_file():
        raise OperatorError(f"no store at {location}")
    names = [client]
    if state.client_key.is_file():
        names.append(Names(load_or_create_key(state.client_key)).pseudonym(client))
    with Store(location) as store:
        found = [name for name in names if count(store, name).total()]
        if not found:
            print(f"{store.name}: nothing is known of {client}")
        for name in found:
            others, ids = addresses(store, name), ids_in_calls(store, name)
            told = count(store, name) if dry_run else forget(store, name)
            rows = ", ".join(f"{number} {table}" for table, number in sorted(told.items()) if number)
            print(f"{store.name}: {'would delete' if dry_run else 'deleted'} {rows} of {name}")
            if others:
                print(f"Its messages came from {', '.join(others)}: if nobody else uses that, forget it, too.")
            if ids:
                told_by = "Messages that tell no address name its calls, and its ids in them"
                print(f"{told_by}: {', '.join(ids)}: if nobody else is meant, forget these, too.")
        if found and not dry_run:
            _tell_what_may_remain(store)


def _tell_what_may_remain(store: Store) -> None:
    if store.path is None:
        print("PostgreSQL overwrites deleted rows when it needs their place: VACUUM FULL ANALYZE rewrites the tables.")
    elif not store.empty_log():
        print("A reader has the store open: the write-ahead log may hold some of it until that one is gone.")
    print("A gateway that runs still knows the client's calls of the last hours: restart it, then forget once more.")
