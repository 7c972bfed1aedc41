# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# What every script here needs: messages, ends, process identity.
# Exit codes are those of the project: 0 fine, 1 failed, 64 usage, 69 something cannot be had, 78 bad configuration.

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }
die() { # CODE MESSAGE…
    local code=$1
    shift
    warn "$*"
    exit "$code"
}
is_root() { [ "$(id -u)" -eq 0 ]; }
have() { command -v "$1" >/dev/null 2>&1; }
now_ms() { local t=${EPOCHREALTIME/[.,]/}; printf '%s' "${t%???}"; }

# Sleep without a child process, so that ending this script leaves no sleep behind.
nap() { # SECONDS
    [ -n "${nap_fd:-}" ] || exec {nap_fd}<> <(:)
    read -rt "$1" -u "$nap_fd" || :
}

# The start time of a process in clock ticks since boot, empty if it is gone or a zombie. With the
# boot's id it tells a process from a later one that was given the same number.
start_time() { # PID
    local stat
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 0
    stat=${stat##*) }
    # shellcheck disable=SC2086 # fields are wanted
    set -- $stat
    [ "$1" = Z ] || [ "$1" = X ] || printf '%s' "${20}"
}
boot_id=$(</proc/sys/kernel/random/boot_id)

# pom.xml is the one place where versions stand.
pinned() { sed -n "s:.*<$1.version>\(.*\)</$1.version>.*:\1:p" "$root/dev/pom.xml"; }
cache_dir() { printf '%s/trabajos' "${XDG_CACHE_HOME:-${HOME:?}/.cache}"; }

# The Java to use: JAVA_HOME's, else the machine's default. Kafka needs 17.
java_program() {
    local java version
    if [ -n "${JAVA_HOME:-}" ]; then java=$JAVA_HOME/bin/java; else
        java=/usr/bin/java
        [ -x "$java" ] || java=$(command -v java || :)
    fi
    [ -x "$java" ] || die 69 "java is missing${JAVA_HOME:+ in JAVA_HOME ($JAVA_HOME): unset it, or}: run make deps"
    version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
    [ "${version:-0}" -ge 17 ] || die 69 "$java is Java ${version:-?}, Kafka needs 17 or later: set JAVA_HOME, or run make deps"
    printf '%s' "$java"
}
