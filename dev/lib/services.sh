# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# How each service is prepared and becomes its server (run_*, in the launched process), and when it is ready
# (ready_*). What is prepared is made beside its place and renamed, so that an interrupted start is repeated.

check_programs() { # everything the services need is here, or one line that says what is not
    local program
    for program in lighttpd git curl jq kcat psql setsid setpriv flock ss ps; do
        have "$program" || PATH=$PATH:/usr/sbin:/sbin have "$program" || die 69 "$program is missing: run make deps"
    done
    postgres_bin >/dev/null
    [ -x "$(git --exec-path)/git-http-backend" ] || die 69 "git-http-backend is missing: run make deps"
    java_program >/dev/null
    local app
    for app in kafka keycloak; do
        [ -d "$(cache_dir)/$app-$(pinned "$app")" ] || [ -d "$data/app/$app-$(pinned "$app")" ] ||
            die 69 "$app $(pinned "$app") is not installed: run make deps"
    done
}

# The installed Kafka or Keycloak, where its user can read it: root's cache seldom is, so link the files.
app_dir() { # NAME
    local app from to user
    app=$1-$(pinned "$1") from=$(cache_dir) user=$(account "$1")
    if [ -d "$from/$app" ] && { [ -z "$user" ] || reaches "$user" "$from/$app"; }; then
        echo "$from/$app" && return
    fi
    to=$data/app/$app
    if [ ! -d "$to" ]; then
        mkdir -p "$data/app"
        rm -rf "$to.new"
        cp -al "$from/$app" "$to.new" 2>/dev/null || { rm -rf "$to.new" && cp -a "$from/$app" "$to.new"; }
        mv -T "$to.new" "$to"
    fi
    echo "$to"
}

# --- postgres
postgres_bin() { # the cluster's version, else the newest
    local version
    version=$(cat "$data/postgres/version" 2>/dev/null || { cd /usr/lib/postgresql 2>/dev/null && printf '%s\n' [0-9]* | sort -V | tail -n 1; } || :)
    [ -x "/usr/lib/postgresql/$version/bin/postgres" ] ||
        die 69 "PostgreSQL $version is missing${version:+ (the data of this stack was made by it)}: run make deps${version:+, or dev/stack down --purge}"
    echo "/usr/lib/postgresql/$version/bin"
}
run_postgres() {
    local bin home=$data/postgres
    bin=$(postgres_bin)
    own_dir postgres 700 "$home"
    [ -d "$home/cluster" ] || make_cluster "$bin" "$home"
    clear_stale_lock "$home/cluster"
    cd /
    become postgres -- "$bin/postgres" -D "$home/cluster" -p "$(port postgres)" -c listen_addresses=127.0.0.1 \
        -c unix_socket_directories= -c max_connections=200
}
make_cluster() { # BIN HOME
    rm -rf "$2/new"
    cd "$2" || exit
    own_copy postgres "$dir/password" "$2/password"
    as postgres -- "$1/initdb" -D "$2/new" -U postgres -E UTF8 --locale=C.UTF-8 --auth=scram-sha-256 \
        --pwfile="$2/password"
    rm -f "$2/password"
    as postgres -- "$1/postgres" --single -D "$2/new" postgres <<<'CREATE DATABASE results_db'
    echo "${1//[!0-9]/}" >"$2/version"
    mv -T "$2/new" "$2/cluster"
}
# After SIGKILL the children of the old server end by themselves; only then is its lock file certainly stale.
clear_stale_lock() { # CLUSTER
    local i
    for i in {1..100}; do
        [ -n "$(postgres_children)" ] || { rm -f "$1/postmaster.pid" && return; }
        nap 0.1
    done
    die 1 "processes of the old server are still in $1"
}
ready_postgres() {
    PGPASSWORD=$(cat "$dir/password") PGCONNECT_TIMEOUT=3 psql -XAtq -h 127.0.0.1 -p "$(port postgres)" -U postgres \
        -c 'SELECT 1' results_db >/dev/null 2>&1
}

