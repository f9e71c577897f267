# Verbs for people. The build itself is meson.build; what each verb needs, tools/install-deps installs.
#
#   make              build/gatepost
#   make run          an instance in run/, in the foreground (Ctrl-C stops it)
#   make check        unit tests, the end-to-end tests, then three seconds of each fuzz target
#   make check-asan   the same built with AddressSanitizer and UndefinedBehaviorSanitizer; any report fails
#   make check-tsan   the same built with ThreadSanitizer
#   make check-long   the end-to-end tests with the full numbers
#   make bench        side by side with Postfix
#   make fuzz         every fuzz target for FUZZ_SECONDS (60), one on each processor
#   make install      under PREFIX (and DESTDIR)
#   make format       clang-format over the sources
#   make clean

BUILD ?= build
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3
FUZZ_SECONDS ?= 60
# The most that one verb's end-to-end tests may run at once; they wait more than they compute.
JOBS ?= 2
# --again: tests that failed on a busy machine have a second try.
AGAIN ?=

.PHONY: all run check check-asan check-tsan check-long clang-build unit-asan unit-clang unit-tsan bench fuzz install clean format
all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	@command -v meson >/dev/null || { echo 'meson is missing: run tools/install-deps'; exit 1; }
	meson setup $(BUILD) --prefix $(PREFIX)

run:
	tools/install-deps build
	$(MAKE) all
	tools/run $(BUILD)/gatepost

check:
	tools/install-deps build test fuzz
	$(MAKE) all
	tests/unit $(AGAIN) $(BUILD) --timeout-multiplier 3
	tests/e2e/run --gatepost $(BUILD)/gatepost --jobs $(JOBS) $(AGAIN)
	$(MAKE) fuzz FUZZ_SECONDS=3

check-long:
	tools/install-deps build test
	$(MAKE) all
	tests/e2e/run --gatepost $(BUILD)/gatepost --jobs $(JOBS) --long

# GLib's own slice allocator is gone since 2.76; before that it would hide errors from the sanitizers.
SANITIZED = G_SLICE=always-malloc MESON_TESTTHREADS=$(JOBS)

build-asan/build.ninja:
	meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false
build-tsan/build.ninja:
	meson setup build-tsan -Db_sanitize=thread -Db_lundef=false

unit-asan: build-asan/build.ninja
	ninja -C build-asan
	$(SANITIZED) tests/sanitized build-asan tests/unit $(AGAIN) build-asan --timeout-multiplier 3

# The fuzz targets' build has these sanitizers as well, clang's, which see a little more. Its fuzz programs are no tests.
clang-build: build-fuzz/build.ninja
	flock build-fuzz ninja -C build-fuzz
unit-clang: clang-build
	$(SANITIZED) tests/sanitized build-fuzz tests/unit $(AGAIN) build-fuzz --no-suite fuzz --timeout-multiplier 3

# Newer kernels spread mappings wider than gcc 12's runtime knows: without randomization they are where it wants them.
unit-tsan: build-tsan/build.ninja
	ninja -C build-tsan
	$(SANITIZED) tests/sanitized build-tsan setarch -R tests/unit $(AGAIN) build-tsan --timeout-multiplier 5

check-asan:
	tools/install-deps build test
	$(MAKE) unit-asan
	$(SANITIZED) tests/sanitized build-asan tests/e2e/run --gatepost build-asan/gatepost --jobs $(JOBS)

check-tsan:
	tools/install-deps build test
	$(MAKE) unit-tsan
	$(SANITIZED) tests/sanitized build-tsan setarch -R tests/e2e/run --gatepost build-tsan/gatepost --jobs $(JOBS)

bench:
	tools/install-deps build bench
	$(MAKE) all
	bench/run $(BUILD)/gatepost

build-fuzz/build.ninja:
	CC=clang CC_LD=lld meson setup build-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false

fuzz:
	tools/install-deps build fuzz
	$(MAKE) build-fuzz/build.ninja
	flock build-fuzz ninja -C build-fuzz fuzz
	tests/fuzz/run build-fuzz $(FUZZ_SECONDS)

install: all
	meson install -C $(BUILD) --no-rebuild

format:
	git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf $(BUILD) build-asan build-tsan build-fuzz
