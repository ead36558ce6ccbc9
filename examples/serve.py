"""Pack a folder into a database and serve its files over HTTP, ranges included.

python examples/serve.py FOLDER [PORT]        # then: curl -r 0-99 http://127.0.0.1:PORT/file
"""

from __future__ import annotations

import mimetypes
import re
import sys
import tempfile
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import vfs_db


class Handler(BaseHTTPRequestHandler):
    """Answers GET from the filesystem; reads only the asked range of a file."""

    fs: vfs_db.DatabaseVFS

    def do_GET(self) -> None:
        """Send a file, a part of one, or 404."""
        path = unquote(urlsplit(self.path).path)
        try:
            file = self.fs.open(path, "rb")
        except OSError as error:
            self.send_error(HTTPStatus.NOT_FOUND, str(error))
            return
        with file:
            size = file.seek(0, 2)
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start, stop = (int(asked[1]), min(int(asked[2] or size) + 1, size)) if asked else (0, size)
            if start >= stop and asked:
                self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT if asked else HTTPStatus.OK)
            self.send_header("Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream")
            self.send_header("Content-Length", str(stop - start))
            if asked:
                self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
            self.end_headers()
            file.seek(start)
            while (left := stop - file.tell()) and (piece := file.read(min(left, 2**16))):
                self.wfile.write(piece)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch, vfs_db.open(scratch) as Handler.fs:
        Handler.fs.import_tree(sys.argv[1], "/")
        server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2]) if len(sys.argv) > 2 else 0), Handler)
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        server.serve_forever()
