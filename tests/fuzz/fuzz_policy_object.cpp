// SPDX-License-Identifier: GPL-2.0-or-later
// BPF objects of `gcctl policy attach --object`. Only what libbpf survives in the child counts
// towards coverage.
#include "policy/object.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    (void)gc::policy::Object::open_bytes({reinterpret_cast<const char*>(data), size}, "fuzz.bpf.o");
    return 0;
}
