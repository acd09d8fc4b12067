# SPDX-License-Identifier: GPL-2.0-or-later
# Everything starts here; `make help` lists the targets.

BUILD   := $(CURDIR)/build
DESTDIR ?=
PREFIX  ?= /usr/local
# The kernels that guidecopy.ko is built for and tested on, and the kernel that `make install` installs it for.
KERNELS := $(shell scripts/kernels)
KVER   ?= $(shell uname -r)

.DEFAULT_GOAL := all
.PHONY: all help deps userspace gcctl release kmod guests demo-guest prepare install uninstall demo demo-kmod check check-unit check-tcg check-asan check-tsan \
        check-module check-bpf check-tls check-lab kunit check-debug docs bench bench-quick bench-lab bench-build bench-release bench-capture fuzz \
        bench-track bench-redis bench-silence bench-simulate bench-scale bench-path bench-guide bench-guide-lab style format clean

all: userspace kmod  ## build gcctl with its tests, and guidecopy.ko for the kernels whose headers are installed

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

deps:  ## install what is needed from Debian's packages (scripts/packages.txt)
	@scripts/deps

# CMakePresets.json says what each preset is; build/bin has the programs of `dev`.
$(BUILD)/%/build.ninja:
	@cmake --preset $(if $(filter dev,$*),$(DEV),$*) >$(BUILD)/$*.configure.log 2>&1 || { cat $(BUILD)/$*.configure.log >&2; exit 1; }
# `make demo` and `make check` build a fresh clone by the preset `dev-once`. A developer's `make` then gives each source a
# unit of its own, so that an edit costs no more than that.
DEV  = dev
once = DEV=dev-once
split_units = @$(if $(filter dev,$(DEV)),! grep -qs '^CMAKE_UNITY_BUILD:.*=ON' $(BUILD)/dev/CMakeCache.txt || \
	cmake --preset dev >/dev/null,:)
$(BUILD)/dev/build.ninja $(BUILD)/release/build.ninja $(BUILD)/asan/build.ninja $(BUILD)/tsan/build.ninja $(BUILD)/fuzz/build.ninja: | $(BUILD)/bin
$(BUILD)/bin:
	@mkdir -p $(BUILD) && ln -sfn dev/bin $@

userspace: $(BUILD)/dev/build.ninja  ## build gcctl and the tests' programs (preset dev)
	$(split_units)
	@ninja -C $(BUILD)/dev

gcctl: $(BUILD)/dev/build.ninja  ## build gcctl alone (preset dev)
	$(split_units)
	@ninja -C $(BUILD)/dev gcctl

release: $(BUILD)/release/build.ninja  ## build gcctl as it is installed (preset release)
	@cmake -DCMAKE_INSTALL_PREFIX=$(PREFIX) $(BUILD)/release >/dev/null
	@ninja -C $(BUILD)/release manual bpf-examples

