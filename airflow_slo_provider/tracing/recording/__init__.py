"""Record the spans of requests in a model server."""
