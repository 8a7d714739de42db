"""Finds RTP in captures, and reads what travels in clear beside its payload: the audio level (RFC 6464)."""
