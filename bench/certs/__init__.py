"""What clients say to our certificates, and what the handshakes cost."""
