"""The limits of the TLS layer in one table, with their origins. Sizes are bytes."""

from dataclasses import dataclass

KiB = 1 << 10


@dataclass(frozen=True, slots=True)
class TlsLimits:
    """Defaults for one connection; a test forces each by a smaller one."""

    held: int = 256 * KiB  # of one side, while something of the handshake is missing; a minute of telemetry is 3 KiB
    held_without_key: int = 64 * KiB  # of one side, while the key log has no secret for it
    handshake: int = 256 * KiB  # of one handshake message; certificate chains of 2 to 10 KiB, post-quantum 30
    window: int = 64  # sequence numbers tried after a gap, beyond what its size explains; a TCP window of records
    first_sequences: int = 20_000  # tried for a stream whose beginning was missed; two weeks of minutes
    trials: int = 2_000_000  # decryptions that recovery may try; some 8 s
    key_updates: int = 4  # that may hide in one gap


DEFAULT_TLS_LIMITS = TlsLimits()
