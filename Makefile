# Trabajos. `make demo` and `make test` are all that a fresh machine needs; `make help` lists the rest.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules
SHELL := /bin/bash

VERSION := 0.1.0
PREFIX ?= /usr/local
CC = gcc
PYTHON ?= /usr/bin/python3
SAN ?=
JOBS ?= $(shell nproc)
Q := $(if $(V),,@)
say = $(if $(V),,@echo '$(1)  $(patsubst $(CURDIR)/%,%,$@)')

# FAILPOINTS=1: with the points of lib/failpoint.h. FAULTY=fence|dedupe|sweeper|redelivery: that one guard is left out, for the fault
# suite to find it missing.
FAULTY ?=
FAILPOINTS ?= $(FAULTY)
ifneq ($(filter-out fence dedupe sweeper redelivery,$(FAULTY)),)
$(error FAULTY is "fence", "dedupe", "sweeper", "redelivery" or empty, not "$(FAULTY)")
endif
VARIANT := $(notdir $(CC))$(if $(SAN),-$(SAN))$(if $(FAILPOINTS),-fail)$(if $(FAULTY),-no-$(FAULTY))
B := build/$(VARIANT)
# bin/ holds the ordinary programs; those of another compiler and of special builds stay in their own folders.
BIN := $(if $(filter gcc,$(VARIANT)),bin,$(B)/bin)

WARNINGS := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla $(if $(CI),-Werror)
HARDEN := -fstack-protector-strong -fstack-clash-protection -fcf-protection -fPIE
LINK_HARDEN := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed
PLAIN := -O2 -g -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
ifeq ($(SAN),)
OPTIMISE := $(PLAIN)
else ifeq ($(SAN),address)
OPTIMISE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
else ifeq ($(SAN),thread)
OPTIMISE := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
else ifeq ($(SAN),fuzzer)
OPTIMISE := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
else ifeq ($(SAN),coverage)
OPTIMISE := -O1 -g --coverage -fprofile-update=atomic -DCOVERAGE
else
$(error SAN is "address", "thread", "fuzzer" (of clang), "coverage" or empty, not "$(SAN)")
endif

PACKAGES := rdkafka libpq libmicrohttpd libcurl cjose uuid jansson libcrypto yaml-0.1 libseccomp libgit2 zlib
# Asked once, and only when something is compiled: `make deps` runs where pkg-config is not there yet.
PKG_CFLAGS = $(eval PKG_CFLAGS := $(shell pkg-config --cflags $(PACKAGES)))$(PKG_CFLAGS)
CFLAGS += $(if $(FAILPOINTS),-DFAILPOINTS) $(if $(FAULTY),-DFAULTY_$(FAULTY))
CFLAGS += -std=gnu11 -D_GNU_SOURCE -I. $(WARNINGS) $(HARDEN) $(OPTIMISE) -include lib/banned.h
LDFLAGS += $(LINK_HARDEN) $(filter -fsanitize=% --coverage,$(OPTIMISE)) -pthread
pkg = $(shell pkg-config --libs $(1))
# Here, where no target has changed them yet.
FLAGS := $(CC) $(CFLAGS) $(LDFLAGS) $(PLAIN) $(VERSION)

c_in = $(sort $(wildcard $(1)/*.c))
o_of = $(patsubst %.c,$(B)/%.o,$(1))

LIB_C := $(call c_in,lib)
FRONTEND_C := $(call c_in,frontend)
WORKER_C := $(call c_in,worker)
FETCH_C := $(call c_in,worker/fetch)
INIT_C := $(call c_in,worker/init)
OBSERVER_C := $(call c_in,observer)
CLI_C := $(call c_in,cli)
UNIT_C := $(call c_in,tests/unit)
BENCH_C := $(call c_in,bench)
ALL_C := $(LIB_C) $(FRONTEND_C) $(WORKER_C) $(FETCH_C) $(INIT_C) $(OBSERVER_C) $(CLI_C) $(UNIT_C) $(BENCH_C)
WEB := $(sort $(wildcard web/*.* web/*/*))
MIGRATIONS := $(sort $(wildcard sql/[0-9]*.sql))

LIB := $(B)/libtrabajos.a
PROGRAMS := $(addprefix $(BIN)/,trabajos-frontend trabajos-worker trabajos-fetch trabajos-init trabajos-observer trabajos)
UNIT := $(patsubst tests/unit/%.c,$(B)/unit/%,$(filter tests/unit/test_%.c,$(UNIT_C)))
ifeq ($(SAN),thread)
# librdkafka's threads are C11's, which the sanitizer does not know: it crashes in their first callback.
UNIT := $(filter-out $(B)/unit/test_kafka% $(B)/unit/test_housekeeping $(B)/unit/test_trabajo,$(UNIT))
endif

