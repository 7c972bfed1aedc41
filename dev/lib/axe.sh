# shellcheck shell=bash disable=SC2154 # names are shared among the parts
# axe-core, by which the tests judge the page: from npm, as the lock file in tests/system/browser pins it by its content. After a change of
# package.json there: npm install --package-lock-only --omit-lockfile-registry-resolved

axe_place() { # one a lock file
    printf '%s/axe-%s' "$(cache_dir)" "$(sha256sum <"$root/tests/system/browser/package-lock.json" | cut -c1-16)"
}
# A machine that npm's registry is out of reach of tests the rest all the same: the tests that need it say what they lack.
need_axe() {
    local place lock log
    place=$(axe_place)
    [ ! -e "$place" ] || return 0
    mkdir -p "$(cache_dir)" 2>/dev/null && [ -w "$(cache_dir)" ] || die 69 "cannot write to $(cache_dir): set XDG_CACHE_HOME"
    exec {lock}>>"$(cache_dir)/lock-axe"
    flock "$lock"
    if [ ! -e "$place" ]; then
        say "fetching axe-core for the tests into $place"
        log=$(mktemp)
        rm -rf "$place.new"
        mkdir "$place.new"
        cp "$root"/tests/system/browser/package{,-lock}.json "$place.new"
        if npm ci --prefix "$place.new" --cache "$(cache_dir)/npm" --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error \
            --fetch-retries=1 --fetch-retry-mintimeout=1000 --fetch-timeout=60000 </dev/null >"$log" 2>&1; then
            mv -T "$place.new" "$place"
        else
            tail -n 15 "$log" >&2
            rm -rf "$place.new"
            say "npm could not fetch axe-core: the tests that need it are skipped" >&2
        fi
        rm -f "$log"
    fi
    exec {lock}>&-
}
