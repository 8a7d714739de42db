"""Test captures: real TLS conversations, made in memory, packed into capture files with any damage."""
