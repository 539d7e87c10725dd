# SPDX-License-Identifier: MIT
# Plain GNU make.  CC, CFLAGS, CPPFLAGS, LDFLAGS, PREFIX and DESTDIR are yours.
#
#   make            the program            make deps      what it needs, from Debian
#   make check      all tests (as root)    make demo      a failover to look at (as root)
#   make bench      against the floor and the usual script (as root)

VERSION = 0.1.0

PREFIX = /usr/local
SBINDIR = $(PREFIX)/sbin
MANDIR = $(PREFIX)/share/man
DOCDIR = $(PREFIX)/share/doc/sentinel-vip
COMPLETIONDIR = $(PREFIX)/share/bash-completion/completions

CFLAGS = -O2 -g
PKG_CONFIG = pkg-config
INSTALL = install

SOURCES = log.c ip.c event.c config.c keys.c resolve.c lock.c sentinel.c netlink.c vip.c facts.c \
	arp.c truth.c plan.c apply.c announce.c run.c sync.c reconfig.c
OBJECTS = $(SOURCES:.c=.o)
# all of the program but its main(), for the unit tests
PARTS = $(filter-out reconfig.o,$(OBJECTS))

PACKAGES = libnl-route-3.0 libnl-3.0 inih hiredis
# Debian's names of what builds it, what its tests run, and what .ci/run looks with
DEPS_BUILD = gcc libc6-dev make pkg-config libnl-3-dev libnl-route-3-dev libinih-dev libhiredis-dev
DEPS_TEST = libcmocka-dev redis-server redis-sentinel redis-tools iproute2 iputils-arping \
	procps util-linux strace
DEPS_LINT = clang clang-tidy cppcheck mandoc shellcheck

WARNINGS = -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wformat=2 \
	-Wwrite-strings -Wpointer-arith -Wundef
HARDENING = -fPIE -fstack-protector-strong -fstack-clash-protection
HARDENING_LD = -pie -Wl,-z,relro -Wl,-z,now -Wl,-z,noexecstack -Wl,--as-needed
FORTIFY = $(if $(filter -O0 -fsanitize%,$(CFLAGS)),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)

ifneq ($(filter-out deps deps-lint clean demo check,$(or $(MAKECMDGOALS),all)),)
missing := $(shell $(PKG_CONFIG) --print-errors --exists $(PACKAGES) 2>&1 || echo missing)
ifneq ($(missing),)
$(error A library is missing: on Debian run "make deps", elsewhere install the development \
	files of libnl3 (libnl-route-3.0) and inih, and pkg-config)
endif
endif
LIBS = $(shell $(PKG_CONFIG) --libs $(PACKAGES))

ALL_CPPFLAGS = -D_GNU_SOURCE -DVERSION='"$(VERSION)"' $(FORTIFY) \
	$(shell $(PKG_CONFIG) --cflags $(PACKAGES)) $(CPPFLAGS)
ALL_CFLAGS = -std=gnu11 $(WARNINGS) $(HARDENING) $(CFLAGS)
ALL_LDFLAGS = $(HARDENING_LD) $(LDFLAGS)

.DELETE_ON_ERROR:
all: sentinel-vip

sentinel-vip: $(OBJECTS)
	$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(OBJECTS) $(LIBS)

%.o: %.c vip.h Makefile
	$(CC) $(ALL_CPPFLAGS) $(ALL_CFLAGS) -c -o $@ $<

clean:
	rm -f sentinel-vip *.o

.PHONY: all clean
