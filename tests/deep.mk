# SPDX-License-Identifier: MIT
# What takes longer than a change can wait for, or needs more than a compiler; included by the
# Makefile.
#
#   make fuzz        the parsers, fed with whatever comes to mind, for FUZZ_SECONDS each
#   make check-fuzz  the corpora once more, under the sanitizers
#   make analyze     gcc's static analyzer

DEPS_FUZZ = clang libclang-rt-dev gcovr libasan8 libubsan1

# Analysis ---------------------------------------------------------------

# beside clang-tidy and cppcheck, which `make lint` runs
analyze: deps
	@$(MAKE) --no-print-directory -s O=build/analyze PROGRAM=build/analyze/sentinel-vip CC=gcc \
		CFLAGS='-O2 -fanalyzer -Werror' build/analyze/sentinel-vip

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

$(FUZZ_BUILT): $(O)/fuzz-%: $(O)/tests/fuzz/%.o $(O)/tests/fuzz/world.o $(FUZZ_MAIN) $(PARTS)
	$(LINK) $(FUZZ_LINK) -o $@ $(filter-out $(FUZZ_INSTEAD_$*),$^) $(LIBS)

.PHONY: analyze deps-fuzz fuzz fuzz-targets check-fuzz check-corpora

fuzz-targets: $(FUZZ_BUILT)

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
