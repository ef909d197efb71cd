#!/bin/sh
# Process 1 of a lab host: it runs in the host's namespaces, gives the host its own files, and starts
# its sshd and, on a server host, its Docker engine.
#
#   host.sh NAME FOLDER HIDDEN BIP|-     HIDDEN: the checkout; BIP: address of the engine's bridge
set -eu
name=$1 folder=$2 hidden=$3 bip=$4

hostname "$name"
for pair in run:/run tmp:/tmp home:/root docker:/var/lib/docker; do
  mkdir -p "$folder/${pair%%:*}" "${pair#*:}"
done
# A machine that boots has an empty /tmp.
rm -rf "${folder:?}/tmp" "${folder:?}/run" "${folder:?}/var-tmp"
mkdir -m 1777 "$folder/tmp" "$folder/var-tmp"
mkdir "$folder/run"
# The folder itself may disappear behind a mount, so files that are needed later are copied first.
cp "$folder/sshd_config" "$folder/host_key" "$folder/run/"
chmod 600 "$folder/run/host_key"
# Hide the checkout: a host must receive everything over the network. This comes first, because the
# checkout may be below one of the other mount points.
mount -t tmpfs -o size=1m tmpfs "$hidden"
mount -t tmpfs -o size=512m tmpfs /dev/shm
mount --bind "$folder/tmp" /tmp
# Leases are kept there: those of one host say nothing about another.
mount --bind "$folder/var-tmp" /var/tmp
mount --bind "$folder/home" /root
mount --bind "$folder/docker" /var/lib/docker
mount --bind "$folder/run" /run
cd /
mkdir -p /run/sshd
/usr/sbin/sshd -D -f /run/sshd_config -E /run/sshd.log &
if [ "$bip" != - ]; then
  dockerd --bip "$bip" >/run/dockerd.log 2>&1 &
fi
# Like any process 1 it keeps running and reaps orphans.
while :; do
  wait || :
  sleep 3600 &
done
