#!/bin/sh
# Installs a pinned tool for the tests, unless it is there, and prints its path.
#
#   tests/tools.sh docker [FOLDER]    FOLDER is target/tools by default
#
# Runs side by side wait for each other.
set -eu

tool=${1:?usage: tests/tools.sh TOOL [FOLDER]}
folder=${2:-$(dirname "$0")/../target/tools}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

fail() {
    echo "tests/tools.sh: $*" >&2
    exit 1
}

# Debian's engine and client, unpacked and not installed: no service starts, and an engine that the
# machine may have stays as it is. Prints the folder that holds them.
install_docker() {
    docker=$folder/docker-20.10
    if [ ! -d "$docker" ]; then
        scratch=$(mktemp -d "$folder/docker.XXXXXX")
        trap 'rm -rf "$scratch"' EXIT
        download_debs || { run_apt update && download_debs; } ||
            fail "cannot fetch docker.io 20.10, containerd and runc: is this Debian 12, with a mirror?"
        for deb in "$scratch"/*.deb; do dpkg -x "$deb" "$scratch/root"; done
        mv "$scratch/root" "$docker"
    fi
    need_system iptables iptables-restore
    need_system iproute2 ip
    need_system util-linux nsenter setpriv unshare
    need_system curl curl
    ! ldd "$docker/usr/sbin/dockerd" "$docker/usr/sbin/runc" | grep 'not found' >&2 ||
        fail "libraries are missing: apt-get install libdevmapper1.02.1 libseccomp2 libsystemd0"
    echo "$docker"
}

download_debs() (
    cd "$scratch" && run_apt --quiet --option APT::Sandbox::User=root download \
        'docker.io=20.10.*' containerd runc
)

run_apt() {
    apt-get "$@" >&2
}

need_system() {
    package=$1
    shift
    for program; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null ||
            fail "$program is missing: apt-get install $package"
    done
}

exec 9>"$folder/.lock"
flock 9
case $tool in
docker) install_docker ;;
*) fail "there is no tool '$tool'" ;;
esac
