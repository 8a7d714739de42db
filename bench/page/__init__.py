"""How long the page takes with many clients."""
