// SPDX-License-Identifier: GPL-2.0-or-later
// A guest of a few instructions, which shows whether KVM runs guests.
#pragma once

#include "util/error.h"

namespace gc::doctor {

/// Runs a guest that enters 64-bit mode, loops five million times and halts. Errors: io
///
/// A processor takes some milliseconds for the loop. A KVM that emulates each instruction takes
/// seconds, and gets nowhere with an operating system: seen in a VM that had /dev/kvm, where a
/// stock kernel was still unpacking itself after minutes.
Result<void> run_kvm_guest(int kvm);

}  // namespace gc::doctor
