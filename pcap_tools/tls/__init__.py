"""Opens recorded TLS 1.2 and 1.3 connections with a key log, also past lost packets."""
