#!/usr/bin/env bash
# get-server.sh PACKAGE COMMAND [SUITE]: makes COMMAND of the Debian package PACKAGE available without touching the
# system: what is on PATH is used as it is; otherwise the package is downloaded through apt with an apt root of its own
# and unpacked below .cache/servers (no root needed). With a SUITE (sid, trixie) that suite's version is unpacked below
# .cache/servers-SUITE, whatever is installed; the package mirror is the machine's own.
set -euo pipefail
package=$1
command=$2
suite=${3:-}
cd "$(dirname "$0")/.."
servers=$PWD/.cache/servers${suite:+-$suite}
apt_root=$PWD/.cache/apt${suite:+-$suite}
path=$servers/usr/bin
[ -n "$suite" ] || path=$PATH:$path
if PATH=$path type -P "$command" >/dev/null; then exit 0; fi
command -v apt-get >/dev/null || { echo "$command is not installed and there is no apt-get here: install $package by hand" >&2; exit 1; }
echo "getting $package${suite:+ of $suite} (unpacked below ${servers#"$PWD"/}; the system is not changed)"
mkdir -p "$apt_root"/state/lists/partial "$apt_root"/cache/archives/partial "$servers"
options=(-q -o "Dir::State=$apt_root/state" -o "Dir::State::status=/var/lib/dpkg/status" -o "Dir::Cache=$apt_root/cache"
         -o "Debug::NoLocking=true" -o "APT::Sandbox::User=")
if [ -n "$suite" ]; then
  mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -m1 '/debian/*$')
  [ -n "$mirror" ] || { echo "this machine's apt knows no Debian mirror: no $package of $suite" >&2; exit 1; }
  echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" > "$apt_root/sources.list"
  options+=(-o "Dir::Etc::sourcelist=$apt_root/sources.list" -o "Dir::Etc::sourceparts=-" -o "Dir::State::status=/dev/null")
fi
[ -n "$(ls -A "$apt_root/state/lists" | grep -v partial || true)" ] || apt-get "${options[@]}" update >/dev/null
(cd "$apt_root/cache" && apt-get "${options[@]}" download "$package" >/dev/null && dpkg -x "$package"_*.deb "$servers")
PATH=$path type -P "$command" >/dev/null || { echo "$package was unpacked and $command is not in it" >&2; exit 1; }
