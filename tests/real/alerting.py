"""A real Alertmanager with the example configuration, and a webhook that keeps what it is told."""

from __future__ import annotations

import json
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from tests.servers import Server, alertmanager_binary, free_port

EXAMPLE = Path(__file__).parents[2] / "config" / "alertmanager" / "alertmanager.yaml"


class Webhook:
    """Keeps every alert of every notification with the time it came and the path it came to."""

    def __init__(self):
        self.told: list[tuple[float, str, dict]] = []
        webhook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                webhook.told += [(time.time(), self.path, alert) for alert in body["alerts"]]
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        """Listen no more."""
        self.server.shutdown()
        self.server.server_close()


@dataclass
class AlertmanagerServer(Server):
    """Alertmanager with the example configuration, its webhooks led to one of ours."""

    webhook: str = ""
    cluster: int = field(default_factory=free_port)

    name: ClassVar[str] = "alertmanager"
    ready_path: ClassVar[str] = "/-/ready"

    def command(self) -> list[str]:
        """One instance without a cluster."""
        config = self.folder / "alertmanager.yaml"
        config.write_text(EXAMPLE.read_text().replace("127.0.0.1:9099", self.webhook))
        return [
            str(alertmanager_binary()),
            f"--config.file={config}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]
