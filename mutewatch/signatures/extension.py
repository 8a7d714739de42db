"""A signature in three lines: an endpoint of one's own that speaks as one of the bundled ones, at other hosts.

```toml
extends = "jitsi.rtcstats"
id = "example.rtcstats"
hosts = ["rtcstats.example.org"]
```

All that is not said here is the base's: messages, what is blanked, fixtures. It has no canary: that of the base
shows that such messages are read, and hosts of one's own are not for others to be asked for.
"""

from collections.abc import Mapping
from datetime import date
from typing import Any

from pydantic import Field

from mutewatch.signatures.model import HostPattern, Signature, SignatureId, Strict


class Extension(Strict):
    """What differs from the signature that is extended."""

    extends: str = Field(description="the id of a bundled signature")
    id: SignatureId
    hosts: tuple[HostPattern, ...] = Field(min_length=1)
    title: str | None = None
    source: tuple[str, ...] = Field((), description="where it was seen that these hosts speak so, beside the base's")
    client_versions: str | None = None
    last_checked: date | None = None

    def apply(self, base: Signature) -> Signature:
        """Return `base` as this one: its fixtures go to the hosts of this one where they went to its own."""
        fixtures = tuple(
            fixture.model_copy(update={"host": None}) if base.is_for(fixture.host) else fixture
            for fixture in base.fixtures
        )
        changed: Mapping[str, Any] = {
            "id": self.id,
            "hosts": self.hosts,
            "title": self.title or f"{base.title}, at hosts of your own",
            "source": (*base.source, *self.source),
            "client_versions": self.client_versions or base.client_versions,
            "last_checked": self.last_checked or base.last_checked,
            "canary": None,
        }
        told = {**base.model_dump(), "fixtures": [fixture.model_dump() for fixture in fixtures], **changed}
        return Signature.model_validate(told)
