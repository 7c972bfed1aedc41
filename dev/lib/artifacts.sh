# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# Kafka and Keycloak: fetched by Maven as dev/pom.xml pins them, checked against dev/*.sha256, installed into the cache by one rename each.
# Maven's own repository is in the cache too; its settings are the machine's.

need_artifacts() { # NAME…, by default kafka and keycloak
    local name
    [ $# -gt 0 ] || set -- kafka keycloak
    ! all_installed "$@" || return 0
    local cache
    cache=$(cache_dir)
    mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || die 69 "cannot write to $cache: set XDG_CACHE_HOME"
    exec 8>>"$cache/lock"
    flock -n 8 || { say "waiting for another dev/deps" && flock 8; }
    ! all_installed "$@" || return 0
    work=$cache/new
    rm -rf "$work"
    mkdir "$work"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM HUP
    java_program >/dev/null
    fetch "$@"
    for name; do installed "$name" || "install_$name"; done
}
all_installed() { # NAME…
    local name
    for name; do installed "$name" || return 1; done
}
place() { echo "$(cache_dir)/$1-$(pinned "$1")"; }
installed() { cmp -s "$root/dev/$1.sha256" "$(place "$1")/sha256"; } # NAME

fetch() { # NAME…
    local name size=
    if [ -d "$(cache_dir)/m2" ] && maven -o; then return; fi
    all_installed kafka keycloak || size=': 200 MB, once'
    for name; do installed "$name" || echo "$name $(pinned "$name")"; done | paste -sd, | sed "s/^/fetching /; s/,/, /g; s/\$/$size/"
    maven || {
        tail -n 15 "$work/log" >&2
        die 69 "Maven could not fetch them"
    }
}
maven() { # OPTION…
    have mvn || die 69 "mvn is missing: apt-get install maven"
    rm -rf "$work/got"
    mvn -B -ntp -q "$@" -f "$root/dev/pom.xml" "-Dmaven.repo.local=$(cache_dir)/m2" "-Dinto=$work/got" generate-resources \
        </dev/null >"$work/log" 2>&1
}
check() { # NAME: exactly the listed files, with the listed contents
    local bad
    bad=$({ (cd "$work/got/$1" && sha256sum --strict --quiet -c "$root/dev/$1.sha256") &&
        diff <(cd "$work/got/$1" && printf '%s\n' * | LC_ALL=C sort) <(awk '{ print $2 }' "$root/dev/$1.sha256" | LC_ALL=C sort); } 2>&1) ||
        die 69 "what Maven fetched for $1 is not what dev/$1.sha256 lists: $(head -n 3 <<<"$bad" | paste -sd' ')"
}
finish() { # NAME: from $work/NAME to its place
    cp "$root/dev/$1.sha256" "$work/$1/sha256"
    chmod -R a+rX "$work/$1"
    rm -rf "$(place "$1")"
    mv -T "$work/$1" "$(place "$1")"
}
install_kafka() {
    check kafka
    mkdir "$work/kafka"
    mv "$work/got/kafka" "$work/kafka/libs"
    finish kafka
    say "Kafka $(pinned kafka) is in $(place kafka)"
}
# `build` does once what every start would do again.
install_keycloak() {
    check keycloak
    mkdir "$work/keycloak"
    tar -xzf "$work"/got/keycloak/*.tar.gz -C "$work/keycloak" --strip-components=1 --no-same-owner
    say "preparing Keycloak $(pinned keycloak)"
    JAVA=$(java_program) "$work/keycloak/bin/kc.sh" build --db=dev-file --health-enabled=true </dev/null >"$work/log" 2>&1 || {
        tail -n 15 "$work/log" >&2
        die 69 "Keycloak could not be prepared"
    }
    finish keycloak
    say "Keycloak $(pinned keycloak) is in $(place keycloak)"
}
