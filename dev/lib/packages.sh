# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# Debian packages, installed so that nothing starts: no service, no PostgreSQL cluster, nothing at the next boot.

is_debian() { grep -qsx 'ID=debian' /etc/os-release; }
wanted_packages() { # PURPOSE…: those of dev/packages, less the ones whose command is there anyway
    local name purposes command purpose
    while read -r name purposes command; do
        for purpose; do
            [[ ,$purposes, == *,$purpose,* ]] || { [[ ,$purposes, == *,$purpose@debian,* ]] && is_debian; } || continue
            [ -n "$command" ] && have "$command" || echo "$name"
            break
        done
    done < <(grep -v '^#' "$root/dev/packages")
}
missing_packages() { # PURPOSE…
    local wanted
    mapfile -t wanted < <(wanted_packages "$@")
    comm -23 <(printf '%s\n' "${wanted[@]}" | sort -u) \
        <({ dpkg-query -W -f '${db:Status-Status} ${Package}\n' "${wanted[@]}" 2>/dev/null || :; } | sed -n 's/^installed //p' | sort -u)
}

need_packages() { # PURPOSE…
    local missing
    have dpkg-query || die 69 "this is not a Debian system: install by other means what dev/packages lists"
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -eq 0 ] || get_packages "${missing[@]}"
}
get_packages() { # PACKAGE…
    say "installing $# packages: $*"
    if is_root; then install_packages "$@" && return; fi
    if have sudo && { sudo -n true 2>/dev/null || { [ -t 0 ] && sudo -v; }; }; then
        sudo bash "$root/dev/deps" --install "$@" && return
        die 69 "the installation failed"
    fi
    warn "packages are missing, and there is no sudo here. As root:"
    say "apt-get install --no-install-recommends $*"
    exit 69
}

# --- as root
readonly policy=/usr/sbin/policy-rc.d cluster_conf=/etc/postgresql-common/createcluster.conf
apt() {
    DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 NEEDRESTART_SUSPEND=1 \
        apt-get -qq -y -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 -o Dpkg::Options::=--force-confold "$@" </dev/null
}
install_packages() { # PACKAGE…
    local log new=("$@")
    log=$(mktemp)
    trap 'restore; rm -f "$log"' EXIT
    trap 'exit 130' INT TERM HUP
    mkdir -p /usr/share/man/man1 /usr/share/man/man7 # slim images lack them, and then a JRE fails to install
    restore # what an earlier run that was killed may have left
    forbid_starts
    DEBIAN_FRONTEND=noninteractive dpkg --configure -a </dev/null >/dev/null 2>&1 || : # an installation that was cut short
    if ! apt -s install --no-install-recommends "$@" >/dev/null 2>&1; then refresh; fi
    [[ " $* " != *' postgresql '* ]] || forbid_cluster
    try_install "$@" || { refresh && try_install "$@"; } || {
        tail -n 15 "$log" >&2
        die 69 "apt-get could not install: $*"
    }
    [[ " ${new[*]} " != *' lighttpd '* ]] || update-rc.d lighttpd disable >/dev/null 2>&1 || :
    restore
    trap - EXIT INT TERM HUP
    rm -f "$log"
}
try_install() { apt install --no-install-recommends "$@" >"$log" 2>&1; }
refresh() {
    say "apt-get update"
    apt update >"$log" 2>&1 || warn "apt-get update failed: $(tail -n 1 "$log")"
}

# Packages ask policy-rc.d whether they may start their service. Ours says no while this process lives, so that
# it forbids nothing even if we are killed before we can put back what was there.
forbid_starts() {
    [ ! -e "$policy" ] || mv "$policy" "$policy.before-trabajos"
    cat >"$policy.trabajos" <<END
#!/bin/sh
# By trabajos/dev/deps, while it installs. To be removed if process $$ is gone.
[ ! -d /proc/$$ ] || exit 101
[ ! -x $policy.before-trabajos ] || exec $policy.before-trabajos "\$@"
exit 0
END
    chmod 755 "$policy.trabajos"
    mv "$policy.trabajos" "$policy"
}
# postgresql-common is to be there before postgresql, with the file that says: no cluster of its own.
forbid_cluster() {
    try_install postgresql-common || return 0
    [ -e "$cluster_conf" ] || return 0
    cp -p "$cluster_conf" "$cluster_conf.before-trabajos"
    sed -i '/^[# ]*create_main_cluster *=/d' "$cluster_conf"
    echo 'create_main_cluster = false' >>"$cluster_conf"
}
restore() {
    if grep -qs trabajos/dev/deps "$policy"; then rm -f "$policy"; fi
    if [ -e "$policy.before-trabajos" ]; then mv "$policy.before-trabajos" "$policy"; fi
    if [ -e "$cluster_conf.before-trabajos" ]; then mv "$cluster_conf.before-trabajos" "$cluster_conf"; fi
}
