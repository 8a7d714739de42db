"""The live door: a mitmproxy addon that records telemetry before it is forwarded."""
