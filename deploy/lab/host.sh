#!/bin/sh
# Process 1 of one lab host: runs in namespaces of its own, makes the machine look like another one, and starts its
# sshd and, where it has one, its Docker engine.   host.sh NAME FOLDER HIDDEN BIP|-
set -eu
name=$1 folder=$2 hidden=$3 bip=$4

hostname "$name"
for pair in run:/run tmp:/tmp home:/root docker:/var/lib/docker; do
  mkdir -p "$folder/${pair%%:*}" "${pair#*:}"
done
# A machine that comes up has an empty /tmp.
rm -rf "${folder:?}/tmp" "${folder:?}/run"
mkdir -m 1777 "$folder/tmp"
mkdir "$folder/run"
# Last the folder itself disappears behind /run; what is needed later is opened before.
cp "$folder/sshd_config" "$folder/host_key" "$folder/run/"
chmod 600 "$folder/run/host_key"
# Nothing may come from the checkout by way of a shared disk. First of all, as it may lie below one of the others.
mount -t tmpfs -o size=1m tmpfs "$hidden"
mount -t tmpfs -o size=512m tmpfs /dev/shm
mount --bind "$folder/tmp" /tmp
mount --bind "$folder/home" /root
mount --bind "$folder/docker" /var/lib/docker
mount --bind "$folder/run" /run
cd /
mkdir -p /run/sshd
/usr/sbin/sshd -D -f /run/sshd_config -E /run/sshd.log &
if [ "$bip" != - ]; then
  dockerd --bip "$bip" >/run/dockerd.log 2>&1 &
fi
# Like any process 1 it stays, and collects orphans.
while :; do
  wait || :
  sleep 3600 &
done
