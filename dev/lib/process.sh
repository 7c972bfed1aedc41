# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# Who runs. A service is a process that writes its own number and start time to run/NAME.pid before it becomes the
# server (see become), and holds the stack's lock until then. So there is no moment at which something runs that
# `down` does not know, whenever `up` is interrupted. Nothing is signalled whose identity does not match.

lock() { # wait for whoever else changes this stack
    exec 9>>"$dir/lock"
    flock -n 9 && return
    warn "waiting for another dev/stack on $dir"
    flock -w 300 9 || die 69 "another dev/stack has held $dir/lock for five minutes"
}

# Set pid; fails if NAME does not run.
alive() { # NAME
    local start boot
    pid=
    read -r pid start boot 2>/dev/null <"$run/$1.pid" || return 1
    [ "$boot" = "$boot_id" ] && [ -n "$start" ] && [ "$(start_time "$pid")" = "$start" ]
}
any_alive() {
    local name
    for name in $(known); do ! alive "$name" || return 0; done
    return 1
}
known() { # every name that has a pid file
    local file
    for file in "$run"/*.pid; do
        [ ! -e "$file" ] || basename "$file" .pid
    done
}

launch() { # NAME ARG…
    local name=$1 user
    user=$(account "$name")
    rm -f "$run/$name.finishing"
    # The server's user owns its log, so that it can open its standard error again.
    [ -e "$logs/$name.log" ] || install -m 644 ${user:+-o "$user"} /dev/null "$logs/$name.log"
    setsid "$root/dev/stack" _run "$@" </dev/null >>"$logs/$name.log" 2>&1 &
}
# First act of the launched process.
enrol() { # NAME
    echo "$$ $(start_time $$) $boot_id" >"$run/$1.pid.new"
    mv -f "$run/$1.pid.new" "$run/$1.pid"
    exec 9>&-
}
# Run as the service's user, with nothing of the caller's environment, and marked as this stack's.
as() { # NAME VAR=VALUE… -- COMMAND ARG…
    local user vars=()
    user=$(account "$1") && shift
    while [ "$1" != -- ]; do vars+=("$1") && shift; done
    shift
    set -- env -i --default-signal=INT,QUIT,TERM,PIPE PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin LANG=C.UTF-8 \
        "TRABAJOS_STACK=$(cat "$dir/id")" "${vars[@]}" "$@"
    [ -z "$user" ] || set -- setpriv --reuid "$user" --regid "$(id -g "$user")" --clear-groups --inh-caps=-all -- "$@"
    ${exec_it:+exec} "$@"
}
become() { exec_it=1 as "$@"; }

# --- the end
# A process and all that came from it: "PID START" each.
family() { # PID
    local each
    ps -eo pid=,ppid=,sid= | awk -v root="$1" '
        { parent[$1] = $2; session[$1] = $3 }
        END {
            for (p in parent) {
                a = p
                while (a > 1 && a != root && session[a] != root) a = parent[a]
                if (a == root || session[a] == root) print p
            }
        }' | while read -r each; do echo "$each $(start_time "$each")"; done
}
still() { # "PID START"…: those that run on
    local pair
    for pair; do
        [ "${pair#* }" = "" ] || [ "$(start_time "${pair% *}")" != "${pair#* }" ] || echo "$pair"
    done
}
kill_pairs() { # SIGNAL "PID START"…
    local signal=$1 pair
    shift
    while read -r pair; do
        [ -z "$pair" ] || kill -s "$signal" "${pair% *}" 2>/dev/null || :
    done < <(still "$@")
}
orderly() { # NAME: the signal that asks it to end
    case $1 in
    postgres) echo INT ;;
    *) echo TERM ;;
    esac
}
ask_to_end() { # NAME PID
    case $(cat "/proc/$2/comm" 2>/dev/null) in
    stack | bash | setsid) kill_family TERM "$2" ;; # still preparing: not yet the server
    *) kill -s "$(orderly "$1")" "$2" 2>/dev/null || : ;;
    esac
}
kill_family() { # SIGNAL PID
    local pairs
    mapfile -t pairs < <(family "$2")
    kill_pairs "$1" "${pairs[@]}"
}

# End these services side by side: ask, ask again (a worker then gives its jobs back), kill; their families too.
stop_all() { # SECONDS NAME…
    local limit=$1 name pairs=() began left asked=1
    shift
    for name; do
        alive "$name" && [ "$pid" != $$ ] || continue
        mapfile -t -O "${#pairs[@]}" pairs < <(family "$pid")
        ask_to_end "$name" "$pid"
    done
    began=$(now_ms)
    while any_of "$@"; do
        left=$((limit * 1000 - $(now_ms) + began))
        if [ "$left" -le 0 ]; then break; fi
        if [ "$asked" = 1 ] && [ "$left" -lt $((limit * 600)) ]; then
            asked=2
            for name; do [[ $name != worker-* ]] || ! alive "$name" || kill -TERM "$pid" || :; done
        fi
        nap 0.05
    done
    kill_pairs KILL "${pairs[@]}"
    for name; do gone "$name"; done
}
any_of() {
    local name
    for name; do ! alive "$name" || [ "$pid" = $$ ] || return 0; done
    return 1
}
gone() { # NAME: killed at the latest now; forget it
    local i
    for i in {1..100}; do
        alive "$1" && [ "$pid" != $$ ] || break
        [ "$i" -gt 1 ] || kill_family KILL "$pid"
        nap 0.05
    done
    [ "$pid" = $$ ] || rm -f "$run/$1.pid" "$run/$1.finishing"
}

# What is left of a stack after its services are gone: whatever bears its mark, and PostgreSQL's children (which
# overwrite their environment) by the folder they work in.
leftovers() {
    local file each mark
    mark=TRABAJOS_STACK=$(cat "$dir/id" 2>/dev/null) || return 0
    { grep -lzxsF -- "$mark" /proc/[0-9]*/environ || :; } | while read -r file; do
        each=${file#/proc/} && echo "${each%/environ}"
    done
    postgres_children
}
postgres_children() {
    local each
    for each in /proc/[0-9]*; do
        [ "$(readlink "$each/cwd" 2>/dev/null)" = "$data/postgres/cluster" ] || continue
        [[ $(readlink "$each/exe" 2>/dev/null) != */postgres ]] || echo "${each#/proc/}"
    done
}
sweep() {
    local each pairs=()
    for each in $(leftovers | sort -un); do
        [ "$each" = $$ ] || pairs+=("$each $(start_time "$each")")
    done
    kill_pairs KILL "${pairs[@]}"
}
