#!/usr/bin/env bash
# Start a Docker engine on a machine where none answers, or stop it again.
#
#   engine.sh up      start the engine: its systemd service, or dockerd itself on a machine without systemd
#   engine.sh down    stop the dockerd that `up` started, and only that one
#   engine.sh status  exit with 0 if an engine answers
#
# `volley doctor --fix` runs this script; deploy/engine.sh runs it in a checkout. The bridge of a dockerd that it starts
# uses 198.18.0.0/15 (RFC 2544, benchmarking), so that no container gets an address of the local network.
set -euo pipefail
# An ordinary user's PATH on Debian has no sbin, where these programs are.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

self=${VOLLEY_ENGINE_COMMAND:-$(readlink -f "$0")}
state=${VOLLEY_ENGINE_STATE:-/run/volley-engine}
# Where systemd runs, it has this folder.
systemd=${VOLLEY_SYSTEMD:-/run/systemd/system}
socket=${VOLLEY_ENGINE_SOCKET:-/var/run/docker.sock}
pid_file=$state/dockerd.pid
log_file=$state/dockerd.log
deadline_s=60

answers() { docker version --format '{{.Server.Version}}' >/dev/null 2>&1; }

# A machine that was switched off leaves pid files behind, and another process may have the pid by now.
forget_dead() {
  local pid
  pid=$(cat "$1" 2>/dev/null) || return 0
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$2" ]; then rm -f "$1"; fi
}

may_not_use() {
  echo "docker engine: this user may not use it. Run: sudo usermod -aG docker $(id -un), and log in again" >&2
  return 1
}

up() {
  if answers; then
    echo "docker engine: already running ($(docker version --format '{{.Server.Version}}'))"
    return 0
  fi
  if ! command -v dockerd >/dev/null; then
    echo "docker engine: dockerd is not installed. Run: volley doctor --fix" >&2
    return 1
  fi
  if [ "$(id -u)" != 0 ]; then
    up_with_sudo
  elif [ -d "$systemd" ] && systemctl cat docker.service >/dev/null 2>&1; then
    up_by_systemd
  else
    up_by_itself
  fi
}

up_with_sudo() {
  if [ -S "$socket" ] && [ ! -w "$socket" ]; then
    may_not_use
    return 1
  fi
  local sudo=(sudo -n)
  if ! sudo -n true 2>/dev/null; then
    # On a terminal, sudo asks for the password.
    sudo=(sudo)
    if ! { [ -t 0 ] && command -v sudo >/dev/null && sudo -v; }; then
      echo "docker engine: no engine answers, and this user may not start one. Run: sudo $self up" >&2
      return 1
    fi
  fi
  "${sudo[@]}" env VOLLEY_ENGINE_COMMAND="$self" "$(readlink -f "$0")" up || return 1
  answers || may_not_use
}

up_by_systemd() {
  if ! systemctl start docker; then
    echo "docker engine: its service did not start. Read: journalctl -u docker" >&2
    return 1
  fi
  echo "docker engine: started (systemctl start docker)"
}

up_by_itself() {
  mkdir -p "$state"
  forget_dead /var/run/docker.pid dockerd
  forget_dead /var/run/docker/containerd/containerd.pid containerd
  # In its own session, so that a Ctrl-C for a run does not stop the engine.
  setsid dockerd --bip 198.18.250.1/24 >"$log_file" 2>&1 </dev/null &
  echo $! >"$pid_file"
  local waited=0
  until answers; do
    if ! kill -0 "$(cat "$pid_file")" 2>/dev/null || [ "$waited" -ge "$((deadline_s * 10))" ]; then
      echo "docker engine: dockerd did not start. The last lines of $log_file:" >&2
      tail -n 5 "$log_file" >&2
      return 1
    fi
    sleep 0.1
    waited=$((waited + 1))
  done
  echo "docker engine: started dockerd (pid $(cat "$pid_file"), log $log_file); stop it with: $self down"
}

down() {
  if [ ! -f "$pid_file" ]; then
    echo "docker engine: this script did not start one"
    return 0
  fi
  local pid
  pid=$(cat "$pid_file")
  if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = dockerd ]; then
    kill -TERM "$pid"
    for _ in $(seq 300); do
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    if kill -0 "$pid" 2>/dev/null; then
      echo "docker engine: pid $pid did not exit within 30 s. Read $log_file." >&2
      return 1
    fi
  fi
  rm -rf "$state"
  echo "docker engine: stopped (pid $pid)"
}

case "${1:-}" in
  up) up ;;
  down) down ;;
  status) answers ;;
  *)
    sed -n '2,9p' "$0" | sed 's/^# \{0,1\}//'
    exit 2
    ;;
esac