# --- kafka
run_kafka() {
    local java libs home=$data/kafka
    java=$(java_program)
    libs=$(app_dir kafka)/libs
    own_dir kafka 700 "$home"
    cp "$root/dev/conf/kafka-log4j2.properties" "$data/conf/"
    kafka_config "$home/log" >"$data/conf/kafka.properties"
    cd "$home" || exit
    if [ ! -d "$home/log" ]; then
        rm -rf "$home/new"
        kafka_config "$home/new" >"$data/conf/kafka-format.properties"
        as kafka -- "$java" -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -cp "$libs/*" kafka.tools.StorageTool format \
            -t "$(head -c 16 /dev/urandom | base64 | tr '+/' ab | tr -d =)" -c "$data/conf/kafka-format.properties"
        mv -T "$home/new" "$home/log"
    fi
    become kafka -- "$java" -server -Xms512m -Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError \
        -Djava.awt.headless=true "-Dlog4j2.configurationFile=file:$data/conf/kafka-log4j2.properties" \
        -cp "$libs/*" kafka.Kafka "$data/conf/kafka.properties"
}
kafka_config() { # LOG_DIR
    cat "$root/dev/conf/kafka.properties"
    # STACK_KAFKA_PROXIED=LISTEN:ADVERTISED: one more listener, for clients that come through a proxy
    local proxied=${STACK_KAFKA_PROXIED:-}
    echo "listeners=PLAINTEXT://127.0.0.1:$(port kafka),CONTROLLER://127.0.0.1:$(port kafka-controller)${proxied:+,PROXIED://127.0.0.1:${proxied%:*}}"
    echo "advertised.listeners=PLAINTEXT://127.0.0.1:$(port kafka)${proxied:+,PROXIED://127.0.0.1:${proxied#*:}}"
    echo "controller.quorum.voters=1@127.0.0.1:$(port kafka-controller)"
    echo "log.dirs=$1"
}
ready_kafka() { listening kafka && kcat -L -b "127.0.0.1:$(port kafka)" -m 3 >/dev/null 2>&1; }
listening() { (: <"/dev/tcp/127.0.0.1/$(port "$1")") 2>/dev/null; }

# --- keycloak
# Its realm is imported at the first start only: when the files change, or a first start was cut short, start afresh.
run_keycloak() {
    local java app home=$data/keycloak each
    java=$(java_program)
    app=$(app_dir keycloak)
    own_dir keycloak 700 "$home"
    [ "$(cat "$home/imported" 2>/dev/null)" = "$(realm_version)" ] || rm -rf "$home/imported" "$home/data"
    own_dir keycloak 700 "$home/data"
    own_dir keycloak 700 "$home/data/import"
    merged_realm >"$home/data/import/cloudcomputing-realm.json"
    for each in lib conf providers themes; do ln -sfn "$app/$each" "$home/$each"; done
    cd "$home" || exit
    # As bin/kc.sh does, but with exec, C1 only (its life is short) and its own home. Somebody who asks for two tokens at a time gets
    # both: with brute force protection Keycloak refuses the second (401) unless it is told.
    become keycloak "HOME=$home" KC_BOOTSTRAP_ADMIN_USERNAME=admin KC_BOOTSTRAP_ADMIN_PASSWORD=admin -- \
        "$java" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xms64m -Xmx512m -XX:MetaspaceSize=96M -XX:+ExitOnOutOfMemoryError \
        -Dfile.encoding=UTF-8 -Duser.language=en -Duser.country=US \
        -Djava.util.concurrent.ForkJoinPool.common.threadFactory=io.quarkus.bootstrap.forkjoin.QuarkusForkJoinWorkerThreadFactory \
        --add-opens=java.base/java.util=ALL-UNNAMED --add-opens=java.base/java.util.concurrent=ALL-UNNAMED \
        --add-opens=java.base/java.security=ALL-UNNAMED "-Dkc.home.dir=$home" "-Djboss.server.config.dir=$home/conf" \
        -Djava.util.logging.manager=org.jboss.logmanager.LogManager -Dpicocli.disable.closures=true \
        -Dquarkus-log-max-startup-records=10000 -cp "$home/lib/quarkus-run.jar" \
        io.quarkus.bootstrap.runner.QuarkusEntryPoint start --optimized --import-realm --cache=local \
        --spi-brute-force-protector--default-brute-force-detector--allow-concurrent-requests=true \
        "--db-url=jdbc:h2:file:$home/data/h2/keycloakdb;NON_KEYWORDS=VALUE" --http-enabled=true --http-host=127.0.0.1 \
        "--http-port=$(port keycloak)" "--http-management-port=$(port keycloak-management)" \
        "--hostname=http://localhost:$(port keycloak)"
}
# With this stack's page among those that may ask for tokens.
merged_realm() {
    jq -s -f "$root/keycloak/merge.jq" "$root/keycloak/cloudcomputing-realm.json" "$root/keycloak/demo-users.json" |
        jq --arg port "$(port frontend)" '(.clients[] | select(.clientId == "trabajos-web").webOrigins) += ["http://localhost:" + $port, "http://127.0.0.1:" + $port]'
}
realm_version() { { pinned keycloak && merged_realm; } | sha256sum; }
ready_keycloak() {
    curl -sf -m 5 -o /dev/null "http://127.0.0.1:$(port keycloak)/realms/cloudcomputing/.well-known/openid-configuration" || return 1
    [ -e "$data/keycloak/imported" ] || realm_version >"$data/keycloak/imported"
}

