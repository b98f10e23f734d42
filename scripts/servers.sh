#!/usr/bin/env bash
# Installs the servers that the tests talk to, where apt is there and we may use it; names what is missing elsewhere.
# Nothing here is needed to run the gate itself.
set -uo pipefail

# program:package of Debian. No associative array: the bash of macOS has none.
programs="redis-server:redis-server ffmpeg:ffmpeg prometheus:prometheus promtool:prometheus chromium:chromium"
gst_packages="python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad"

missing() {
    for pair in $programs; do
        command -v "${pair%%:*}" >/dev/null 2>&1 || echo "${pair#*:}"
    done | sort -u
    /usr/bin/python3 -c "import gi; gi.require_version('GstRtspServer', '1.0'); from gi.repository import GstRtspServer" \
        >/dev/null 2>&1 || echo "$gst_packages"
}

wanted=$(missing | tr '\n' ' ')
[ -z "${wanted// /}" ] && exit 0

if command -v apt-get >/dev/null 2>&1; then
    root=(env)
    if [ "$(id -u)" -ne 0 ]; then
        if sudo -n true 2>/dev/null; then root=(sudo -n); else root=(false); fi
    fi
    log=$(mktemp)
    echo "servers: installing $wanted"
    export DEBIAN_FRONTEND=noninteractive
    # Packages that start services must not: the tests start their own on free ports.
    { "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq --no-install-recommends $wanted; } \
        >"$log" 2>&1 || tail -n 3 "$log" >&2
    rm -f "$log"
fi

wanted=$(missing | tr '\n' ' ')
if [ -n "${wanted// /}" ]; then
    echo "servers: not here, the tests that need them are skipped: $wanted" >&2
fi
exit 0
