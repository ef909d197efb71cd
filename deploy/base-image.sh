#!/usr/bin/env bash
# Make sure that the base image python:3.13-slim exists. It is pulled if a registry can be reached.
# Otherwise debootstrap makes a stand-in of the same name (Debian trixie, Python 3.13, pip) from the
# mirror that apt uses on this machine.
#
#   deploy/base-image.sh [--stand-in]     --stand-in: do not try to pull
set -euo pipefail
# An ordinary user's PATH on Debian has no sbin, where these programs are.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

cd "$(dirname "$0")/.."

image=python:3.13-slim
suite=trixie

# Copy pip's configuration from standard input without comments and without user and password in its
# URLs: every user of the image could read them.
without_passwords() { sed -E -e '/^[[:space:]]*[#;]/d' -e 's#(://)[^/[:space:]]*@#\1#g'; }

have() { docker image inspect "$image" >/dev/null 2>&1; }

# Without an engine nothing below can work: engine.sh starts it, or says what this user can do.
deploy/engine.sh status || deploy/engine.sh up
if have; then
  echo "base image: $image exists ($(docker image inspect --format '{{index .Config.Labels "volley.base"}}' "$image" | sed 's/^$/pulled/'))"
  exit 0
fi
if [ "${1:-}" != --stand-in ]; then
  echo "base image: pulling $image"
  if timeout 60 docker pull -q "$image" >/dev/null 2>&1; then
    echo "base image: pulled $image"
    exit 0
  fi
  echo "base image: $image cannot be pulled; making a stand-in with debootstrap (about a minute)"
fi
if [ "$(id -u)" != 0 ]; then
  echo "base image: debootstrap needs root. Run: sudo deploy/base-image.sh" >&2
  exit 1
fi
deploy/bootstrap-host.sh base
if [ ! -e "/usr/share/debootstrap/scripts/$suite" ]; then
  echo "base image: this version of debootstrap does not know $suite. Install a newer one." >&2
  exit 1
fi

# The mirror that apt is configured with; this script names none.
mirror=$(apt-get indextargets --format '$(SITE) $(RELEASE)' 2>/dev/null | awk '$2 !~ /security|updates/ {print $1; exit}')
case "$mirror" in
  *@*)
    echo "base image: the URL of apt's mirror has a password, which debootstrap shows in the process list." >&2
    echo "  -> use a mirror without a password, or load the image elsewhere: docker save $image | ssh HOST docker load" >&2
    exit 1
    ;;
esac
root=$(mktemp -d "${TMPDIR:-/tmp}/volley-base.XXXXXX")
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include=python3,python3-pip,ca-certificates "$suite" "$root/fs" ${mirror:+"$mirror"} >"$root/log" 2>&1 || {
  echo "base image: debootstrap failed. Its last lines:" >&2
  tail -n 5 "$root/log" >&2
  exit 1
}
cp /etc/ssl/certs/ca-certificates.crt "$root/fs/etc/ssl/certs/ca-certificates.crt"
# pip uses the same package index in builds as on this machine.
if [ -f /etc/pip.conf ]; then
  without_passwords </etc/pip.conf >"$root/fs/etc/pip.conf"
  if grep -Eq '://[^/[:space:]]*@' /etc/pip.conf; then
    echo "base image: left out the password of pip's index; builds have to give their own (docker build --secret)"
  fi
fi
rm -f "$root"/fs/usr/lib/python3*/EXTERNALLY-MANAGED
ln -sf python3 "$root/fs/usr/bin/python"
rm -rf "$root"/fs/var/cache/apt/archives/*.deb "$root"/fs/var/lib/apt/lists/* "$root"/fs/usr/share/doc/* "$root"/fs/usr/share/man/*
tar -C "$root/fs" -c . | docker import --change 'LABEL volley.base=stand-in' --change 'CMD ["python3"]' - "$image" >/dev/null
echo "base image: made the stand-in $image (Debian $suite, $(docker run --rm --network=none "$image" python --version))"
