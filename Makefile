# SPDX-License-Identifier: MIT
# Plain GNU make.  CC, CFLAGS, CPPFLAGS, LDFLAGS, PREFIX and DESTDIR are yours.
#
#   make             the program            make deps       what all this needs, from Debian
#   make check       all tests, as root     make demo       a failover to look at, as root
#   make examples    every setup under examples/, started, broken and healed, as root
#   make check-faults    each system call and allocation of a run made to fail, as root, minutes
#   make bench       against the floor and the usual script, as root
#   make soak N=500  real failovers in every way, with an oracle, as root (SEED=, LABS=: tests/soak.c)
#   make bench-others  the same failovers with other programs that move a VIP, as root
#   make bench-storm M=100  a host with that many masters dies     make bench-scale  docs/scale.svg
#   make asan        units, sockets, claims and releases under the sanitizers, as root
#   make lint        man pages, scripts, static analysis
#   make deb, rpm    packages, into build/  make check-package   tries them, as root

VERSION = 0.1.0

PREFIX = /usr/local
SBINDIR = $(PREFIX)/sbin
# the program itself: Debian's units of Sentinel execute what is below /usr/lib
LIBEXECDIR = $(PREFIX)/lib/sentinel-vip
MANDIR = $(PREFIX)/share/man
DOCDIR = $(PREFIX)/share/doc/sentinel-vip
COMPLETIONDIR = $(PREFIX)/share/bash-completion/completions
UNITDIR = $(PREFIX)/lib/systemd/system
GENERATORDIR = $(PREFIX)/lib/systemd/system-generators
# no variable: the program reads it there
CONFIG = /etc/sentinel-vip.conf

CFLAGS = -O2 -g
PKG_CONFIG = pkg-config
INSTALL = install

# Where objects go, and the program itself: `make asan` names other places.
O = build
PROGRAM = sentinel-vip

SOURCES = log.c ip.c event.c args.c config.c keys.c child.c resolve.c lock.c relay.c serve.c sentinel.c sentinel-answer.c netlink.c vip.c route.c facts.c \
	diag.c tcp.c arp.c probe.c truth.c council.c plan.c apply.c conflict.c strand.c announce.c refresh.c hook.c run.c call.c change.c sync.c paint.c neighbours.c survey.c status.c status-json.c \
	file.c trust.c process.c check.c check-host.c check-link.c check-process.c check-redis.c check-relay.c check-sentinel.c check-systemd.c \
	reconfig.c
OBJECTS = $(SOURCES:%.c=$(O)/%.o)
# all of the program but its main(), for the unit tests
PARTS = $(filter-out $(O)/reconfig.o,$(OBJECTS))

PACKAGES = libnl-route-3.0 libnl-3.0 libmnl inih hiredis
# Debian's names of what builds it, what its tests run, and what .ci/run looks with
DEPS_BUILD = gcc libc6-dev make pkg-config libnl-3-dev libnl-route-3-dev libinih-dev libhiredis-dev \
	libmnl-dev
DEPS_TEST = libcmocka-dev redis-server redis-sentinel redis-tools iproute2 iputils-arping procps \
	util-linux strace nftables libcap2-bin
DEPS_PACKAGE = build-essential debhelper dpkg-dev fakeroot lintian rpm rpmlint debootstrap systemd systemd-container
# what `make bench-others` measures beside
DEPS_OTHERS = keepalived resource-agents vip-manager etcd-server curl
DEPS_EXAMPLES = nutcracker keepalived podman crun netavark iptables docker-compose curl
DEPS_LINT = clang clang-tidy cppcheck mandoc shellcheck libasan8 libubsan1

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
	-Wwrite-strings -Wpointer-arith -Wundef