# --- git: every $data/git/NAME.git at http://127.0.0.1:PORT/NAME.git, for reading
run_git() {
    own_dir git 700 "$data/git-server"
    [ -d "$data/git/ejemplo.git" ] || make_example
    lighttpd_config >"$data/conf/lighttpd.conf"
    cd /
    # The server is another user than the one who pushes: safe.directory. Any commit may be asked for, as with the big hosts.
    become git "HOME=$data/git-server" "GIT_PROJECT_ROOT=$data/git" GIT_HTTP_EXPORT_ALL=1 GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_COUNT=4 \
        GIT_CONFIG_KEY_0=safe.directory 'GIT_CONFIG_VALUE_0=*' GIT_CONFIG_KEY_1=uploadpack.allowAnySHA1InWant GIT_CONFIG_VALUE_1=true \
        GIT_CONFIG_KEY_2=uploadpack.allowFilter GIT_CONFIG_VALUE_2=true GIT_CONFIG_KEY_3=http.receivepack GIT_CONFIG_VALUE_3=false -- \
        "$(PATH=$PATH:/usr/sbin command -v lighttpd)" -D -f "$data/conf/lighttpd.conf"
}
lighttpd_config() {
    cat <<END
server.modules = ("mod_rewrite", "mod_alias", "mod_setenv", "mod_cgi", "mod_accesslog")
server.bind = "127.0.0.1"
server.port = $(port git)
server.document-root = "$data/git-server"
server.upload-dirs = ("$data/git-server")
server.stream-response-body = 1
accesslog.filename = "/dev/stderr"
url.rewrite-once = ("^/(.*)" => "/git/\$1")
alias.url = ("/git/" => "$(git --exec-path)/git-http-backend/")
setenv.add-environment = (
$(for v in HOME GIT_PROJECT_ROOT GIT_HTTP_EXPORT_ALL GIT_CONFIG_NOSYSTEM GIT_CONFIG_COUNT GIT_CONFIG_{KEY,VALUE}_{0..3}; do
        echo "    \"$v\" => env.$v,"
    done)
)
cgi.assign = ("git-http-backend" => "")
END
}
# The same commit on every machine: fixed author and date.
make_example() {
    local new=$data/git/.ejemplo.new
    rm -rf "$new"
    (
        export GIT_DIR=$new GIT_WORK_TREE=$root/dev/example GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null \
            GIT_{AUTHOR,COMMITTER}_NAME=Trabajos GIT_{AUTHOR,COMMITTER}_EMAIL=ejemplo@trabajos.invalid \
            GIT_{AUTHOR,COMMITTER}_DATE=2024-01-01T00:00:00Z
        unset GIT_INDEX_FILE GIT_OBJECT_DIRECTORY
        (unset GIT_WORK_TREE && git init -q --bare -b main "$new")
        git add .
        git update-index --chmod=+x main.sh
        git commit -qm 'An example job'
        rm -f "$new/index"
    )
    mv -T "$new" "$data/git/ejemplo.git"
}
ready_git() { curl -sf -m 5 -o /dev/null "http://127.0.0.1:$(port git)/ejemplo.git/info/refs?service=git-upload-pack"; }
