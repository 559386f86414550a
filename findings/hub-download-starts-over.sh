#!/usr/bin/env bash
# huggingface_hub 2.4.0: a file whose download is interrupted (an exception, Ctrl-C, a progress bar
# that raises) is fetched from its first byte at the next call, and nothing of it is kept on the
# disk. Within one call a lost connection is taken up again with a Range header; between two calls
# it is not, though older versions left an .incomplete file and went on from it.
# Seen: after 20 of 30 MB, the next call sends no Range header and reads 30 MB again.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check "huggingface_hub==2.4.0"
HF_HOME="$place/home" HF_HUB_DISABLE_PROGRESS_BARS=1 "$place/venv/bin/python" - <<'PYTHON'
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
from huggingface_hub import constants, hf_hub_download
from huggingface_hub.utils.tqdm import tqdm

BYTES, STOP, COMMIT = 30_000_000, 20_000_000, "c" * 40
ranges, sent = [], [0]


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.head(BYTES)

    def do_GET(self):
        ranges.append(self.headers.get("Range"))
        start = int((ranges[-1] or "bytes=0-")[6:].split("-")[0])
        self.head(BYTES - start)
        try:
            for at in range(start, BYTES, 1_000_000):
                self.wfile.write(b"x" * min(1_000_000, BYTES - at))
                sent[0] += min(1_000_000, BYTES - at)
        except OSError:
            self.close_connection = True

    def head(self, length):
        self.send_response(200 if length == BYTES else 206)
        for name, value in (
            ("ETag", '"0123456789abcdef0123456789abcdef01234567"'), ("X-Repo-Commit", COMMIT),
            ("Accept-Ranges", "bytes"), ("Content-Length", str(length)),
        ):
            self.send_header(name, value)
        self.end_headers()


class Stops(tqdm):
    def update(self, n=1):
        super().update(n)
        self.seen = getattr(self, "seen", 0) + n
        if self.seen >= STOP:
            raise KeyboardInterrupt


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{server.server_port}"
print("huggingface_hub", huggingface_hub.__version__)


def download(**options):
    return hf_hub_download("someone/model", "model.safetensors", endpoint=address, **options)


try:
    download(tqdm_class=Stops)
    raise SystemExit("the download was not interrupted")
except KeyboardInterrupt:
    pass
left = [path.name for path in Path(constants.HF_HUB_CACHE).rglob("*.incomplete")]
print(f"interrupted after {STOP / 1e6:.0f} of {BYTES / 1e6:.0f} MB; left on the disk: {left}")
assert not left, "a part is kept now"
ranges.clear()
sent[0] = 0
path = download()
print(f"the next call asks for {ranges} and reads {sent[0] / 1e6:.0f} MB")
assert Path(path).stat().st_size == BYTES
assert ranges == [None] and sent[0] == BYTES, "it goes on where it was now"
print("as found")
PYTHON
