# Sourced: how the scripts speak.

say() { printf '\033[1m==> %s\033[0m\n' "$*"; }

fail() {
    printf '\033[1m==> %s\033[0m\n' "$*" >&2
    exit 1
}
