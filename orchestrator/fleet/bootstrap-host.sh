#!/usr/bin/env bash
# Install the system packages that a Volley host needs and does not have yet (Debian and Ubuntu).
# `volley hosts up --install` runs this script on every host; deploy/bootstrap-host.sh runs it here.
#
#   bootstrap-host.sh [--check] [ROLE...]
#
#   load         h2load
#   server       Docker engine
#   service      Docker engine
#   coordinator  Python with venv
#   lab          many hosts on one machine, and the servers of the tests
#   bench        nginx, and the generators that benchmarks compare: wrk, ab, hey
#
# Without a role: load, server and coordinator. --check installs nothing: it exits with 1 and
# prints the command to run when a package is missing.
set -euo pipefail

check=0
roles=()
for word in "$@"; do
  case "$word" in
    --check) check=1 ;;
    load | server | service | coordinator | lab | bench) roles+=("$word") ;;
    *)
      sed -n '2,15p' "$0" | sed 's/^# \{0,1\}//' >&2
      exit 2
      ;;
  esac
done
[ ${#roles[@]} -gt 0 ] || roles=(load server coordinator)

missing=()
for role in "${roles[@]}"; do
  case "$role" in
    lab)
      [ -x /usr/sbin/sshd ] || missing+=(openssh-server)
      command -v fish >/dev/null || missing+=(fish)
      command -v tcsh >/dev/null || missing+=(tcsh)
      command -v ssh-keygen >/dev/null || missing+=(openssh-client)
      command -v ip >/dev/null || missing+=(iproute2)
      command -v iptables >/dev/null || missing+=(iptables)
      command -v zstd >/dev/null || missing+=(zstd)
      # The lab compiles a small C library that shifts a host's wall clock.
      command -v cc >/dev/null && echo '#include <time.h>' | cc -E - >/dev/null 2>&1 || missing+=(gcc libc6-dev)
      # Tests measure stock servers beside wrk, and run a generator written in Perl.
      command -v wrk >/dev/null || missing+=(wrk)
      perl -MJSON::PP -e1 2>/dev/null || missing+=(perl)
      # They also look at the live view in real terminals.
      command -v tmux >/dev/null || missing+=(tmux)
      [ -x /usr/sbin/nginx ] || missing+=(nginx-light)
      [ -x /usr/sbin/apache2 ] || missing+=(apache2-bin)
      [ -x /usr/sbin/haproxy ] || missing+=(haproxy)
      # Tests look at report.html in a real browser.
      command -v chromium >/dev/null || missing+=(chromium)
      command -v chromedriver >/dev/null || missing+=(chromium-driver)
      ;;
    bench)
      command -v nginx >/dev/null || missing+=(nginx-light)
      command -v wrk >/dev/null || missing+=(wrk)
      command -v ab >/dev/null || missing+=(apache2-utils)
      command -v hey >/dev/null || missing+=(hey)
      ;;
    load) command -v h2load >/dev/null || missing+=(nghttp2-client) ;;
    server | service)
      command -v dockerd >/dev/null && command -v docker >/dev/null || missing+=(docker.io iptables)
      # Needed only to build a stand-in for a base image that cannot be pulled.
      command -v debootstrap >/dev/null || missing+=(debootstrap)
      ;;
    coordinator) python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv) ;;
  esac
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi

sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo -n)
if [ "$check" = 1 ] || { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; } || ! command -v apt-get >/dev/null; then
  echo "missing system packages: ${missing[*]}. Run: sudo apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi

echo "installing system packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# RUNLEVEL=1 keeps the packages from starting their services: the machine's owner starts the engine.
install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends "${missing[@]}")
if ! { "${sudo[@]}" apt-get update && "${install[@]}"; } >"$log" 2>&1; then
  echo "apt-get failed to install system packages. Its last lines:" >&2
  tail -n 5 "$log" >&2
  exit 1
fi
