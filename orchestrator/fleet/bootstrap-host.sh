#!/usr/bin/env bash
# Install the system packages that a Volley host needs and does not have yet (Debian and Ubuntu).
# `volley hosts up --install` runs this script on every host, and `volley doctor --fix` here, as deploy/bootstrap-host.sh
# does in a checkout.
#
#   bootstrap-host.sh [--check | --list] [ROLE...]
#
#   load         h2load
#   server       Docker engine
#   service      Docker engine
#   coordinator  Python with venv
#   base         debootstrap, which makes a stand-in for a base image that cannot be pulled
#   lab          many hosts on one machine
#   tests        the servers, generators, shells and the browser of the tests
#   bench        nginx, and the generators that benchmarks compare: wrk, ab, hey
#
# Without a role: load, server and coordinator. --check installs nothing: it exits with 1 and
# prints the command to run when a package is missing. --list prints the missing packages.
#
# It installs as root, or with sudo, which asks for the password on a terminal. Who may not do that gets the command for
# an administrator.
set -euo pipefail
# An ordinary user's PATH on Debian has no sbin, where these programs are.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

mode=install
roles=()
for word in "$@"; do
  case "$word" in
    --check | --list) mode=${word#--} ;;
    load | server | service | coordinator | base | lab | tests | bench) roles+=("$word") ;;
    *)
      sed -n '2,21p' "$0" | sed 's/^# \{0,1\}//' >&2
      exit 2
      ;;
  esac
done
[ ${#roles[@]} -gt 0 ] || roles=(load server coordinator)

# Debian has the docker command in a package of its own since release 13.
docker_cli() {
  (
    ID="" VERSION_ID=99
    . /etc/os-release 2>/dev/null || true
    [ "$ID" = debian ] && [ "${VERSION_ID%%.*}" -ge 13 ] && echo docker-cli || echo docker.io
  )
}

missing=()
for role in "${roles[@]}"; do
  case "$role" in
    lab)
      [ -x /usr/sbin/sshd ] || missing+=(openssh-server)
      command -v ssh-keygen >/dev/null || missing+=(openssh-client)
      command -v ip >/dev/null || missing+=(iproute2)
      command -v iptables >/dev/null || missing+=(iptables)
      command -v zstd >/dev/null || missing+=(zstd)
      # The lab compiles a small C library that shifts a host's wall clock.
      command -v cc >/dev/null && echo '#include <time.h>' | cc -E - >/dev/null 2>&1 || missing+=(gcc libc6-dev)
      ;;
    tests)
      # Login shells of hosts.
      command -v fish >/dev/null || missing+=(fish)
      command -v tcsh >/dev/null || missing+=(tcsh)
      # Tests load the firewall of docs/explanation/security.md.
      [ -x /usr/sbin/nft ] || missing+=(nftables)
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
      command -v dockerd >/dev/null || missing+=(docker.io iptables)
      command -v docker >/dev/null || missing+=("$(docker_cli)")
      ;;
    base) command -v debootstrap >/dev/null || missing+=(debootstrap) ;;
    coordinator) python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv) ;;
  esac
done
if [ ${#missing[@]} -eq 0 ]; then
  exit 0
fi
# Two roles may need the same package.
mapfile -t missing < <(printf '%s\n' "${missing[@]}" | awk '!seen[$0]++')
if [ "$mode" = list ]; then
  printf '%s\n' "${missing[@]}"
  exit 0
fi

if ! command -v apt-get >/dev/null; then
  echo "missing system packages: ${missing[*]} (Debian's names). This machine has no apt-get:" \
    "install them with its own package manager" >&2
  exit 1
fi

# The command for an administrator, who may have no sudo either.
by_hand() {
  local run="Run:" sudo="sudo "
  command -v sudo >/dev/null || run="Run as root:" sudo=""
  echo "missing system packages: ${missing[*]}. $run" \
    "${sudo}apt-get update && ${sudo}apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
}

[ "$mode" = install ] || by_hand
sudo=()
if [ "$(id -u)" != 0 ]; then
  sudo=(sudo -n)
  if ! sudo -n true 2>/dev/null; then
    { [ -t 0 ] && command -v sudo >/dev/null; } || by_hand
    echo "installing system packages needs root: ${missing[*]}"
    sudo -v || by_hand
    sudo=(sudo)
  fi
fi

echo "installing system packages: ${missing[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# RUNLEVEL=1 keeps the packages from starting their services: the machine's owner starts the engine.
install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y --no-install-recommends
  -o DPkg::Lock::Timeout=60 "${missing[@]}")
if ! { "${sudo[@]}" apt-get update && "${install[@]}"; } >"$log" 2>&1; then
  echo "apt-get failed to install system packages. Its last lines:" >&2
  tail -n 5 "$log" >&2
  exit 1
fi
