#!/bin/sh
# Start the sshd of a load host in the foreground, after making its host key if it has none.
#
#   VOLLEY_AUTHORIZED_KEYS   public keys that may log in, one a line; or mount a file at /authorized_keys
#   VOLLEY_SSH_PORT          where sshd listens, 2222 by default
#   VOLLEY_SSH_ADDRESS       the address on which it listens, all by default
set -eu

key=/var/lib/volley-host/ssh_host_ed25519_key
mounted=/authorized_keys
allowed=$HOME/.ssh/authorized_keys

fail() {
  echo "volley-host: $1" >&2
  echo "  -> $2" >&2
  exit 2
}

[ "$(id -un)" = volley ] || fail "this container runs as $(id -un), but sshd lets in the user volley only" \
  "leave out --user of docker run"

# Copied, because sshd ignores a file that another user owns.
umask 077
if [ -n "${VOLLEY_AUTHORIZED_KEYS:-}" ]; then
  printf '%s\n' "$VOLLEY_AUTHORIZED_KEYS" >"$allowed"
elif [ -e "$mounted" ]; then
  cat "$mounted" >"$allowed" 2>/dev/null || fail "$mounted cannot be read by the user volley" "chmod a+r the file, \
which holds public keys only"
else
  fail "no public key may log in" "docker run --env VOLLEY_AUTHORIZED_KEYS=\"\$(cat ~/.ssh/id_ed25519.pub)\" …"
fi
ssh-keygen -l -f "$allowed" >/dev/null 2>&1 || fail "the authorized keys hold no public key that ssh-keygen can read" \
  "give the content of a file like ~/.ssh/id_ed25519.pub"

if [ ! -e "$key" ]; then
  ssh-keygen -q -t ed25519 -N '' -C volley-host -f "$key" 2>/dev/null || fail "cannot store a host key in ${key%/*}" \
    "use a volume of Docker's there, or a folder that the user volley ($(id -u)) can write to"
fi
echo "volley-host: SSH on port $VOLLEY_SSH_PORT, host key $(ssh-keygen -l -f "$key.pub" | cut -d ' ' -f 2)"
umask 022
# As process 1 it also reaps processes whose parents have ended.
exec /usr/sbin/sshd -D -e -f /etc/volley-host/sshd_config -p "$VOLLEY_SSH_PORT" \
  ${VOLLEY_SSH_ADDRESS:+-o "ListenAddress=$VOLLEY_SSH_ADDRESS"}
