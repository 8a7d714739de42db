"""A synthetic meeting of a Webex-like client, played over real TLS: the project's sample and its test traffic."""
