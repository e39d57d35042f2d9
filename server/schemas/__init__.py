"""The bodies of requests, checked by pydantic; the bodies of answers, for OpenAPI only."""
