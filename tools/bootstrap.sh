#!/bin/sh
# Makes .venv hold the book, with the versions it was tested with: sh tools/bootstrap.sh lab,test
#
# Where that is already so it does nothing; where it cannot be, one line says what to do.
# The stamp says what .venv holds: this folder, the files that ask for packages, the extras. While pip
# works it says "installing", so that a .venv whose installation was cut short is made anew.

set -u
cd "$(dirname "$0")/.." || exit 1
extras=$1
here=$(pwd -P)
wanted=$(cat pyproject.toml constraints.txt | cksum)
python=.venv/bin/python
stamp=.venv/book.stamp
log=.venv/install.log

stop() {
    echo "dpo-book: $1" >&2
    exit 1
}

# Asked by running them, since a name on PATH may be a shim with nothing behind it.
version_of() {
    "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null
}

find_python() {
    seen=
    for name in "$@"; do
        version=$(version_of "$name") || continue
        case $version in
        3.11 | 3.12 | 3.13) return ;;
        esac
        seen="$seen $name is $version;"
    done
    stop "this book needs Python 3.11, 3.12 or 3.13:${seen:- no Python that runs was found;} install one, or name it with PYTHON=/path/to/python3.12"
}

stamped=$(cat "$stamp" 2>/dev/null)
case $stamped in
"$here $wanted $extras" | "$here $wanted $extras",*) "$python" -c '' 2>/dev/null && exit 0 ;;
"" | "$here "*) ;;
*) rm -f "$python" ;; # cut short, or moved here from another folder
esac

if ! "$python" -m pip --version >/dev/null 2>&1; then
    if [ -n "${PYTHON:-}" ]; then
        find_python "$PYTHON"
    else
        find_python python3 python3.12 python3.13 python3.11 python
    fi
    "$name" -m venv --clear .venv >/dev/null 2>&1 ||
        stop "$name cannot make a virtual environment here: check the disk, or install its venv module (on Debian and Ubuntu: apt install python3-venv)"
fi

echo "Installing into .venv; the first time takes some minutes (to watch: tail -f $log)"
echo installing >"$stamp"
if "$python" -m pip install --disable-pip-version-check --no-input -c constraints.txt -e ".[$extras]" \
    >"$log" 2>&1 </dev/null; then
    echo "$here $wanted $extras" >"$stamp"
    exit 0
fi
rm -f "$stamp" # pip gave up in good order: what is there is whole
if grep -qE 'from versions: none|Failed to establish a new connection|NameResolution|Proxy|[Tt]imed? ?out' "$log"; then
    stop "the package index cannot be reached: check the network or the proxy, then run the same command again (pip's log: $log)"
fi
stop "pip could not install the packages: $(grep -o 'ERROR: .*' "$log" | tail -n 1) (pip's log: $log)"
