#!/usr/bin/env sh
# Makes the passwords that compose.yaml mounts, where they are not there yet. Nothing prints them.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in redis_password grafana_password; do
    [ -s "secrets/$name" ] && continue
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "secrets/$name"
    # Read by the containers' users; the folder keeps everybody else on this machine out.
    chmod 444 "secrets/$name"
done
