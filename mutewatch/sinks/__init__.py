"""Where findings go: one file for each kind of output."""
