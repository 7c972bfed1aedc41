# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# Python packages that Debian has not: tests/requirements.txt, each by its hash, into a virtual environment in the cache. After a change
# of requirements.in: pip-compile --generate-hashes --strip-extras tests/requirements.in

python_place() { # an environment per interpreter and list
    printf '%s/python-%s' "$(cache_dir)" "$({ /usr/bin/python3 --version && cat "$root/tests/requirements.txt"; } | sha256sum | cut -c1-16)"
}
need_python() {
    local place lock log
    place=$(python_place)
    [ ! -e "$place/whole" ] || return 0
    mkdir -p "$(cache_dir)" 2>/dev/null && [ -w "$(cache_dir)" ] || die 69 "cannot write to $(cache_dir): set XDG_CACHE_HOME"
    exec {lock}>>"$(cache_dir)/lock-python"
    flock "$lock"
    if [ ! -e "$place/whole" ]; then
        say "installing Python packages for the tests into $place"
        log=$(mktemp)
        rm -rf "$place"
        { /usr/bin/python3 -m venv "$place" && "$place/bin/python" -m pip install --quiet --disable-pip-version-check --no-input \
            --require-hashes --only-binary :all: -r "$root/tests/requirements.txt"; } </dev/null >"$log" 2>&1 || {
            tail -n 15 "$log" >&2
            rm -f "$log"
            die 69 "the Python packages could not be installed"
        }
        rm -f "$log"
        : >"$place/whole"
    fi
    exec {lock}>&-
}
