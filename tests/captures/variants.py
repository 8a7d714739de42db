"""The table of all test captures: `VARIANTS[name]()` makes one in well under a second."""

from collections.abc import Callable

from tests.captures.capture import Capture
from tests.captures.variants_damage import DAMAGED
from tests.captures.variants_files import FILES
from tests.captures.variants_talks import TALKS

VARIANTS: dict[str, Callable[[], Capture]] = {**TALKS, **FILES, **DAMAGED}
