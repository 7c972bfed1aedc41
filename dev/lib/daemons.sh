# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# Our own three, as INTERFACES §5 configures them: what a stack fixes comes from the stack, all other options from the
# environment of the command that starts them.

readonly options=(KAFKA_CONFIG POSTGRES_OPTIONS RATE_PER_S RATE_BURST TRUSTED_PROXIES KEYCLOAK_AUDIENCE KEYCLOAK_JWKS_URL
    KAFKA_PARTITIONS KAFKA_REPLICATION KAFKA_RETENTION_H RETENTION_DAYS WORKER_SLOTS WORKER_ISOLATION WORKER_WORKSPACE JOB_TIMEOUT_S JOB_CPU_S
    JOB_MEMORY_MB JOB_PROCESSES JOB_FILES JOB_DISK_MB JOB_OUTPUT_KB JOB_GRACE_S JOB_NETWORK JOB_EGRESS_FOR JOB_EGRESS_DENY GIT_DENY USER_RUNNING USER_WEIGHTS LEASE_S DRAIN_S
    MAX_ATTEMPTS SCALE_DEADLINE_S SCALE_MIN SCALE_MAX SCALE_ACTUATOR SCALE_STEP_UP SCALE_STEP_DOWN SCALE_IDLE_S
    SCALE_START_S SCALE_DRY SCALE_LOCAL_DIR LOG_LEVEL LOG_FORMAT
    SSL_CERT_FILE SSL_CERT_DIR ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS TZ)

built_bin() { realpath -m -- "${TRABAJOS_BIN:-$root/bin}"; }
check_built() {
    local program
    for program in frontend observer worker; do
        [ -x "$(built_bin)/trabajos-$program" ] || die 69 "$(built_bin)/trabajos-$program is missing: run make (or set TRABAJOS_BIN)"
    done
}
daemon_args=()
program_of() { echo "$(built_bin)/trabajos-${1%%-*}"; } # NAME
# Where the programs are run from: where they were built, or a copy if unprivileged users cannot reach that.
daemon_bin() {
    local from each
    from=$(built_bin)
    if ! is_root || reaches daemon "$from/trabajos-frontend"; then echo "$from" && return; fi
    mkdir -p "$data/bin"
    for each in "$from"/trabajos*; do
        if [ ! -f "$each" ] || cmp -s "$each" "$data/bin/${each##*/}"; then continue; fi
        install -m 755 "$each" "$data/bin/.${each##*/}.$$"
        mv -f "$data/bin/.${each##*/}.$$" "$data/bin/${each##*/}"
    done
    echo "$data/bin"
}
daemon_env() { # the options, one a line
    local each
    for each in "${options[@]}"; do
        [ -z "${!each+x}" ] || echo "$each=${!each}"
    done
    print_env | grep -E '^(KAFKA_BOOTSTRAP|POSTGRES_[A-Z]*|KEYCLOAK_ISSUER|GIT_ALLOW)='
}
become_daemon() { # NAME PROGRAM VAR=VALUE…
    local name=$1 program=$2 bin vars
    shift 2
    bin=$(daemon_bin)
    mapfile -t vars < <(daemon_env)
    cd /
    become "$name" "${vars[@]}" "METRICS_LISTEN=127.0.0.1:$(port "$name-metrics")" "$@" -- "$bin/trabajos-$program" "${daemon_args[@]}"
}
run_frontend() { become_daemon frontend frontend "FRONTEND_LISTEN=127.0.0.1:$(port frontend)"; }
run_observer() { become_daemon observer observer "OBSERVER_LISTEN=127.0.0.1:$(port observer)"; }
run_worker() { # NAME
    [ -d "$data/$1" ] || mkdir -m 755 "$data/$1"
    [ "$data" = "$dir" ] || ln -sfn "$data/$1" "$dir/$1"
    become_daemon "$1" worker "WORKER_DIR=$data/$1" "HOME=$data/$1"
}
ready_daemon() { curl -sf -m 5 -o /dev/null "http://127.0.0.1:$(port "$1-metrics")/readyz"; } # NAME

# Bring the stack down when the process that wanted it is gone.
run_watchdog() { # PID START
    while [ "$(start_time "$1")" = "$2" ]; do nap 1; done
    echo "process $1 is gone: bringing the stack down"
    exec "$root/dev/stack" down
}
