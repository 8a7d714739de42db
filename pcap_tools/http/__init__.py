"""Takes the plaintext of a connection apart into HTTP messages: HTTP/1, HTTP/2 and websocket."""
