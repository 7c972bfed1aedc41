# shellcheck shell=bash disable=SC2034,SC2154 # names are shared among the parts
# The base images that the compose files and Dockerfiles name, under those names. Pulled; where no registry can be reached they are
# made: the same upstream programs from Debian's packages and Maven's artifacts, for tests of our files, with a label that says so.
#
# What is made here honours what our files and users' commands rely on: PostgreSQL's variables and first-start scripts, Kafka's own
# reading of KAFKA_* and its tools' names, Keycloak's kc.sh, and the users' numbers. It is larger than what is published, and a
# fault that only the published image has does not show with it.

readonly base_images=(debian postgres kafka keycloak)
readonly suite=trixie made_label=trabajos.made-here

image_tag() { # NAME: as the files say
    local file=docker-compose/docker-compose.yml
    case $1 in
    debian) sed -n 's/^ARG BASE=//p' "$root/deploy/docker/Dockerfile" ;;
    keycloak) sed -n 's/^ARG KEYCLOAK=//p' "$root/docker-compose-keycloak/Dockerfile" ;;
    postgres) sed -n 's/^ *image: \(postgres:.*\)/\1/p' "$root/$file" ;;
    kafka) sed -n 's/^ *image: \(apache\/kafka:.*\)/\1/p' "$root/$file" ;;
    esac
}

has_image() { docker image inspect "$(image_tag "$1")" >/dev/null 2>&1; }

