"""The page as a WSGI application (PEP 3333)."""

import page


def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [page.text().encode()]
