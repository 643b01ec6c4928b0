#!/usr/bin/env bash
# get-server.sh PACKAGE COMMAND: makes COMMAND of the Debian package PACKAGE available without touching the system:
# what is on PATH is used as it is; otherwise the package is downloaded through apt with an apt root of its own
# and unpacked below .cache/servers (no root needed).
set -euo pipefail
package=$1
command=$2
cd "$(dirname "$0")/.."
servers=$PWD/.cache/servers
if PATH="$PATH:$servers/usr/bin" command -v "$command" >/dev/null; then exit 0; fi
command -v apt-get >/dev/null || { echo "$command is not installed and there is no apt-get here: install $package by hand" >&2; exit 1; }
echo "getting $package (unpacked below .cache/servers; the system is not changed)"
apt_root=$PWD/.cache/apt
mkdir -p "$apt_root"/state/lists/partial "$apt_root"/cache/archives/partial "$servers"
options=(-q -o "Dir::State=$apt_root/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$apt_root/cache"
         -o "Debug::NoLocking=true" -o "APT::Sandbox::User=")
[ -n "$(ls -A "$apt_root/state/lists" | grep -v partial || true)" ] || apt-get "${options[@]}" update >/dev/null
(cd "$apt_root/cache" && apt-get "${options[@]}" download "$package" >/dev/null && dpkg -x "$package"_*.deb "$servers")
PATH="$PATH:$servers/usr/bin" command -v "$command" >/dev/null || { echo "$package was unpacked and $command is not in it" >&2; exit 1; }