HARDENING = -fPIE -fstack-protector-strong -fstack-clash-protection
# not -z now: to look up 160 functions of libc, of which a failover calls 70, costs 0.04 ms of its
# 1.2; LDFLAGS=-Wl,-z,now for who would rather have that
HARDENING_LD = -pie -Wl,-z,relro -Wl,-z,noexecstack -Wl,--as-needed
# the sanitizers and an unoptimised build do not go with it
FORTIFY = $(if $(findstring -fsanitize,$(CFLAGS))$(filter -O0,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)

# These install what is missing themselves; the others need the libraries to be there.
SELF_HELP = deps deps-lint deps-package deb rpm clean demo check check-unit check-netns check-parts check-cluster check-faces bench asan lint uninstall
SELF_HELP += soak check-faults
SELF_HELP += check-package
SELF_HELP += bench-storm bench-scale
SELF_HELP += examples deps-examples
SELF_HELP += bench-others
SELF_HELP += fuzz deps-fuzz check-fuzz analyze coverage asan-all check-valgrind
ifneq ($(filter-out $(SELF_HELP),$(or $(MAKECMDGOALS),all)),)
ifneq ($(shell $(PKG_CONFIG) --exists $(PACKAGES) 2>/dev/null && echo yes),yes)
$(error A library is missing. On Debian run "make deps"; elsewhere install pkg-config and the \
development files of libnl3 (libnl-3.0, libnl-route-3.0), libmnl, inih and hiredis)
endif
endif

# Libraries of which there is an archive are linked in, which spares the loader most of its
# work, a third of the time to the first announcement.  Debian has none of libmnl, which is
# loaded when it is first needed then (mnl.c).  libc is always shared, for the resolver.  STATIC_LIBS=no: all shared, as a
# distribution wants its packages; yes: the link fails where an archive is missing.
STATIC_LIBS = auto
SHARED = $(shell $(PKG_CONFIG) --libs $(PACKAGES))
ARCHIVED = $(if $(filter yes,$(STATIC_LIBS)),$(filter-out -lmnl,$(SHARED)),$(shell \
	for l in $(patsubst -l%,%,$(filter -l%,$(SHARED))); do \
		[ ! -f "$$($(CC) -print-file-name=lib$$l.a)" ] || echo "-l$$l"; \
	done))
LATE = $(filter-out $(ARCHIVED),-lmnl)
MIXED = $(LATE:-lmnl=$(O)/mnl.o) -Wl,-Bstatic $(ARCHIVED) -Wl,-Bdynamic \
	$(filter-out $(ARCHIVED) $(LATE),$(SHARED)) $(LATE:-lmnl=-ldl)
LINKED_IN = $(if $(filter no,$(STATIC_LIBS)),,$(ARCHIVED))
LIBS = $(if $(LINKED_IN),$(MIXED),$(SHARED))
ALL_CPPFLAGS = -D_GNU_SOURCE -DVERSION='"$(VERSION)"' -DSBINDIR='"$(SBINDIR)"' -DDOCDIR='"$(DOCDIR)"' $(FORTIFY) -I. \
	$(shell $(PKG_CONFIG) --cflags $(PACKAGES)) $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(HARDENING) $(CFLAGS)
ALL_LDFLAGS = $(HARDENING_LD) $(LDFLAGS)
LINK = $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)

.DELETE_ON_ERROR:
.PHONY: all deps deps-lint check check-unit check-netns check-parts check-cluster check-faces check-docs check-tree check-asan \
	tests demo examples deps-examples bench asan lint install uninstall clean deps-package deb rpm
.PHONY: check-package check-faults

all: $(PROGRAM)

$(PROGRAM): $(OBJECTS) $(O)/mnl.o $(O)/linked-with
	$(LINK) -o $@ $(OBJECTS) $(LIBS)

# another answer than last time is a reason to link, or to compile, again
$(O)/linked-with: FORCE
	@mkdir -p $(@D)
	@echo '$(LIBS)' | cmp -s - $@ || echo '$(LIBS)' >$@
$(O)/installed-in: FORCE
	@mkdir -p $(@D)
	@echo '$(SBINDIR) $(DOCDIR)' | cmp -s - $@ || echo '$(SBINDIR) $(DOCDIR)' >$@
$(O)/reconfig.o $(O)/check.o: $(O)/installed-in
FORCE:

$(O)/%.o: %.c vip.h Makefile
	@mkdir -p $(@D)
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

# Tests ------------------------------------------------------------------

