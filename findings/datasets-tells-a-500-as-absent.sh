#!/usr/bin/env bash
# datasets 5.2.0: a hub that answers 500 is told as a data set that does not exist. load_dataset
# raises FileNotFoundError, "Couldn't find any data file at" a folder under the working directory;
# the answer of the hub is neither in its message nor its cause, only in the chain of contexts. A
# program that tells people what to do sends them to look for a spelling mistake.
# Seen: FileNotFoundError without a cause, for a server that says 500 to all that it is asked.
set -euo pipefail
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
python3 -m venv "$place/venv"
"$place/venv/bin/pip" install --quiet --disable-pip-version-check "datasets==5.2.0"
HF_HOME="$place/home" HF_UPDATE_DOWNLOAD_COUNTS=0 "$place/venv/bin/python" - <<'PYTHON'
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub(BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET


server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
server.daemon_threads = True
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
time.sleep = lambda seconds: None  # between tries, of which there are several

import datasets  # noqa: E402  (it reads HF_ENDPOINT when it is imported)
import huggingface_hub  # noqa: E402

print("datasets", datasets.__version__)
try:
    datasets.load_dataset("someone/data", streaming=True)
    raise SystemExit("it loaded")
except FileNotFoundError as error:
    print(f"{type(error).__name__}: {str(error)[:150]}")
    chain, each = [], error
    while each is not None:
        chain.append(type(each).__name__)
        each = each.__cause__ or each.__context__
    print("behind it:", " < ".join(chain))
    assert error.__cause__ is None, "it has a cause now"
    assert "500" not in str(error), "it says so now"
    assert "HfHubHTTPError" in chain
print("as found")
PYTHON
