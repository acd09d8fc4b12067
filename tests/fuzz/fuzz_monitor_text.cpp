// SPDX-License-Identifier: GPL-2.0-or-later
// What a source QEMU's monitor says of its memory and NICs. The first byte selects the command.
#include "qmp/monitor_text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace gc::qmp;
    if (size == 0)
        return 0;
    const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
    switch (data[0] % 4) {
    case 0:
        (void)parse_ram_blocks(text);
        break;
    case 1:
        (void)parse_flat_view(text);
        break;
    case 2:
        (void)parse_gpa2hva(text);
        break;
    default:
        (void)parse_networks(text);
    }
    return 0;
}
