#!/bin/sh
# Everything that this project does to itself, on a machine with Python 3.9 or newer and a package registry.
#
#   ./build.sh               make dist/sc.pyz          (./build.sh build FILE makes it elsewhere)
#   ./build.sh demo          make it, run a real example on this machine, and show what became of it
#   ./build.sh lint          ruff, mypy --strict, shellcheck if there is one
#   ./build.sh test [ARGS]   make it, lint, and run all tests (ARGS go to pytest)
#
# PYTHON=/path/to/python3 chooses the Python. What is installed is pinned, with hashes, in requirements/, and goes
# below .build/ and nowhere else.
set -eu
umask 022

say() { printf '%s\n' "$*" >&2; }
fail() {
    say "build.sh: $*"
    exit 3
}

# Sets $python: the one asked for, else the first that is new enough.
find_python() {
    for python in ${PYTHON:-python3 python3.13 python3.12 python3.11 python3.10 python3.9}; do
        if "$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' 2>/dev/null; then
            return
        fi
    done
    fail "no Python 3.9 or newer found. Install one, or say where it is: PYTHON=/path/to/python3 ./build.sh"
}

# quietly WORDS...: runs it; what it said is in $said. A full disk is a reason to stop at once.
quietly() {
    said=$("$@" 2>&1 </dev/null) && return
    case $said in
        *"No space left"* | *"Errno 28"*) fail "the disk is full: $(printf '%s' "$said" | tail -n 1)" ;;
    esac
    return 1
}

# make_venv FOLDER: an empty virtual environment. Debian's python3 comes without the parts that make one.
make_venv() {
    rm -rf "$1"
    quietly "$python" -m venv "$1" && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "This Python cannot make virtual environments: installing python3-venv"
        { quietly apt-get -q update && quietly env DEBIAN_FRONTEND=noninteractive \
            apt-get -qy install --no-install-recommends python3-venv; } ||
            fail "apt-get could not install python3-venv: $(printf '%s' "$said" | tail -n 1)"
        rm -rf "$1"
        quietly "$python" -m venv "$1" && return
    fi
    fail "$python cannot make a virtual environment. On Debian and Ubuntu: apt-get install python3-venv"
}

# pip_install PYTHON ARGS...
pip_install() {
    pip=$1
    shift
    quietly "$pip" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes --no-deps "$@" && return
    printf '%s\n' "$said" | grep -E '^ *(ERROR|WARNING: Retrying)' | tail -n 3 >&2 || true
    fail "pip could not install what requirements/ pins: is a package registry reachable?"
}

# venv NAME: sets $venv to an environment with exactly what requirements/NAME.txt pins, made if need be.
venv() {
    venv=.build/$1-$tag
    if cmp -s "requirements/$1.txt" "$venv/installed.txt" && "$venv/bin/python" -c '' 2>/dev/null; then
        return
    fi
    say "Setting up $venv from requirements/$1.txt"
    make_venv "$venv"
    pip_install "$venv/bin/python" -r "requirements/$1.txt"
    cp "requirements/$1.txt" "$venv/installed.txt"
}

# dependencies: sets $carried to a folder with what sc.pyz carries, the same on every machine: that of the oldest
# Python. PyYAML has no wheel without a compiled part; the part is dropped, so any wheel of it will do.
dependencies() {
    carried=.build/carried
    if cmp -s requirements/run.txt "$carried/installed.txt"; then
        return
    fi
    rm -rf "$carried"
    pip_install "$venv/bin/python" -r requirements/run.txt --target "$carried" --no-compile --only-binary :all: \
        --implementation cp --python-version 3.9 --platform manylinux2014_x86_64
    cp requirements/run.txt "$carried/installed.txt"
}

# npm_ci FOLDER: what its package-lock.json pins, with nothing left elsewhere. (Its --prefix does not do for `ci`.)
npm_ci() (
    cd "$1"
    npm ci --cache cache --ignore-scripts --no-audit --no-fund --no-update-notifier
)

# s3rver: puts that S3 server of the tests into .build/s3rver, exactly as requirements/s3rver/ pins it.
s3rver() {
    lock=requirements/s3rver/package-lock.json
    folder=.build/s3rver
    if cmp -s "$lock" "$folder/installed.json"; then
        return
    fi
    command -v npm >/dev/null || fail "no npm found. On Debian and Ubuntu: apt-get install nodejs npm"
    say "Setting up $folder from $lock"
    rm -rf "$folder"
    mkdir "$folder"
    cp requirements/s3rver/package.json "$lock" "$folder"
    quietly npm_ci "$folder" || {
        printf '%s\n' "$said" | grep -i 'err' | head -n 3 >&2 || true
        fail "npm could not install what $lock pins: is a package registry reachable?"
    }
    rm -rf "$folder/cache"
    cp "$lock" "$folder/installed.json"
}

setup() {
    find_python
    tag=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    mkdir -p .build 2>/dev/null || fail "cannot write in $(pwd)"
    if command -v flock >/dev/null; then
        exec 9>.build/lock
        flock 9
    fi
}

unlock() { exec 9>&-; }

build() {
    venv build
    dependencies
    "$venv/bin/python" pyz/make.py "$carried" . "$1" || fail "could not make $1 (is the disk full?)"
    say "Made $1: $(wc -c <"$1") bytes"
}

# lint: every tool has its say, then the first that complained decides.
lint() {
    venv test
    lint=0
    "$venv/bin/python" -m ruff format --check --quiet . || lint=1
    "$venv/bin/python" -m ruff check --quiet . || lint=1
    "$venv/bin/python" -m mypy --no-error-summary || lint=1
    if command -v shellcheck >/dev/null; then
        shellcheck build.sh .ci/run || lint=1
    fi
    [ $lint = 0 ] || fail "see above; '$venv/bin/python -m ruff format .' and 'ruff check --fix .' mend some of it"
}

# show WORDS...: say the command, then run it.
show() {
    say "\$ $*"
    "$@"
}

demo() {
    PATH=$(dirname "$("$python" -c 'import sys; print(sys.executable)')"):$PATH # the runs say python3
    show "$python" dist/sc.pyz batch examples/iris/batch.yaml
    show "$python" dist/sc.pyz summarize-batch examples/iris/batch.yaml
    show "$python" examples/iris/summarise.py
}

cd "$(dirname "$0")"
command=${1:-build}
[ $# = 0 ] || shift
case $command in
    build)
        setup
        build "${1:-dist/sc.pyz}"
        ;;
    demo)
        setup
        build dist/sc.pyz
        unlock
        demo
        ;;
    lint)
        setup
        unlock
        lint
        ;;
    test)
        setup
        build dist/sc.pyz
        venv test
        s3rver
        unlock
        lint
        # Most tests wait for something: all of them go four at a time.
        [ $# != 0 ] || set -- -n 4 --dist loadgroup
        exec "$venv/bin/python" -m pytest "$@"
        ;;
    *)
        sed -n '/^# *\.\/build.sh/s/^# *//p' "$0" >&2
        exit 2
        ;;
esac
