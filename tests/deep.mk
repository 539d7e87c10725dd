# SPDX-License-Identifier: MIT
# What takes longer than a change can wait for, or needs more than a compiler; included by the
# Makefile.
#
#   make fuzz        the parsers, fed with whatever comes to mind, for FUZZ_SECONDS each
#   make check-fuzz  the corpora once more, under the sanitizers
#   make asan-all    all tests under the sanitizers, as root
#   make check-valgrind  the same under valgrind, three quarters of an hour
#   make coverage    which lines and branches of the program its tests come through, as root
#   make analyze     gcc's static analyzer

DEPS_FUZZ = clang libclang-rt-dev gcovr libasan8 libubsan1

# Analysis ---------------------------------------------------------------

# beside clang-tidy and cppcheck, which `make lint` runs
analyze: deps
	@$(MAKE) --no-print-directory -s O=build/analyze PROGRAM=build/analyze/sentinel-vip CC=gcc \
		CFLAGS='-O2 -fanalyzer -Werror' build/analyze/sentinel-vip

# All tests under the sanitizers, and under valgrind ---------------------

# these wait more than they work, so beside each other
ALL_HOSTS = check-hosts-1 check-hosts-2 check-hosts-3 check-clusters
HOSTS_TESTS = check-netns check-parts check-cluster check-faces
ASAN_ALL = O=build/asan-all PROGRAM=build/asan-all/sentinel-vip CFLAGS='-O1 -g $(FUZZ_SANITIZE)'
asan-all: deps
	$(call apt,libasan8 libubsan1)
	$(root)
	@$(MAKE) --no-print-directory -s $(ASAN_ALL) build/asan-all/tests/asan-leaks.o
	@$(MAKE) --no-print-directory $(ASAN_ALL) LDFLAGS=build/asan-all/tests/asan-leaks.o check-asan-all

check-asan-all: $(PROGRAM) $(BUILT_TESTS)
	SENTINEL_VIP=$(PROGRAM) $(O)/check-unit
	@LAB_SLOW=3 $(MAKE) --no-print-directory -j4 $(ALL_HOSTS)

# Where all takes many times as long the program's own deadlines would be over before it has done anything.
# So time goes slower, for it and for the tests on hosts, tests/slow-clock.c.  Not where real Sentinels keep
# the time.  tests/valgrind-late names the tests that cannot pass all the same; leaks and misuse count there, too.
V = build/valgrind
V_MAKE = $(MAKE) --no-print-directory -s CFLAGS='-O1 -g' FORTIFY=
SLOW_CLOCK = $(addprefix -Wl$(comma)--wrap=,clock_gettime poll nanosleep usleep setsockopt) $(V)/slow/tests/slow-clock.o
# $(1)/$(2) is then $(3) under valgrind, its logs are in $(1)/log
define under_valgrind
	rm -rf $(1) && mkdir -p $(1)/log
	chmod 1777 $(1)/log
	cp tests/under-valgrind $(1)/$(2)
	cp $(3) $(1)/program
	cp tests/valgrind.supp $(1)/
endef
V_TESTS = check-valgrind-unit check-valgrind-parts check-valgrind-hosts check-valgrind-clusters
# not fortified: in libc __memmove_chk() is __memcpy_chk(), and valgrind takes one for the other
check-valgrind: deps
	$(call apt,valgrind)
	$(root)
	@$(V_MAKE) O=$(V) PROGRAM=$(V)/program $(V)/program \
		$(V)/check-unit $(V)/check-parts $(V)/check-cluster $(V)/check-faces
	@$(V_MAKE) O=$(V)/slow PROGRAM=$(V)/slow/program $(V)/slow/tests/slow-clock.o
	@$(V_MAKE) O=$(V)/slow PROGRAM=$(V)/slow/program LDFLAGS='$(SLOW_CLOCK)' $(V)/slow/program $(V)/slow/check-netns
	@LAB_SLOW=10 LATE_TESTS=tests/valgrind-late $(MAKE) --no-print-directory -k -j2 $(V_TESTS)

check-valgrind-unit:
	$(call under_valgrind,$(V)/run-unit,check-unit,$(V)/check-unit)
	SENTINEL_VIP=$(V)/program $(CURDIR)/$(V)/run-unit/check-unit
	tests/valgrind-logs 'the unit tests' $(V)/run-unit/log 20

check-valgrind-parts:
	$(call under_valgrind,$(V)/run-parts,check-parts,$(V)/check-parts)
	SENTINEL_VIP=$(V)/program tests/once-more $(CURDIR)/$(V)/run-parts/check-parts
	tests/valgrind-logs 'parts of the program' $(V)/run-parts/log 500

check-valgrind-hosts:
	$(call under_valgrind,$(V)/run-hosts,sentinel-vip,$(V)/slow/program)
	@status=0; $(MAKE) --no-print-directory -k -j$(words $(V_SHARES)) PROGRAM=$(V)/run-hosts/sentinel-vip \
		$(V_SHARES:%=check-valgrind-hosts-%) || status=1; \
	tests/valgrind-logs 'the program on hosts' $(V)/run-hosts/log 2000 || status=1; exit $$status

check-valgrind-clusters:
	$(call under_valgrind,$(V)/run-clusters,sentinel-vip,$(V)/program)
	@status=0; for t in cluster faces; do \
		SENTINEL_VIP=$(V)/run-clusters/sentinel-vip tests/once-more $(V)/check-$$t || status=1; done; \
	tests/valgrind-logs 'the program on clusters' $(V)/run-clusters/log 400 || status=1; exit $$status