all: $(PROGRAMS) $(if $(FAILPOINTS),$(B)/clock.so) ## build the programs into bin/

# ---- objects

# What something was made with: the flags, and for what is made of a folder's files their list, since one that goes leaves nothing that
# is newer. Written when it changes, so that what depends on it is made again then, and only then.
keep = +@mkdir -p $(@D); echo '$(subst ','\'',$(strip $(1)))' >$@.new; if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi
$(B)/flags: FORCE
	$(call keep,$(FLAGS) $(shell pkg-config --cflags --modversion $(PACKAGES) 2>&1))
$(B)/%.list: FORCE
	$(call keep,$(LISTED))
FORCE:

$(B)/%.o: %.c $(B)/flags
	@mkdir -p $(@D)
	$(call say,cc)
	$(Q)$(CC) $(CFLAGS) $(PKG_CFLAGS) -DTRABAJOS_VERSION='"$(VERSION)"' -MMD -MP -c -o $@ $<

$(B)/migrations.list: LISTED := $(MIGRATIONS)
$(B)/migrations.c: dev/embed-migrations sql/grants.sql sql/superseded.sha256 $(MIGRATIONS) $(B)/migrations.list
	@mkdir -p $(@D)
	$(Q)FAULTY=$(FAULTY) dev/embed-migrations sql/grants.sql sql/superseded.sha256 $(MIGRATIONS) >$@

$(B)/migrations.o: $(B)/migrations.c $(B)/flags
	$(call say,cc)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

$(B)/web.list: LISTED := $(WEB)
$(B)/web.c: dev/embed-web $(WEB) $(B)/web.list
	@mkdir -p $(@D)
	$(Q)dev/embed-web web >$@

$(B)/web.o: $(B)/web.c $(B)/flags
	$(call say,cc)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# $(call archive,NAME,OBJECTS)
define archive
$(B)/lib$(1).list: LISTED := $(2)
$(B)/lib$(1).a: $(2) $(B)/lib$(1).list
endef
$(B)/lib%.a:
	@rm -f $@
	$(Q)ar rcs $@ $(filter %.o,$^)

$(eval $(call archive,trabajos,$(call o_of,$(LIB_C)) $(B)/migrations.o))

# ---- files that are part of the frontend

ASSETS := $(addprefix $(B)/assets/,openapi docs_page docs_script docs_viewer)
$(B)/assets/openapi.c: docs/openapi.yaml
$(B)/assets/docs_page.c: frontend/docs/page.html
$(B)/assets/docs_script.c: frontend/docs/page.js
$(B)/assets/docs_viewer.c: third_party/rapidoc/rapidoc-min.js
$(B)/assets/openapi.c: asset_type := application/json
$(B)/assets/docs_page.c: asset_type := text/html; charset=utf-8
$(B)/assets/docs_script.c $(B)/assets/docs_viewer.c: asset_type := text/javascript; charset=utf-8
$(addsuffix .c,$(ASSETS)): dev/embed-asset
	@mkdir -p $(@D)
	$(Q)$(PYTHON) dev/embed-asset asset_$(basename $(@F)) '$(asset_type)' $(filter-out dev/%,$^) >$@
$(B)/assets/%.o: $(B)/assets/%.c $(B)/flags
	$(call say,cc)
	$(Q)$(CC) $(CFLAGS) -MMD -MP -c -o $@ $<

# Everything of a daemon but its main(), so that unit tests link it too. The command line's is with the rule and its simulator.
without_main = $(filter-out %/main.o,$(call o_of,$(1)))
$(eval $(call archive,frontend,$(call without_main,$(FRONTEND_C)) $(B)/web.o $(addsuffix .o,$(ASSETS))))
$(eval $(call archive,worker,$(call without_main,$(WORKER_C))))
$(eval $(call archive,fetch,$(call without_main,$(FETCH_C)) $(B)/worker/init/landlock.o))
$(eval $(call archive,observer,$(call without_main,$(OBSERVER_C))))
$(eval $(call archive,cli,$(call without_main,$(CLI_C))))

# ---- programs

LIBS_COMMON = $(call pkg,rdkafka libpq libmicrohttpd jansson uuid libcrypto zlib) -lm
link = $(Q)mkdir -p $(@D); echo 'ld  $@'; $(CC) $(LDFLAGS) -o $@ $(filter %.o %.a,$^) $(1)

$(BIN)/trabajos-frontend: $(B)/frontend/main.o $(B)/libfrontend.a $(LIB)
	$(call link,$(LIBS_COMMON) $(call pkg,libcurl cjose))
$(BIN)/trabajos-worker: $(B)/worker/main.o $(B)/libworker.a $(LIB)
	$(call link,$(LIBS_COMMON) $(call pkg,libcurl yaml-0.1 libseccomp))
