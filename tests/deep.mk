# SPDX-License-Identifier: MIT
# What takes longer than a change can wait for, or needs more than a compiler; included by the
# Makefile.
#
#   make fuzz        the parsers, fed with whatever comes to mind, for FUZZ_SECONDS each
#   make check-fuzz  the corpora once more, under the sanitizers
#   make asan-all    all tests under the sanitizers, as root
#   make check-valgrind  the same under valgrind
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

# Where all takes many times as long some tests cannot pass, since the program's own deadlines do not
# wait: tests/valgrind-late names them.  Leaks and misuse count in these, too.
VALGRIND = valgrind -q --leak-check=full --show-leak-kinds=definite,indirect \
	--errors-for-leak-kinds=definite,indirect --suppressions=tests/valgrind.supp --error-exitcode=99
VALGRIND_RUN = build/valgrind/run
# not fortified: in libc __memmove_chk() is __memcpy_chk(), and valgrind takes one for the other
check-valgrind: deps
	$(call apt,valgrind)
	$(root)
	@$(MAKE) --no-print-directory -s O=build/valgrind PROGRAM=build/valgrind/program CFLAGS='-O1 -g' FORTIFY= \
		build/valgrind/program build/valgrind/check-unit $(HOSTS_TESTS:%=build/valgrind/%)
	rm -rf $(VALGRIND_RUN) build/valgrind/unit && mkdir -p $(VALGRIND_RUN)/log build/valgrind/unit
	chmod 1777 $(VALGRIND_RUN)/log
	cp tests/under-valgrind $(VALGRIND_RUN)/sentinel-vip
	cp build/valgrind/program tests/valgrind.supp $(VALGRIND_RUN)/
	LAB_SLOW=10 SENTINEL_VIP=build/valgrind/program $(VALGRIND) --log-file=build/valgrind/unit/run-%p build/valgrind/check-unit
	tests/valgrind-logs 'the unit tests' build/valgrind/unit 20
	@status=0; LAB_SLOW=10 LATE=tests/valgrind-late $(MAKE) --no-print-directory -k -j4 O=build/valgrind \
		PROGRAM=$(VALGRIND_RUN)/sentinel-vip $(ALL_HOSTS) || status=1; \
	tests/valgrind-logs 'the program' $(VALGRIND_RUN)/log 400 || status=1; exit $$status

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