TEST_HEADERS = $(wildcard tests/*.h)
LAB = $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/lab*.c)))
UNIT = $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/unit-*.c) tests/check-unit.c))
NETNS = $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/netns*.c) tests/check-netns.c))
CLUSTER = $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/cluster*.c) tests/check-cluster.c))
FACES = $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/faces-*.c) tests/check-faces.c)) \
	$(O)/tests/cluster.o $(O)/tests/cluster-ask.o
# but for what is measured against
BENCH = $(patsubst %.c,$(O)/%.o,$(sort $(filter-out tests/bench-floor.c tests/bench-destroy.c, \
	$(wildcard tests/bench*.c))))
SOAK = $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/soak*.c)))
FAULTS = $(patsubst %.c,$(O)/%.o,$(sort $(filter-out tests/faults-alloc.c, $(wildcard tests/faults-*.c)) \
	tests/check-faults.c tests/netns-fake.c))
SOCKETS = $(patsubst %.c,$(O)/%.o,$(sort $(wildcard tests/parts-*.c) tests/check-parts.c tests/netns.c))
CMOCKA = -lcmocka

$(LAB) $(UNIT) $(NETNS) $(CLUSTER) $(FACES) $(SOCKETS) $(BENCH) $(SOAK) $(FAULTS): $(TEST_HEADERS)

# Calls of the program's own that the unit tests make fail.  __asprintf_chk is asprintf
# under _FORTIFY_SOURCE.  Shared libraries, since those of an archive would fail as well.
comma = ,
WRAP = $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc reallocarray strdup asprintf \
	__asprintf_chk free read write fork pipe2 flock mkdir)
$(O)/check-unit: $(UNIT) $(PARTS) $(LAB)
	$(LINK) $(WRAP) -o $@ $^ $(SHARED) $(CMOCKA)

$(O)/check-netns: $(NETNS) $(LAB)
	$(LINK) -o $@ $^ $(CMOCKA)

$(O)/check-cluster: $(CLUSTER) $(LAB)
	$(LINK) -o $@ $^ $(CMOCKA) -lhiredis

$(O)/check-parts: $(SOCKETS) $(PARTS) $(O)/mnl.o $(LAB)
	$(LINK) -o $@ $^ $(SHARED) $(CMOCKA)

$(O)/check-faces: $(FACES) $(LAB) $(PARTS)
	$(LINK) -o $@ $^ $(SHARED) $(CMOCKA)

$(O)/scale: $(O)/tests/scale.o $(O)/tests/scale-plot.o $(LAB)
	$(LINK) -o $@ $^ -lm

$(O)/tests/storm.o $(O)/tests/scale.o $(O)/tests/scale-plot.o: $(TEST_HEADERS)
$(O)/storm: $(O)/tests/storm.o $(LAB)
	$(LINK) -o $@ $^ -lm

$(O)/soak: $(SOAK) $(LAB)
	$(LINK) -o $@ $^ -lpthread -lhiredis

$(O)/check-faults: $(FAULTS) $(LAB) $(O)/faults-alloc.so
	$(LINK) -o $@ $(filter %.o,$^) -lmnl

# what the program's allocations go through there
$(O)/faults-alloc.so: tests/faults-alloc.c tests/faults.h tests/lab.h
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 $(WARNINGS) -O2 -fPIC -shared -o $@ $<

$(O)/bench: $(BENCH) $(LAB)
	$(LINK) -o $@ $^ -lm -lpthread

# The program linked the other way, to be measured beside the default, and the floor: static,
# and with what the loader has to do for either.
OTHER = $(if $(LINKED_IN),$(SHARED),$(MIXED))
FLOOR_FLAGS = -D_GNU_SOURCE -std=gnu11 $(WARNINGS) -O2
$(BENCH): ALL_CPPFLAGS += -DLINKED_IN='"$(LINKED_IN:-l%=lib%)"' -DARCHIVED='"$(ARCHIVED:-l%=lib%)"'
$(BENCH): $(O)/linked-with
$(O)/bench-other: $(OBJECTS) $(O)/mnl.o $(O)/linked-with
	$(LINK) -o $@ $(OBJECTS) $(OTHER)
$(O)/bench-floor-other: tests/bench-floor.c $(O)/mnl.o $(O)/linked-with
	$(CC) $(FLOOR_FLAGS) -o $@ $< -Wl,--no-as-needed $(OTHER)
$(O)/bench-floor-same: tests/bench-floor.c $(O)/mnl.o $(O)/linked-with
	$(CC) $(FLOOR_FLAGS) -o $@ $< -Wl,--no-as-needed $(LIBS)
tests/bench-floor: tests/bench-floor.c
	$(CC) $(FLOOR_FLAGS) -static -o $@ $<
tests/bench-destroy: tests/bench-destroy.c
	$(CC) -D_GNU_SOURCE -std=gnu11 $(WARNINGS) -O2 -static -o $@ $<
build/writer: tests/writer.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 $(WARNINGS) -O2 -o $@ $< -lhiredis
build/collect: tests/collect.c
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 $(WARNINGS) -O2 -o $@ $<

BUILT_TESTS = $(O)/check-unit $(O)/check-netns $(O)/check-parts \
	$(O)/check-cluster $(O)/check-faces $(O)/soak $(O)/storm $(O)/scale $(O)/check-faults

tests: $(BUILT_TESTS)

# Both are for a fresh machine: what is there is not touched.
define apt
	@missing=; for p in $(1); do \
		dpkg-query -W -f '$${Status}' $$p 2>/dev/null | grep -q 'ok installed' || missing="$$missing $$p"; \
	done; \
	if [ -n "$$missing" ]; then \
		echo "installing:$$missing"; \
		apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	fi
endef

deps:
	$(call apt,$(DEPS_BUILD) $(DEPS_TEST))
deps-package: deps
	$(call apt,$(DEPS_PACKAGE))
deps-examples: deps
	$(call apt,$(DEPS_EXAMPLES))
deps-lint: deps
	$(call apt,$(DEPS_LINT))

define root
	@[ "$$(id -u)" = 0 ] || { echo 'this needs root, for its own network namespaces: sudo make $@' >&2; exit 1; }
endef

check: deps
	$(root)
	@$(MAKE) --no-print-directory check-tree

check-docs: $(PROGRAM)
	tests/check-docs.sh $(PROGRAM)

define run
	SENTINEL_VIP=$(PROGRAM) tests/once-more $(1)
endef

# Most of the time is waited, so they wait beside each other.
check-tree: $(PROGRAM) $(BUILT_TESTS)
	SENTINEL_VIP=$(PROGRAM) $(O)/check-unit
	@$(MAKE) --no-print-directory -j4 check-hosts-1 check-hosts-2 \
		check-hosts-3 check-servers
	tests/check-docs.sh $(PROGRAM)

.PHONY: check-hosts-1 check-hosts-2 check-hosts-3 check-servers check-clusters
check-hosts-1 check-hosts-2 check-hosts-3: check-hosts-%:
	$(call run,$(O)/check-netns $*/3)
