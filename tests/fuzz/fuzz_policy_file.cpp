// SPDX-License-Identifier: GPL-2.0-or-later
// Policies in TOML.
#include "policy/policy_file.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    (void)gc::policy::parse_policy({reinterpret_cast<const char*>(data), size}, "fuzz.toml");
    return 0;
}
