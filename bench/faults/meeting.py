"""One long call through the proxy: its client says that it is muted, and reports a minute from time to time.

Whatever happens in between, each of its minutes must be judged `flagged`: the mute state, and the place of each
minute in its call, outlive the fault.
"""

import base64
import gzip
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

from bench.faults.kill_live import GAINS, PATH, STORE
from mutewatch.config import StateDirectory
from mutewatch.identity import Names, load_or_create_key
from mutewatch.records import Verdict
from mutewatch.store import Store
from tests.live_support import METRICS, TELEMETRY, Proxy

CALL = "the-long-call"
METRICS_PATH = "/metrics/api/v1/clientmetrics"


class Meeting:
    """`minutes` are how many will be sent at most: the call began so long ago that its clock stays behind ours."""

    def __init__(self, proxy: Proxy, minutes: int) -> None:
        self._proxy = proxy
        self._began = datetime.now(UTC) - timedelta(minutes=minutes + 5)
        self.reported = 0

    def mute(self) -> bytes:
        """Press the button, a minute before the first report's minute begins; return the body that told so."""
        at = _iso(self._began - timedelta(minutes=1))
        who = {"correlationId": CALL, "userId": "somebody"}
        event = {"name": "client.muted", "mediaType": "audio", "trigger": "user-interaction", "identifiers": who}
        payload = {"eventId": "m", "version": 1, "originTime": {"triggered": at, "sent": at}, "event": event}
        body = json.dumps({"metrics": [{"type": ["diagnostic-event"], "eventPayload": payload}]}).encode()
        assert self._proxy.post(METRICS, body, path=METRICS_PATH) == 204
        return body

    def report(self) -> bytes:
        """Send the next minute; return its body."""
        self.reported += 1
        number = self.reported
        values = dict.fromkeys(GAINS, 20 + number % 7)  # never the same for ten minutes: that would be `inert`
        event = {
            "name": "client.mediaquality.event",
            "identifiers": {"correlationId": CALL, "webexUserId": "somebody"},
            "intervals": [{"intervalNumber": number, "audioTransmit": [{"levels": values}]}],
        }
        sent = _iso(self._began + timedelta(minutes=number))
        inner = json.dumps({"event": event, "originTime": {"sent": sent}}).encode()
        packed = base64.b64encode(gzip.compress(inner, mtime=0)).decode()
        element = {"cid": CALL, "t": "wmequality", "ts": sent, "v": {"gzipb64data": packed}}
        body = json.dumps({"telemetrics": [element]}).encode()
        assert self._proxy.post(TELEMETRY, body, path=PATH) == 204
        return body

    def misjudged(self) -> int:
        """How many of the minutes are anything but flagged, or are not there. Opens the proxy's store."""
        call = Names(load_or_create_key(StateDirectory(self._proxy.state).client_key)).call(CALL)
        with Store(self._proxy.state / STORE) as store:
            verdicts = Counter(finding.verdict for finding in store.findings() if finding.call == call)
        return abs(verdicts.pop(Verdict.FLAGGED, 0) - self.reported) + sum(verdicts.values())


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