need_images() { # [--again] [NAME…]
    local again='' name names=()
    case ${BASE_IMAGES:=auto} in
    auto | pulled | made) ;;
    *) die 78 "BASE_IMAGES is auto, pulled or made, not '$BASE_IMAGES'" ;;
    esac
    for name; do
        case $name in
        --again) again=1 ;;
        debian | postgres | kafka | keycloak) names+=("$name") ;;
        *) die 64 "images [--again] [debian|postgres|kafka|keycloak]…" ;;
        esac
    done
    [ ${#names[@]} -gt 0 ] || names=("${base_images[@]}")
    for name in "${names[@]}"; do
        if [ -z "$again" ] && has_image "$name"; then continue; fi
        get_image "$name"
    done
}

get_image() { # NAME
    local tag
    tag=$(image_tag "$1")
    if [ "$BASE_IMAGES" != made ]; then
        say "pulling $tag"
        # Asking is quick where a registry is, and where none is it must not take minutes.
        if timeout 30 docker manifest inspect "$tag" >/dev/null 2>&1 && docker pull -q "$tag" >/dev/null; then return; fi
        [ "$BASE_IMAGES" = auto ] || die 69 "$tag cannot be pulled"
        say "no registry can be reached: the base images are made here"
        BASE_IMAGES=made
    fi
    [ "$1" = debian ] || has_image debian || get_image debian
    make_image "$1" "$tag"
}

make_image() { # NAME TAG
    SECONDS=0
    say "making $2"
    work=$(mktemp -d /var/tmp/trabajos-image-XXXXXX)
    trap 'rm -rf "$work"' EXIT
    "make_$1" "$2"
    rm -rf "$work"
    trap - EXIT
    say "made $2 in $SECONDS s, $(($(docker image inspect -f '{{.Size}}' "$2") / 1000000)) MB"
}

# --- Debian, as its slim images are: no services at an installation, no caches, no documentation
make_debian() { # TAG
    local tree=$work/root mirror security
    is_root || die 69 "debootstrap needs root: run this as root, or where images can be pulled"
    mirror=$(archive_of Debian) security=$(archive_of Debian-Security)
    [ -n "$mirror" ] || die 69 "apt knows no Debian mirror: run apt-get update"
    debootstrap --variant=minbase "$suite" "$tree" "$mirror" >"$work/log" 2>&1 || {
        tail -n 5 "$work/log" >&2
        die 69 "debootstrap could not make $suite"
    }
    debian_sources "$mirror" "$security" >"$tree/etc/apt/sources.list.d/debian.sources"
    rm -f "$tree/etc/apt/sources.list"
    # what this machine needs to reach its mirrors
    apt-config dump | grep -E '^Acquire::(http|https)' >"$tree/etc/apt/apt.conf.d/90machine" || :
    mkdir -p "$tree/usr/local/share/ca-certificates"
    find /usr/local/share/ca-certificates -name '*.crt' -exec cp -L {} "$tree/usr/local/share/ca-certificates/" \;
    printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d"
    chmod 755 "$tree/usr/sbin/policy-rc.d"
    cp "$root/dev/images/debian/apt.conf" "$tree/etc/apt/apt.conf.d/90slim"
    cp "$root/dev/images/debian/dpkg.cfg" "$tree/etc/dpkg/dpkg.cfg.d/90slim"
    rm -rf "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/* "$tree"/var/log/*.log "$tree"/var/log/apt/* \
        "$tree"/usr/share/{man,info,locale}/*
    find "$tree/usr/share/doc" ! -type d ! -name copyright -delete
    find "$tree/usr/share/doc" -type d -empty -delete
    tar -C "$tree" --numeric-owner --exclude='./dev/*' --exclude='./proc/*' --exclude='./sys/*' -c . |
        docker import -c 'CMD ["bash"]' -c "LABEL $made_label=yes" - "$1" >/dev/null
}
archive_of() { # LABEL: of an archive, as this machine's apt reaches it
    # shellcheck disable=SC2016 # apt's own form
    apt-get indextargets --format '$(LABEL)|$(REPO_URI)' 2>/dev/null | sed -n "s/^$1|//p" | head -n 1
}
debian_sources() { # MIRROR SECURITY-MIRROR
    local key=/usr/share/keyrings/debian-archive-keyring.gpg
    printf 'Types: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$1" "$suite $suite-updates" "$key"
    [ -z "$2" ] || printf '\nTypes: deb\nURIs: %s\nSuites: %s\nComponents: main\nSigned-By: %s\n' "$2" "$suite-security" "$key"
}

# --- the others, on top of it
build_image() { # TAG CONTEXT OPTION…
    local name arguments=()
    for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
        [ -z "${!name:-}" ] || arguments+=(--build-arg "$name")
    done
    docker build -q -t "$1" --label "$made_label=yes" --build-arg BASE="$(image_tag debian)" "${arguments[@]}" "${@:3}" "$2" \
        >"$work/log" 2>&1 || {
        tail -n 20 "$work/log" >&2
        die 1 "$1 could not be built"
    }
}
make_postgres() { # TAG
    build_image "$1" "$root/dev/images/postgres" --build-arg MAJOR="${1##*:}"
}
# The broker's jars are those of the local stack; its command line tools are not among them.
make_kafka() { # TAG
    [ "${1##*:}" = "$(pinned kafka)" ] || die 1 "$1 is not the version that dev/pom.xml pins: $(pinned kafka)"
    (need_artifacts)
    cp -R "$root/dev/images/kafka" "$work/kafka"
    cp -R "$(place kafka)/libs" "$work/kafka/libs"
    mvn -B -ntp -q -f "$root/dev/images/kafka/pom.xml" "-Dmaven.repo.local=$(cache_dir)/m2" "-Dkafka.version=$(pinned kafka)" \
        "-Dinto=$work/tools" generate-resources </dev/null >"$work/log" 2>&1 || {
        tail -n 15 "$work/log" >&2
        die 69 "Maven could not fetch Kafka's tools"
    }
    cp -n "$work"/tools/*.jar "$work/kafka/libs/"
    (cd "$work/kafka/libs" && sha256sum --strict --quiet -c "$root/dev/images/kafka/tools.sha256") ||
        die 69 "what Maven fetched for Kafka's tools is not what dev/images/kafka/tools.sha256 lists"
    build_image "$1" "$work/kafka"
}
make_keycloak() { # TAG
    [ "${1##*:}" = "$(pinned keycloak)" ] || die 1 "$1 is not the version that dev/pom.xml pins: $(pinned keycloak)"
    (need_artifacts)
    cp -R "$root/dev/images/keycloak" "$work/context"
    cp -R "$(place keycloak)" "$work/context/keycloak"
    rm -rf "$work/context/keycloak/data"
    mkdir "$work/context/keycloak/data"
    chmod -R g+rwX "$work/context/keycloak"
    build_image "$1" "$work/context"
}
