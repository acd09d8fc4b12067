# SPDX-License-Identifier: GPL-2.0-or-later
# Everything starts here; `make help` lists the targets.

BUILD   := build
DESTDIR ?=
PREFIX  ?= /usr/local
# The kernel that `make install` installs the module for, and the kernels that `make check` tests it on.
KVER        ?= $(shell uname -r)
LAB_KERNELS ?= $(shell scripts/kernels)

export GCCTL := $(CURDIR)/$(BUILD)/bin/gcctl

.DEFAULT_GOAL := all
.PHONY: all help deps userspace kmod install uninstall guests demo check check-unit check-module \
        check-tcg check-lab bench-capture style format clean

all: userspace kmod  ## build gcctl and, for the kernels whose headers are here, guidecopy.ko

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

deps:  ## install what is needed from Debian's packages (scripts/packages.txt)
	@scripts/deps

userspace: $(BUILD)/userspace/CMakeCache.txt  ## build gcctl
	@cmake --build $(BUILD)/userspace --parallel $$(nproc)

$(BUILD)/userspace/CMakeCache.txt: CMakeLists.txt userspace/CMakeLists.txt
	@cmake -S . -B $(BUILD)/userspace -DCMAKE_RUNTIME_OUTPUT_DIRECTORY=$(CURDIR)/$(BUILD)/bin \
	       -DCMAKE_INSTALL_PREFIX=$(PREFIX) >$(BUILD)/cmake.log 2>&1 || { cat $(BUILD)/cmake.log; exit 1; }

$(BUILD)/userspace/CMakeCache.txt: | $(BUILD)
$(BUILD):
	@mkdir -p $@

kmod:  ## build guidecopy.ko for each kernel in LAB_KERNELS
	@set -e; for kver in $(LAB_KERNELS); do $(MAKE) -C kmod --no-print-directory KVER=$$kver OUT=$(CURDIR)/$(BUILD)/kmod/$$kver; done

guests:  ## build the guests that the tests and the demo run
	@$(MAKE) -C tests/guests --no-print-directory OUT=$(CURDIR)/$(BUILD)/guests

clean:  ## remove all that was built
	rm -rf $(BUILD)
