"""What the live proxy costs, beside mitmdump without it."""