# kbuild takes seconds to find that nothing is to be done: it is asked only when a source is newer.
KMOD_SOURCES := $(wildcard kmod/*.[ch] kmod/tests/*.[ch] kmod/check-tracepoint kmod/Kbuild kmod/Makefile include/uapi/*.h)
$(BUILD)/kmod/%/guidecopy.ko: $(KMOD_SOURCES)
	@$(MAKE) -C kmod --no-print-directory KVER=$* OUT=$(BUILD)/kmod/$*
	@touch $@

kmod: $(KERNELS:%=$(BUILD)/kmod/%/guidecopy.ko)  ## build guidecopy.ko for each of scripts/kernels
	@scripts/kernels --explain | sed 's/^/kmod: left out: /'

guests:  ## build the guests that the tests and the demo run
	@$(MAKE) -C tests/guests --no-print-directory OUT=$(BUILD)/guests

install: release  ## install gcctl, the udev rule, and guidecopy.ko for the running kernel (KVER)
	DESTDIR=$(DESTDIR) cmake --install $(BUILD)/release
	install -D -m 644 kmod/60-guidecopy.rules $(DESTDIR)/lib/udev/rules.d/60-guidecopy.rules
	$(MAKE) -C kmod KVER=$(KVER) OUT=$(BUILD)/kmod/$(KVER)
	install -D -m 644 $(BUILD)/kmod/$(KVER)/guidecopy.ko $(DESTDIR)/lib/modules/$(KVER)/updates/guidecopy.ko
	$(if $(DESTDIR),,depmod $(KVER))

docs:  ## make build/docs/uapi.html of the comments in include/uapi/guidecopy.h
	@scripts/uapi-docs

uninstall:  ## remove what install installed
	sed 's|^|$(DESTDIR)|' $(BUILD)/release/install_manifest.txt | xargs -r -d '\n' rm -f
	rm -f $(DESTDIR)/lib/udev/rules.d/60-guidecopy.rules $(DESTDIR)/lib/modules/$(KVER)/updates/guidecopy.ko
	$(if $(DESTDIR),,depmod $(KVER))

# The Linux of the demo and of some tests.
demo-guest: guests
	@scripts/make-demo-guest

# What everything below needs, packages first: KERNELS is expanded in a make of its own, after they are there.
prepare: deps
	@$(MAKE) --no-print-directory $(once) lab-programs kmod demo-guest

BENCH_PROGRAMS = capture_bench guide_bench path_bench track_bench
# gcctl, and what needs a kernel of the lab's. Unit tests are not among them: `make check` runs those of the sanitizers.
.PHONY: lab-programs
lab-programs: $(BUILD)/dev/build.ninja
	$(split_units)
	@ninja -C $(BUILD)/dev gcctl manual bpf-examples bpf_test module_test policy_user tls_test $(BENCH_PROGRAMS)

demo:  ## migrate a VM that serves redis, by QEMU alone and with a guide, and compare (root)
	@echo "demo: first installs missing packages and builds gcctl and a guest (minutes in a fresh clone)."
	@echo "demo: then boots a Linux VM twice and migrates it on this host: about a minute."
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory $(once) gcctl demo-guest
	@scripts/demo

demo-kmod:  ## the same in the lab, a VM with KVM, with guidecopy.ko: some minutes
	@$(MAKE) --no-print-directory deps
	@kernel=$$(scripts/kernels | head -n 1) && \
	 $(MAKE) --no-print-directory $(once) gcctl demo-guest $(BUILD)/kmod/$$kernel/guidecopy.ko && \
	 echo "demo: booting the lab with Linux $$kernel ..." && \
	 scripts/lab --kernel $$kernel --mem 4G --timeout 900 --module build/kmod/$$kernel/guidecopy.ko -- scripts/demo

check: $(if $(T),,prepare)  ## run all tests; with T=NAME, those of any kind with NAME in their name
	@scripts/check $(if $(T),-t '$(T)')

check-unit: userspace  ## run the unit tests
	@scripts/check unit

check-tcg: gcctl guests  ## run the end-to-end tests that need no lab: minutes
	@scripts/check tcg

.PHONY: check-faults soak-faults
check-faults: gcctl guests  ## break 100 small migrations in as many ways, and print what became of the VMs (root)
	@$(MAKE) -C tests/faults --no-print-directory
	@tests/faults/sweep --jobs 4 100

soak-faults: gcctl guests  ## the same with N migrations
	@$(MAKE) -C tests/faults --no-print-directory
	@tests/faults/sweep --jobs 4 $(or $(N),1000)

.PHONY: lab-faults
lab-faults: gcctl guests kmod  ## break 30 migrations in the lab, with KVM, the module and guides: an hour
	@$(MAKE) -C tests/faults --no-print-directory
	@kernel=$$(scripts/kernels | head -n 1) && \
	 scripts/lab --kernel $$kernel --mem 8G --timeout 7200 --module build/kmod/$$kernel/guidecopy.ko -- tests/faults/sweep --wait 400 $(or $(N),30)


# QEMU, or QEMU_SRC and QEMU_DST, is a program or what scripts/fetch-qemu knows; ONLY goes to pytest as -k.
.PHONY: check-qemu
qemu_program = $(if $(filter 10.0 11.1,$(1)),$$(scripts/fetch-qemu $(1)),$(1))
check-qemu: export QEMU_SRC := $(or $(QEMU_SRC),$(QEMU),qemu-system-x86_64)
check-qemu: export QEMU_DST := $(or $(QEMU_DST),$(QEMU),qemu-system-x86_64)
check-qemu: gcctl guests  ## run check-tcg's tests with another QEMU: QEMU=10.0|11.1|PROGRAM, or QEMU_SRC= and QEMU_DST= (root)
	@QEMU_SRC=$(call qemu_program,$(QEMU_SRC)) && QEMU_DST=$(call qemu_program,$(QEMU_DST)) && export QEMU_SRC QEMU_DST && \
	 QEMU=$$QEMU_SRC /usr/bin/python3 -m pytest tests/e2e -q --tb=short $(if $(ONLY),-k '$(ONLY)')

.PHONY: check-libvirt
check-libvirt: gcctl demo-guest  ## migrate VMs of libvirt's between two libvirtds on this host, with TCG (root)
	@scripts/check libvirt

check-asan: guests  ## unit and TCG end-to-end tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@scripts/check asan

TIME = 60
fuzz:  ## fuzz every format that gcctl reads, each for TIME seconds
	@scripts/fuzz --seconds $(TIME)

check-tsan: guests  ## those of the data plane under ThreadSanitizer
	@scripts/check tsan

check-module: lab-programs kmod  ## run the module's tests in the lab
	@scripts/check module track

check-bpf: lab-programs  ## run the BPF programs' tests in the lab
	@scripts/check bpf

check-tls: lab-programs  ## run the tests of TLS in the lab, where the kernel encrypts
	@scripts/check tls

check-lab: lab-programs kmod demo-guest  ## run the end-to-end tests in the lab
	@scripts/check lab

kunit:  ## run the KUnit suites of the module's engine under User Mode Linux: seconds, once that is built
	@scripts/check scripts kunit

check-debug: prepare  ## run the module's tests and a migration on a debug kernel (built once: 10 minutes), in the lab
	@scripts/check debug

# KERNEL is what scripts/fetch-kernel knows.
.PHONY: check-kernel
check-kernel: deps lab-programs guests  ## run the module's tests and a migration on a Linux that is not installed: KERNEL=6.1|6.12|7.2|7.3
	@scripts/kernel-lab $(or $(KERNEL),$(error KERNEL= is missing: 6.1, 6.12, 7.2 or 7.3))
	@scripts/check kernel-$(KERNEL)-

.PHONY: check-debian
check-debian:  ## install, build and test this tree in a fresh root of Debian: RELEASE=12|13 (root)
	@scripts/check-debian $(or $(RELEASE),$(error RELEASE= is missing: 12 or 13)) $(STEPS)

# Benchmarks measure what is installed: the preset release, with the programs that measure it.
bench-release: $(BUILD)/release/build.ninja
	@ninja -C $(BUILD)/release gcctl $(BENCH_PROGRAMS)
$(filter-out bench-release bench-build,$(filter bench%,$(MAKECMDGOALS))): bench-release
bench%: export GC_PRESET = release

# How often make bench does all of it.
ROUNDS = 1
# In the lab, on the first kernel; NAME writes build/bench/NAME.json.
bench-capture: BENCH = --no-nested -- build/release/bin/capture_bench
bench-guide-lab: BENCH = -- build/release/bin/guide_bench --mib 64 --repeats 5
bench-track: BENCH = -- build/release/bin/track_bench --mib 64
bench-redis: BENCH = --timeout 1500 -- tests/bench/redis_age.py
bench-silence: BENCH = --mem 8G --timeout 3000 -- tests/bench/silence.py
bench-simulate: BENCH = --timeout 3000 -- tests/bench/simulate.py
bench-capture: kmod  ## what capture costs a guide's process
bench-guide-lab: kmod guests  ## what a first touch costs a guide with KVM, by the module and by userfaultfd
bench-track: kmod  ## what tracking costs a VM's first touches, and a track's owner
bench-redis: kmod demo-guest  ## what it costs a VM that serves redis to be tracked by age: 10 minutes
bench-silence: prepare  ## what migrations cost the others on their link, beside unmodified QEMU's: 30 minutes
# LINK in Mbit/s; QEMU=PATH measures another QEMU.
LINK = 200
bench: demo-guest  ## migrations of all workloads beside unmodified QEMU's, on this host, with tables and pictures (root)
bench-quick: demo-guest  ## some of that
bench bench-quick:
	@mkdir -p $(BUILD)/bench
	@tests/bench/migration.py $(if $(filter bench-quick,$@),--quick) --link $(LINK) --rounds $(ROUNDS) --out build/bench/results.json; \
	 status=$$?; [ ! -e build/bench/results.json ] || build/release/bin/gcctl report build/bench/results.json -o build/bench/report.html; \
	 exit $$status

bench-lab: prepare  ## the same in the lab, two VMs with KVM, with guidecopy.ko, in more modes: an hour
	@mkdir -p $(BUILD)/bench
	@kernel=$$(scripts/kernels | head -n 1) && \
	 scripts/lab --kernel $$kernel --module build/kmod/$$kernel/guidecopy.ko --hosts 2 --timeout $$((7200 * $(ROUNDS))) -- \
	     tests/bench/migration.py --rounds $(ROUNDS) --out build/bench/results-lab.json; \
	 status=$$?; [ ! -e build/bench/results-lab.json ] || build/release/bin/gcctl report build/bench/results-lab.json -o build/bench/report-lab.html; \
	 exit $$status

bench-simulate: prepare  ## how near gcctl simulate comes to migrations in the lab: 20 minutes
bench-capture bench-guide-lab bench-track bench-redis bench-silence bench-simulate: bench-%:
	@mkdir -p $(BUILD)/bench
	@kernel=$$(scripts/kernels | head -n 1) && \
	 scripts/lab --kernel $$kernel --module build/kmod/$$kernel/guidecopy.ko $(BENCH) --out build/bench/$*.json

bench-build:  ## the developer's loop, from a clean clone of HEAD: 15 minutes
	@mkdir -p $(BUILD)/bench
	@tests/bench/build.py --demo --out $(BUILD)/bench/build.json

bench-path:  ## the data path against QEMU's own, without the lab: 10 minutes
	@mkdir -p $(BUILD)/bench
	@$(BUILD)/release/bin/path_bench --mib 1536 --repeats 5 --out $(BUILD)/bench/path.json

bench-guide: guests  ## what a first touch costs a guide by userfaultfd, on this host: seconds (root)
	@mkdir -p $(BUILD)/bench
	@$(BUILD)/release/bin/guide_bench --mib 64 --repeats 5 --out $(BUILD)/bench/guide.json

bench-scale:  ## simulated: links, memories and numbers of VMs that are not here, of the trace of bench-simulate: a minute
	@tests/bench/scale.py --out $(BUILD)/bench/scale.json

# Packages.
.PHONY: deb check-dkms check-packages

deb:  ## build the Debian packages guidecopy and guidecopy-dkms into build/deb
	@scripts/deb

check-dkms:  ## build guidecopy-dkms, and the module with it for each of scripts/kernels, and load that in the lab
	@scripts/check dkms

check-packages: guests  ## build the packages in fresh roots of Debian 12 and 13, install and use them there (root)
	@/usr/bin/python3 -m pytest tests/packages -v --tb=short

style: userspace  ## check the style: clang-format, clang-tidy, checkpatch, kernel-doc, sparse, W=1, shellcheck
	@scripts/style $(KERNELS)

format:  ## format the C++ sources
	@git ls-files 'userspace/*.cpp' 'userspace/*.h' 'tests/module/*' 'tests/bpf/*' 'tests/bench/*' 'tests/fuzz/*' | grep -E '\.(cpp|h)$$' | xargs clang-format -i

clean:  ## remove all that was built
	rm -rf $(BUILD)
