"""Test captures: real TLS conversations, made in memory, packed into capture files with any damage.

    made = VARIANTS["one_lost"]()          # tests.captures.variants
    paths, keylog = made.write(tmp_path)   # keylog: None where the secrets are in the file
    found = ...                            # what a reader finds in them
    assert len(set(found) & set(made.bodies)) >= made.least

From the inside out: `openssl` (TLS endpoints), `conversations`, `scripts` and `special` (what is said), `packets`,
`links` and `files` (how it is stored), `damage` (what happens in between), `variants*` (the tables), and `oracle`
(what tshark makes of it). `least` is all that the packets still hold; tshark often finds less.
"""