check-clusters:
	$(call run,$(O)/check-cluster)
	$(call run,$(O)/check-faces)
	$(call run,$(O)/check-parts)
check-servers: check-clusters
	$(call run,$(O)/check-faults --sample 19 --no-lasting)

check-unit check-netns check-parts check-cluster check-faces check-faults: deps
	$(root)
	@$(MAKE) --no-print-directory $(PROGRAM) $(O)/$@
	SENTINEL_VIP=$(PROGRAM) $(O)/$@

# BOOT names the Debians to boot: see tests/check-package
check-package: deps deps-package
	$(root)
	@tests/check-package

demo: deps
	$(root)
	@$(MAKE) --no-print-directory -s $(PROGRAM) build/writer build/collect
	@examples/three-hosts/run

# They wait more than they work, so all run at once; what each showed is in build/examples/.
EXAMPLE_RUNS = three-hosts three-hosts--five one-host many-masters twemproxy-shards twemproxy-shards--direct \
	from-a-script from-keepalived hooks containers
examples: deps deps-examples
	$(root)
	@$(MAKE) --no-print-directory -s $(PROGRAM) build/writer build/collect
	@examples/run-all build/examples $(EXAMPLE_RUNS)

bench: deps
	$(root)
	@$(MAKE) --no-print-directory -s $(PROGRAM) $(O)/bench $(O)/bench-other $(O)/bench-floor-same \
		$(O)/bench-floor-other tests/bench-floor tests/bench-destroy
	$(O)/bench

.PHONY: soak
soak: deps
	$(root)
	@$(MAKE) --no-print-directory $(PROGRAM) $(O)/soak
	SENTINEL_VIP=$(PROGRAM) $(O)/soak

.PHONY: bench-others
bench-others: deps
	$(root)
	$(call apt,$(DEPS_OTHERS))
	@$(MAKE) --no-print-directory -s $(PROGRAM) build/writer build/collect
	@tests/bench-others

.PHONY: bench-storm bench-scale
bench-storm: deps
	$(root)
	@$(MAKE) --no-print-directory -s $(PROGRAM) $(O)/storm tests/bench-floor
	SENTINEL_VIP=$(PROGRAM) $(O)/storm

bench-scale: deps
	$(root)
	@$(MAKE) --no-print-directory -s $(PROGRAM) $(O)/scale
	SENTINEL_VIP=$(PROGRAM) SVG=$(or $(SVG),docs/scale.svg) $(O)/scale

# Leaks are looked for where nothing else traces: strace and a leak checker exclude each other.
SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
asan: deps
	$(root)
	@$(MAKE) --no-print-directory O=build/asan PROGRAM=build/asan/sentinel-vip \
		CFLAGS='-O1 -g $(SANITIZE)' check-asan

