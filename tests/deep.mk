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

ASAN_ALL = O=build/asan-all PROGRAM=build/asan-all/sentinel-vip CFLAGS='-O1 -g $(FUZZ_SANITIZE)'
asan-all: deps
	$(call apt,libasan8 libubsan1)
	$(root)
	@$(MAKE) --no-print-directory -s $(ASAN_ALL) build/asan-all/tests/asan-leaks.o
	@$(MAKE) --no-print-directory $(ASAN_ALL) LDFLAGS=build/asan-all/tests/asan-leaks.o check-asan-all

check-asan-all: $(PROGRAM) $(BUILT_TESTS)
	SENTINEL_VIP=$(PROGRAM) $(O)/check-unit
	$(call run,$(O)/check-netns)
	$(call run,$(O)/check-parts)
	$(call run,$(O)/check-cluster)
	$(call run,$(O)/check-faces)

# The tests that keep time fail where all takes thirty times as long, and are named; what counts
# is what valgrind says of each process that ran.
VALGRIND_GROUPS = netns cluster faces
VALGRIND = valgrind -q --leak-check=full --show-leak-kinds=definite,indirect \
	--errors-for-leak-kinds=definite,indirect --error-exitcode=99
check-valgrind: deps
	$(call apt,valgrind)
	$(root)
	@$(MAKE) --no-print-directory -s O=build/valgrind PROGRAM=build/valgrind/program CFLAGS='-O1 -g' \
		build/valgrind/program build/valgrind/check-unit $(VALGRIND_GROUPS:%=build/valgrind/check-%)
	rm -rf build/valgrind/logs && mkdir -p -m 1777 $(VALGRIND_GROUPS:%=build/valgrind/logs/%/log) build/valgrind/logs/unit
	for g in $(VALGRIND_GROUPS); do \
		cp tests/under-valgrind build/valgrind/logs/$$g/sentinel-vip && cp build/valgrind/program build/valgrind/logs/$$g/; done
	chmod 1777 build/valgrind/logs/*/log
	$(VALGRIND) --log-file=build/valgrind/logs/unit/%p build/valgrind/check-unit
	tests/valgrind-logs unit build/valgrind/logs/unit 20
	-SENTINEL_VIP=build/valgrind/logs/netns/sentinel-vip build/valgrind/check-netns
	tests/valgrind-logs netns build/valgrind/logs/netns/log 300
	-SENTINEL_VIP=build/valgrind/logs/cluster/sentinel-vip build/valgrind/check-cluster
	tests/valgrind-logs cluster build/valgrind/logs/cluster/log 50
	-SENTINEL_VIP=build/valgrind/logs/faces/sentinel-vip build/valgrind/check-faces
	tests/valgrind-logs faces build/valgrind/logs/faces/log 20

# Coverage ---------------------------------------------------------------

# A test may fail for being watched, by strace say; `make check` is the judge of that.
COVERAGE_GROUPS = check-unit check-netns check-parts check-cluster check-faces
coverage: deps
	$(call apt,gcovr)
	$(root)
	@$(MAKE) --no-print-directory -s O=build/coverage PROGRAM=build/coverage/sentinel-vip \
		CFLAGS='-O0 -g --coverage' build/coverage/tests/coverage-exit.o
	@$(MAKE) --no-print-directory -s O=build/coverage PROGRAM=build/coverage/sentinel-vip \
		CFLAGS='-O0 -g --coverage' LDFLAGS='-Wl,--wrap=_exit build/coverage/tests/coverage-exit.o' \
		build/coverage/sentinel-vip $(COVERAGE_GROUPS:%=build/coverage/%) fuzz-targets
	find build/coverage -name '*.gcda' -delete
	# whoever the tests run it as has to be able to add what it came through
	build/coverage/sentinel-vip --version && chmod -R a+rwX build/coverage
	-for g in $(COVERAGE_GROUPS); do \
		SENTINEL_VIP=build/coverage/sentinel-vip build/coverage/$$g; done
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

$(FUZZ_TARGETS:%=$(O)/tests/fuzz/%.o) $(O)/tests/fuzz/world.o $(O)/tests/fuzz/replay.o: tests/fuzz/fuzz.h

# all libraries shared: they find the calls of world.c before those of libc
$(FUZZ_BUILT): $(O)/fuzz-%: $(O)/tests/fuzz/%.o $(O)/tests/fuzz/world.o $(FUZZ_MAIN) $(PARTS)
	$(LINK) $(FUZZ_LINK) -o $@ $(filter-out $(FUZZ_INSTEAD_$*),$^) $(SHARED)

.PHONY: asan-all check-asan-all check-valgrind analyze coverage deps-fuzz fuzz fuzz-targets check-fuzz check-corpora

fuzz-targets: $(FUZZ_BUILT)

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
