"""moto with one request at a time: by itself it looks whether a name is free and then takes it, as two steps."""

import io
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import run_simple

app = DomainDispatcherApplication(create_backend_app)
turn = threading.Lock()


def one_at_a_time(environ, start_response):
    # A slow client is waited for before its turn.
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    with turn:
        return [b"".join(app(environ, start_response))]


run_simple("127.0.0.1", int(sys.argv[1]), one_at_a_time, threaded=True)