check-asan: $(PROGRAM) $(O)/check-unit $(O)/check-parts $(O)/check-netns
	SENTINEL_VIP=$(PROGRAM) $(O)/check-unit
	$(call run,$(O)/check-parts)
	ASAN_OPTIONS=detect_leaks=0 SENTINEL_VIP=$(PROGRAM) $(O)/check-netns 'release_*'
	ASAN_OPTIONS=detect_leaks=0 SENTINEL_VIP=$(PROGRAM) $(O)/check-netns 'claim_*'
	ASAN_OPTIONS=detect_leaks=0 SENTINEL_VIP=$(PROGRAM) $(O)/check-netns '*garbage*'

# varFuncNullUB: where POSIX holds NULL is a pointer, and ends a list of arguments as one
lint: deps-lint
	mandoc -Tlint -W warning man/*.[58]
	shellcheck .ci/run tests/once-more tests/fuzz/run tests/coverage tests/under-valgrind tests/valgrind-logs tests/*.sh tests/bench-others \
		packaging/completion/*.bash packaging/setup/*
	shellcheck examples/*.sh examples/run-all examples/*/run examples/containers/rootfs examples/containers/entrypoint \
		examples/from-a-script/failover.sh examples/from-keepalived/is-master $(filter-out %.md %/run,$(wildcard examples/hooks/*))
	shellcheck tests/check-package tests/package-boot.sh
	shellcheck -s sh -e SC2317 packaging/debian/*.postinst packaging/debian/*.prerm packaging/debian/*.postrm
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance \
		--inline-suppr -D_GNU_SOURCE $(SOURCES) mnl.c
	cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,portability,performance \
		--inline-suppr --suppress=varFuncNullUB -D_GNU_SOURCE $(wildcard tests/*.c tests/fuzz/*.c)
	clang-tidy --quiet $(SOURCES) mnl.c -- -std=gnu11 $(ALL_CPPFLAGS)
	@$(MAKE) --no-print-directory analyze

include tests/deep.mk

# Installing -------------------------------------------------------------

# beside one another as in the sources, so that they find each other; a run needs the sources
EXAMPLES = $(filter-out %/run containers/sentinel-vip,$(patsubst examples/%,%,$(wildcard examples/*.conf examples/*.md examples/*/*)))
DOCS = README.md README.zh-CN.md HACKING.md CHANGELOG.md LICENSE $(wildcard docs/*.md docs/*.svg)
UNITS = $(sort $(notdir $(wildcard packaging/systemd/*)))
# the texts name things where they are by default
PLACE = sed -e 's|/usr/local/sbin/sentinel-vip|$(SBINDIR)/sentinel-vip|g' \
	-e 's|/usr/local/lib/sentinel-vip|$(LIBEXECDIR)|g' \
	-e 's|/usr/local/share/doc/sentinel-vip|$(DOCDIR)|g'
# the example without its values: no virtual IP yet
COMMENTED = sed -E 's/^(\[|vip =)/\#\1/' examples/sentinel-vip.conf
INSTALLED = $(SBINDIR)/sentinel-vip $(LIBEXECDIR)/sentinel-vip $(LIBEXECDIR)/first-vip \
	$(GENERATORDIR)/sentinel-vip-generator $(addprefix $(UNITDIR)/,$(UNITS)) \
	$(MANDIR)/man8/sentinel-vip.8 $(MANDIR)/man5/sentinel-vip.conf.5 $(COMPLETIONDIR)/sentinel-vip \
	$(addprefix $(DOCDIR)/,$(DOCS) $(addprefix examples/,$(EXAMPLES)))

install: $(PROGRAM)
	$(INSTALL) -d $(addprefix $(DESTDIR),$(sort $(dir $(INSTALLED) $(CONFIG))))
	$(INSTALL) -m 755 $(PROGRAM) $(DESTDIR)$(LIBEXECDIR)/sentinel-vip
	ln -sfr $(DESTDIR)$(LIBEXECDIR)/sentinel-vip $(DESTDIR)$(SBINDIR)/sentinel-vip
	$(INSTALL) -m 644 packaging/completion/sentinel-vip.bash $(DESTDIR)$(COMPLETIONDIR)/sentinel-vip
	for f in $(DOCS); do $(INSTALL) -m 644 $$f $(DESTDIR)$(DOCDIR)/$$f || exit; done
	set -e; place() { $(PLACE) "$$2" >"$$3.new"; chmod $$1 "$$3.new"; mv "$$3.new" "$$3"; }; \
	place 755 packaging/setup/first-vip $(DESTDIR)$(LIBEXECDIR)/first-vip; \
	place 755 packaging/setup/sentinel-vip-generator $(DESTDIR)$(GENERATORDIR)/sentinel-vip-generator; \
	place 644 man/sentinel-vip.8 $(DESTDIR)$(MANDIR)/man8/sentinel-vip.8; \
	place 644 man/sentinel-vip.conf.5 $(DESTDIR)$(MANDIR)/man5/sentinel-vip.conf.5; \
	for f in $(UNITS); do place 644 packaging/systemd/$$f $(DESTDIR)$(UNITDIR)/$$f; done; \
	for f in $(EXAMPLES); do place $$(if [ -x examples/$$f ]; then echo 755; else echo 644; fi) examples/$$f $(DESTDIR)$(DOCDIR)/examples/$$f; done
	@set -e; config=$(DESTDIR)$(CONFIG); \
	if [ -e $$config ]; then echo "$$config is there, and kept"; exit; fi; \
	umask 027; $(COMMENTED) >$$config; \
	if [ -z '$(DESTDIR)' ]; then chgrp "$$($(GENERATORDIR)/sentinel-vip-generator)" $$config; fi
	@if [ -z '$(DESTDIR)' ]; then \
		echo 'now: systemctl daemon-reload && systemctl enable --now $(addprefix sentinel-vip,-first.path .socket)'; fi

# a configuration that was changed, and drop-ins under /etc, are the administrator's
uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	-for d in $(DESTDIR)$(DOCDIR)/examples/*/ $(addprefix $(DESTDIR),$(DOCDIR)/examples $(DOCDIR)/docs $(DOCDIR) $(LIBEXECDIR)); do \
		rmdir $$d; done 2>/dev/null
	@config=$(DESTDIR)$(CONFIG); if [ ! -e $$config ]; then :; \
	elif $(COMMENTED) | cmp -s - $$config; then rm $$config; else echo "$$config is kept"; fi

# Packages ---------------------------------------------------------------

# Built from a copy of the sources as they are, always of the same age, so that the same
# sources give the same bytes wherever and whenever.
P = build/package
RELEASE = sentinel-vip-$(VERSION)
EPOCH = $(shell date -u -d "$$(sed -n 's/^ -- .*>  //p;T;q' packaging/debian/changelog)" +%s)
define release
	rm -rf $(1)
	mkdir -p $(1)/$(RELEASE)
	if git ls-files Makefile >/dev/null 2>&1; then git ls-files -co --exclude-standard -z; \
	else find . \( -path ./build -o -path ./.git \) -prune -o -type f -printf '%P\0'; fi | \
		tar -c --null -T - | tar -x -C $(1)/$(RELEASE)
	chmod -R u=rwX,go=rX $(1)/$(RELEASE)
	find $(1)/$(RELEASE) -exec touch -h -d @$(EPOCH) {} +
endef

deb:
	@for c in dh dpkg-buildpackage; do command -v $$c >/dev/null || \
		{ echo "$$c is missing: make deps-package" >&2; exit 1; }; done
	$(call release,$(P)/deb)
	cp -a $(P)/deb/$(RELEASE)/packaging/debian $(P)/deb/$(RELEASE)/debian
	cd $(P)/deb/$(RELEASE) && MAKEFLAGS= SOURCE_DATE_EPOCH=$(EPOCH) dpkg-buildpackage -us -uc
	rm -rf $(P)/deb/$(RELEASE)
	@ls $(P)/deb/*.deb

rpm:
	@command -v rpmbuild >/dev/null || { echo 'rpmbuild is missing: make deps-package' >&2; exit 1; }
	$(call release,$(P)/rpm)
	tar -c --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -C $(P)/rpm $(RELEASE) | \
		gzip -9n >$(P)/rpm/$(RELEASE).tar.gz
	rm -rf $(P)/rpm/$(RELEASE)
	MAKEFLAGS= SOURCE_DATE_EPOCH=$(EPOCH) rpmbuild -ba --nodeps --define '_topdir $(CURDIR)/$(P)/rpm' \
		--define '_sourcedir $(CURDIR)/$(P)/rpm' packaging/rpm/sentinel-vip.spec
	@ls $(P)/rpm/RPMS/*/*.rpm

clean:
	rm -rf build sentinel-vip tests/bench-floor tests/bench-destroy