# they wait ten times as long
V_SHARES = 1 2 3 4 5 6 7 8 9 10
.PHONY: $(V_TESTS) $(V_SHARES:%=check-valgrind-hosts-%)
$(V_SHARES:%=check-valgrind-hosts-%): check-valgrind-hosts-%:
	$(call run,$(V)/slow/check-netns $*/$(words $(V_SHARES)))

# Coverage ---------------------------------------------------------------

# Only the program's own files are counted.  Those of the tests are not, or a child of a test that has
# become another user could not write down what it came through, and would say so where it is
# listened to.  Slower it is all the same: a test may fail for that, and `make check` is its judge.
COVERAGE_MAKE = O=build/coverage PROGRAM=build/coverage/sentinel-vip
# gcov would write down at execve(2), in the middle of a function, what it has counted so far: of one that
# comes there by a loop that is less than nothing.  As it is, it counts what comes back from it.
build/coverage/check-systemd.o: override CFLAGS += -fno-builtin-execve
coverage: deps
	$(call apt,gcovr)
	$(root)
	@$(MAKE) --no-print-directory -s $(COVERAGE_MAKE) CFLAGS='-O0 -g' coverage-tests
	@$(MAKE) --no-print-directory -s $(COVERAGE_MAKE) \
		CFLAGS='-O0 -g --coverage' LDFLAGS='-Wl,--wrap=_exit build/coverage/tests/coverage-exit.o' \
		build/coverage/sentinel-vip build/coverage/check-unit $(HOSTS_TESTS:%=build/coverage/%) fuzz-targets
	find build/coverage -name '*.gcda' -delete
	# whoever the tests run it as has to be able to add what it came through
	build/coverage/sentinel-vip --version && chmod -R a+rwX build/coverage
	-SENTINEL_VIP=build/coverage/sentinel-vip build/coverage/check-unit
	-@LAB_SLOW=2 $(MAKE) --no-print-directory -k -j4 $(COVERAGE_MAKE) $(ALL_HOSTS)
	-tests/check-docs.sh build/coverage/sentinel-vip
	for t in $(FUZZ_TARGETS); do build/coverage/fuzz-$$t tests/fuzz/corpus/$$t || exit 1; done
	tests/coverage build/coverage

# Fuzzing ----------------------------------------------------------------

# each for so long, as many at a time as there are processors
FUZZ_SECONDS = 7200
FUZZ_TARGETS = args config sentinel netlink diag frame relay
FUZZ_SANITIZE = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# libFuzzer brings its own main(); gcc has none
FUZZ_MAIN = $(O)/tests/fuzz/replay.o
FUZZ_BUILT = $(FUZZ_TARGETS:%=$(O)/fuzz-%)
# what a target has in place of a part of the program
FUZZ_INSTEAD_sentinel = $(O)/resolve.o

$(FUZZ_TARGETS:%=$(O)/tests/fuzz/%.o) $(O)/tests/fuzz/world.o $(O)/tests/fuzz/mend.o $(O)/tests/fuzz/replay.o: tests/fuzz/fuzz.h

# all libraries shared: they find the calls of world.c before those of libc
$(FUZZ_BUILT): $(O)/fuzz-%: $(O)/tests/fuzz/%.o $(O)/tests/fuzz/world.o $(O)/tests/fuzz/mend.o $(FUZZ_MAIN) $(PARTS)
	$(LINK) $(FUZZ_LINK) -o $@ $(filter-out $(FUZZ_INSTEAD_$*),$^) $(SHARED)

.PHONY: asan-all check-asan-all check-valgrind analyze coverage coverage-tests deps-fuzz fuzz fuzz-targets check-fuzz check-corpora

fuzz-targets: $(FUZZ_BUILT)

coverage-tests: $(filter $(O)/tests/%,$(LAB) $(UNIT) $(NETNS) $(SOCKETS) $(CLUSTER) $(FACES)) \
	$(FUZZ_TARGETS:%=$(O)/tests/fuzz/%.o) $(O)/tests/fuzz/world.o $(O)/tests/fuzz/mend.o \
	$(O)/tests/fuzz/replay.o $(O)/tests/coverage-exit.o

# so that whoever changes what they call hears of it
tests: $(FUZZ_BUILT)

deps-fuzz: deps
	$(call apt,$(DEPS_FUZZ))

fuzz: deps-fuzz
	@$(MAKE) --no-print-directory -s CC=clang O=build/fuzz FUZZ_MAIN= FUZZ_LINK=-fsanitize=fuzzer \
		CFLAGS='-O1 -g -fsanitize=fuzzer-no-link $(FUZZ_SANITIZE)' fuzz-targets
	@$(MAKE) --no-print-directory -s O=build/fuzz-coverage CFLAGS='-O0 -g --coverage' fuzz-targets
	tests/fuzz/run $(FUZZ_SECONDS) build/fuzz build/fuzz-coverage $(FUZZ_TARGETS)

check-fuzz: deps
	@$(MAKE) --no-print-directory -s O=build/asan CFLAGS='-O1 -g $(FUZZ_SANITIZE)' check-corpora

check-corpora: $(FUZZ_BUILT)
	@for t in $(FUZZ_TARGETS); do $(O)/fuzz-$$t tests/fuzz/corpus/$$t || exit 1; done
