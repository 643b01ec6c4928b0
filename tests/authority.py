"""A certificate authority for tests, made by openssl: certificates of servers and clients, good and bad."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

EC = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1"


@dataclass(frozen=True)
class Authority:
    """Its folder has `ca.pem`, and NAME.pem and NAME.key of each certificate."""

    folder: Path

    @classmethod
    def in_folder(cls, folder: Path) -> Authority:
        """A new one."""
        folder.mkdir(parents=True, exist_ok=True)
        found = cls(folder)
        found.openssl(f"req -x509 {EC} -nodes -days 30 -subj /CN=tests -keyout ca.key -out ca.pem")
        return found

    def openssl(self, line: str) -> str:
        """What openssl says to a command."""
        done = subprocess.run(
            ["openssl", *line.split()], cwd=self.folder, check=True, capture_output=True, text=True
        )
        return done.stdout

    def certificate(self, name: str, *, names: str = "IP:127.0.0.1", days: int = 30) -> tuple[Path, Path]:
        """Certificate and key for some alternative names, signed by this authority."""
        self.openssl(f"req {EC} -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr")
        (self.folder / f"{name}.ext").write_text(f"subjectAltName={names}\n")
        self.openssl(
            f"x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days}"
            f" -extfile {name}.ext -out {name}.pem"
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"
