# Sourced after say.sh: finding a Python and making environments, with nothing but Python and perhaps apt-get.

# The first Python 3.11 or later; $PYTHON decides if it is set.
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11 python}; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    fail "no Python 3.11 or later found; install one, or name it: PYTHON=/path/to/python $0"
}

# make_venv PYTHON DIRECTORY
make_venv() {
    if ! "$1" -c 'import ensurepip' 2>/dev/null; then
        # Debian keeps ensurepip in a package of its own.
        local version
        version=$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            say "installing python$version-venv"
            apt-get update -qq
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "python$version-venv" >/dev/null
        else
            fail "this Python cannot make environments; on Debian: sudo apt-get install python$version-venv"
        fi
    fi
    rm -rf "$2"
    "$1" -m venv "$2"
}

# The version of uv that uv.lock names, as a requirement.
uv_requirement() {
    awk '/^name = "uv"$/ { getline; gsub(/"/, ""); print "uv==" $3; exit }' uv.lock
}