$(BIN)/trabajos-fetch: $(B)/worker/fetch/main.o $(B)/libfetch.a $(B)/libworker.a $(LIB)
	$(call link,$(call pkg,libgit2 jansson yaml-0.1 uuid libcrypto) -lm)
# Started for every job and inside of its box: static, so that nothing has to be found and relocated there, and without the
# sanitizers, which want /proc and ptrace.
$(call o_of,$(INIT_C)): OPTIMISE := $(PLAIN)
$(BIN)/trabajos-init: LINK_HARDEN := -static-pie -Wl,-z,relro,-z,now,-z,noexecstack
$(BIN)/trabajos-init: OPTIMISE :=
$(B)/init.list: LISTED := $(INIT_C)
$(BIN)/trabajos-init: $(call o_of,$(INIT_C)) $(B)/init.list
	$(call link,)
$(BIN)/trabajos-observer: $(B)/observer/main.o $(B)/libobserver.a $(LIB)
	$(call link,$(LIBS_COMMON) $(call pkg,libcurl))
$(BIN)/trabajos: $(B)/cli/main.o $(B)/libcli.a $(B)/libobserver.a $(LIB)
	$(call link,$(LIBS_COMMON) $(call pkg,libcurl))

# Ours in bench/ledger; not installed.
$(BIN)/bench-ledger-jobs: $(B)/bench/ledger_jobs.o $(B)/libworker.a $(LIB)
	$(call link,$(LIBS_COMMON) $(call pkg,yaml-0.1 libseccomp))

# The clients in bench/follow; not installed.
$(BIN)/bench-follow-readers: $(B)/bench/follow_readers.o $(LIB)
	$(call link,)

# Ours in bench/start; not installed.
$(BIN)/bench-start-boxes: $(B)/bench/start_boxes.o $(B)/libworker.a $(LIB)
	$(call link,$(LIBS_COMMON) $(call pkg,yaml-0.1 libseccomp))

$(BIN)/bench-start-trees: $(B)/bench/start_trees.o $(B)/libfetch.a $(B)/libworker.a $(LIB)
	$(call link,$(LIBS_COMMON) $(call pkg,libgit2 yaml-0.1 libseccomp))

$(B)/unit/%: $(B)/tests/unit/%.o $(B)/libcli.a $(B)/libfrontend.a $(B)/libfetch.a $(B)/libworker.a $(B)/libobserver.a $(LIB)
	$(call link,$(LIBS_COMMON) $(call pkg,libcurl cjose libgit2 yaml-0.1 libseccomp cmocka))

# Loaded into a daemon that the fault suite runs with a wrong clock.
$(B)/clock.so: tests/faults/clock.c $(B)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(CFLAGS) -fPIC -shared -o $@ $<

$(PROGRAMS) $(UNIT): $(B)/flags

# ---- fuzz targets (tests/fuzz): what reads strangers' bytes, with clang's libFuzzer, in build/fuzz

FUZZED_C := $(addprefix lib/,address.c cron.c digest.c error.c giturl.c http_peer.c http_wish.c json.c loop.c mem.c moment.c option.c prefix.c \
	range.c resultado.c trabajo.c uuid.c webhook.c) $(wildcard frontend/text*.c frontend/token*.c) cli/sse.c cli/text.c worker/environment.c \
	worker/fetch_result.c worker/fetch/path.c $(sort $(wildcard worker/plan*.c))
FUZZ_C := $(call c_in,tests/fuzz)
FUZZ := $(patsubst tests/fuzz/%.c,$(B)/%,$(filter tests/fuzz/fuzz_%.c,$(FUZZ_C)))
ALL_C += $(FUZZ_C)

$(eval $(call archive,fuzzed,$(call o_of,$(FUZZED_C) $(filter-out tests/fuzz/fuzz_%.c,$(FUZZ_C)))))
$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/libfuzzed.a
	$(call link,-fsanitize=fuzzer $(call pkg,jansson uuid libcrypto cjose libcurl libgit2 yaml-0.1) -lm)

# The sandbox's tests start it.
$(UNIT): | $(BIN)/trabajos-init

-include $(patsubst %.o,%.d,$(call o_of,$(ALL_C)))

# ---- people's targets

deps: ## install what this machine lacks (Debian packages, Kafka, Keycloak)
	@dev/deps

unit: $(UNIT) ## unit tests
	@tests/run-unit $(UNIT)

test: deps ## set-up and every test
	@$(MAKE) --no-print-directory -j$(JOBS) all unit-programs
	@$(MAKE) --no-print-directory -j$(JOBS) FAILPOINTS=1 all
	@tests/run

unit-programs: $(UNIT)

