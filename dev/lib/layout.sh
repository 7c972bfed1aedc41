# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# Where a stack lies: its folder, its ports, the users its services run as.
#
#   $dir    STACK_DIR: run/ (who runs), logs/, env, lock; everything a caller looks at
#   $data   what the services write. The same folder, unless root's services, which run unprivileged, could not
#           reach it (a clone below /root): then /var/tmp/trabajos-<hash>, and $dir holds links into it.

readonly default_base=18080 range=50 max_workers=40
readonly services=(postgres kafka keycloak git)

set_dir() {
    dir=$(realpath -m -- "${STACK_DIR:-$root/.local}")
    case $dir in
    *[\"\'\\,:\;\$\`]* | *$'\n'*) die 78 "STACK_DIR: quotes and \\ , : ; \$ \` cannot be used in a path: $dir" ;;
    esac
    [ ${#dir} -le 200 ] || die 78 "STACK_DIR: the path is too long (${#dir} characters, at most 200): $dir"
    run=$dir/run logs=$dir/logs
    data=$dir
    [ ! -L "$dir/data" ] || data=$(readlink "$dir/data")
    [[ $data = "$dir" || $data = /var/tmp/trabajos-* ]] || die 78 "$dir/data is not a link of ours: $data"
}

# Make the folders. Only `up` does; all other commands take what is there.
make_dirs() {
    umask 022
    mkdir -p "$dir" 2>/dev/null && [ -w "$dir" ] && [ -O "$dir" ] || die 78 "STACK_DIR: cannot write to $dir, or it is not ours"
    is_root && place_data
    mkdir -p "$run" "$logs" "$data/git" "$data/conf"
    [ "$data" = "$dir" ] || ln -sfn "$data/git" "$dir/git"
    [ -s "$dir/id" ] || random_hex 16 >"$dir/id"
    (umask 077 && { [ -s "$dir/password" ] || random_hex 16 >"$dir/password"; })
}
random_hex() { od -An -N "$1" -tx1 /dev/urandom | tr -d ' \n'; }

place_data() {
    [ "$data" = "$dir" ] || { own_folder "$data" && return; }
    ! all_reach "$dir" || return 0
    if all_reach "${dir%/*}/"; then chmod go+x "$dir" && return; fi
    data=/var/tmp/trabajos-$(printf '%s' "$dir" | sha256sum | cut -c1-16)
    own_folder "$data"
    ln -sfn "$data" "$dir/data"
}
# A folder of ours below a world-writable one: made by us now or earlier, and by nobody else.
own_folder() {
    mkdir -m 755 -- "$1" 2>/dev/null && return
    [ -d "$1" ] && [ ! -L "$1" ] && [ -O "$1" ] && [ -z "$(find "$1" -maxdepth 0 -perm /022)" ] ||
        die 78 "$1 exists and is not ours alone: remove it, or choose another STACK_DIR"
}
all_reach() {
    local user
    for user in daemon postgres www-data; do reaches "$user" "$1" || return 1; done
}
reaches() { setpriv --reuid "$1" --regid "$(id -g "$1")" --clear-groups test -x "$2"; } # USER PATH

# Started by root, nothing but the worker stays root (it drops by itself for each job).
account() { # NAME
    is_root || return 0
    case $1 in
    postgres) echo postgres ;;
    git) echo www-data ;;
    worker-*) ;;
    *) echo daemon ;;
    esac
}
own_dir() { # NAME MODE PATH: a folder that the service's user owns
    local user
    user=$(account "$1")
    install -d -m "$2" ${user:+-o "$user" -g "$(id -g "$user")"} -- "$3"
}

own_copy() { # NAME FILE COPY: a copy that only the service's user reads
    local user
    user=$(account "$1")
    install -m 600 ${user:+-o "$user"} -- "$2" "$3"
}

# --- ports: one range, fixed places in it
port() { # NAME
    case $1 in
    frontend) echo $((base + 0)) ;;
    observer) echo $((base + 1)) ;;
    keycloak) echo $((base + 2)) ;;
    git) echo $((base + 3)) ;;
    postgres) echo $((base + 4)) ;;
    kafka) echo $((base + 5)) ;;
    kafka-controller) echo $((base + 6)) ;;
    keycloak-management) echo $((base + 7)) ;;
    frontend-metrics) echo $((base + 8)) ;;
    observer-metrics) echo $((base + 9)) ;;
    worker-*-metrics) local n=${1#worker-} && echo $((base + 9 + ${n%-metrics})) ;;
    esac
}
ports_of() { # NAME: all that a service binds
    case $1 in
    kafka) port kafka && port kafka-controller ;;
    keycloak) port keycloak && port keycloak-management ;;
    postgres | git) port "$1" ;;
    frontend | observer) port "$1" && port "$1-metrics" ;;
    worker-*) port "$1-metrics" ;;
    esac
}
load_base() { base=$(cat "$dir/ports" 2>/dev/null || echo "$default_base"); }

# Settle the range: STACK_PORTS, else what this stack had, else the default. 0 = free ones of our own choice.
choose_base() {
    local wanted=${STACK_PORTS:-} saved
    saved=$(cat "$dir/ports" 2>/dev/null || :)
    case $wanted in
    '') base=${saved:-$default_base} ;;
    0) base=${saved:-$(free_base)} ;;
    *[!0-9]* | ??????*) die 78 "STACK_PORTS: not a port: $wanted" ;;
    *) base=$((10#$wanted)) ;;
    esac
    [ "$base" -ge 1024 ] && [ "$base" -le $((65536 - range)) ] || die 78 "STACK_PORTS: from 1024 to $((65536 - range)), not $base"
    if [ -n "$saved" ] && [ "$base" != "$saved" ] && any_alive; then
        die 78 "STACK_PORTS: this stack runs on $saved; dev/stack down first"
    fi
    echo "$base" >"$dir/ports"
}
free_base() {
    local try
    for _ in {1..50}; do
        try=$((20000 + (SRANDOM % 240) * range))
        [ -n "$(listeners $try $((try + range - 1)))" ] || { echo "$try" && return; }
    done
    die 69 "STACK_PORTS=0: found no free range of $range ports"
}
listeners() { # FIRST LAST: who listens there
    ss -Hltnp "sport >= :$1 and sport <= :$2" 2>/dev/null
}
check_ports() { # NAME…: none of what they bind is taken
    local name number line who
    for name; do
        for number in $(ports_of "$name"); do
            line=$(listeners "$number" "$number" | head -n 1)
            [ -n "$line" ] || continue
            who=$(sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/ by \1 (pid \2)/p' <<<"$line")
            die 69 "port $number ($name) is in use$who: end it, or set STACK_PORTS=FIRST of $range free ones (0: choose)"
        done
    done
}

# --- what a caller may know, safe to be sourced
print_env() {
    local n
    cat <<END
STACK_DIR=$(printf %q "$dir")
FRONTEND_URL=http://127.0.0.1:$(port frontend)
export TRABAJOS_URL=http://127.0.0.1:$(port frontend)
OBSERVER_URL=http://127.0.0.1:$(port observer)
KAFKA_BOOTSTRAP=127.0.0.1:$(port kafka)
POSTGRES_HOST=127.0.0.1
POSTGRES_PORT=$(port postgres)
POSTGRES_DB=results_db
POSTGRES_USER=postgres
POSTGRES_PASSWORD=$(cat "$dir/password")
KEYCLOAK_ISSUER=http://localhost:$(port keycloak)/realms/cloudcomputing
KEYCLOAK_ADMIN_URL=http://localhost:$(port keycloak)
KEYCLOAK_ADMIN_USER=admin
KEYCLOAK_ADMIN_PASSWORD=admin
GIT_URL=http://127.0.0.1:$(port git)
GIT_ALLOW=http://127.0.0.1:$(port git)/
FRONTEND_METRICS_URL=http://127.0.0.1:$(port frontend-metrics)
OBSERVER_METRICS_URL=http://127.0.0.1:$(port observer-metrics)
END
    for ((n = 1; n <= $(wanted_workers 1); n++)); do
        echo "WORKER_${n}_METRICS_URL=http://127.0.0.1:$(port "worker-$n-metrics")"
    done
}
write_env() {
    (umask 077 && print_env >"$dir/env.new")
    mv -f "$dir/env.new" "$dir/env"
}
wanted_workers() { cat "$run/workers" 2>/dev/null || echo "${1:-0}"; } # DEFAULT