# Compiled is enough to be warned.
objects: $(call o_of,$(ALL_C)) $(B)/clock.so

fuzz: ## every fuzz target for FUZZ_S seconds (default 600)
	@tests/run-fuzz $(or $(FUZZ_S),600)

fuzz-programs:
	@$(MAKE) --no-print-directory CC=clang SAN=fuzzer B=build/fuzz fuzz-here
fuzz-here: $(FUZZ)

faults: deps ## the fault suite: SEED=n or SEEDS=1-20, COUNT=jobs; SELF=1: it proves itself
	@$(MAKE) --no-print-directory -j$(JOBS) FAILPOINTS=1 all
	@tests/faults/run $(if $(SELF),--self) $(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seeds $(SEED)) $(if $(COUNT),--jobs $(COUNT))

test-compose: ## the compose projects on a real engine: installs and starts what is missing (as root)
	@tests/compose/run

test-vm: deps ## the boxes under Debian's own kernels and control groups, in a virtual machine
	@dev/deps --for vm
	@$(MAKE) --no-print-directory -j$(JOBS) all unit-programs
	@dev/virtual-machine test

test-all: ## before a release: every test, the compose projects, Debian's own kernels, the fault suite
	@$(MAKE) --no-print-directory test
	@$(MAKE) --no-print-directory test-compose
	@$(MAKE) --no-print-directory test-vm
	@$(MAKE) --no-print-directory faults

coverage: deps ## which lines every test together runs; ends with the figures of each folder
	@dev/deps --for coverage
	@$(MAKE) --no-print-directory -j$(JOBS) SAN=coverage all unit-programs
	@$(MAKE) --no-print-directory FAILPOINTS=1 build/gcc-fail/clock.so
	@tests/run-coverage

screenshots: deps ## pictures of the page, into docs/images
	@dev/deps --for screenshots
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@$(PYTHON) -m pytest tests/system/browser/shots.py

demo: ## set-up, then a repository in and its result out, for real
	@dev/deps --for build --for run
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@dev/demo

up: ## the local stack with all three daemons
	@dev/deps --for build --for run
	@$(MAKE) --no-print-directory -j$(JOBS) all
	@dev/stack up --daemons

down: ## stop the local stack
	@dev/stack down

lint: ## formatting, static analysis, layers, banned functions, shell and SQL
	@dev/lint

format: ## rewrite the C files in the house's form
	clang-format -i $(shell git ls-files '*.c' '*.h')

bench: deps ## side-by-side benchmarks
	@dev/deps --for bench
	@$(MAKE) --no-print-directory -j$(JOBS) all $(BIN)/bench-follow-readers $(BIN)/bench-ledger-jobs $(BIN)/bench-start-boxes $(BIN)/bench-start-trees
	@bench/run

install-programs: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/share/trabajos/sql
	install -m 755 $(PROGRAMS) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(MIGRATIONS) sql/create_tables.sql sql/grants.sql $(DESTDIR)$(PREFIX)/share/trabajos/sql

# The command says itself what its manual and the shells need to know.
SHELL_FILES := man/man1/trabajos.1 bash-completion/completions/trabajos zsh/site-functions/_trabajos fish/vendor_completions.d/trabajos.fish
install-cli: $(BIN)/trabajos
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/,$(dir $(SHELL_FILES)))
	cd $(DESTDIR)$(PREFIX)/share && umask 022 && { \
		$(abspath $(BIN))/trabajos manual >man/man1/trabajos.1; \
		$(abspath $(BIN))/trabajos completion bash >bash-completion/completions/trabajos; \
		$(abspath $(BIN))/trabajos completion zsh >zsh/site-functions/_trabajos; \
		$(abspath $(BIN))/trabajos completion fish >fish/vendor_completions.d/trabajos.fish; }

install: install-programs install-cli ## into DESTDIR/PREFIX
	install -d $(addprefix $(DESTDIR)$(PREFIX)/share/trabajos/,keycloak prometheus grafana)
	install -m 644 keycloak/cloudcomputing-realm.json $(DESTDIR)$(PREFIX)/share/trabajos/keycloak
	install -m 644 deploy/prometheus/rules.yaml deploy/prometheus/prometheus.yaml $(DESTDIR)$(PREFIX)/share/trabajos/prometheus
	install -m 644 deploy/grafana/trabajos.json $(DESTDIR)$(PREFIX)/share/trabajos/grafana

clean: ## remove what was built
	rm -rf build bin

help: ## this list (V=1 shows the commands)
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1\t\2/p' Makefile | expand -t 12

.PHONY: FORCE all deps unit unit-programs objects test-compose test-vm test-all coverage fuzz fuzz-programs fuzz-here test faults screenshots demo up down lint format bench install install-programs install-cli clean help
