// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's migration stream and its return path. The first byte selects the kind of the input.
#include "stream/package.h"
#include "stream/return_path.h"

#include <cstdlib>

namespace {

using namespace gc::stream;

void read_stream(std::span<const std::byte> input, Start start) {
    Reader reader(start);
    for (;;) {
        const std::size_t before = input.size();
        const auto item = reader.next(input);
        if (!item || !*item)
            return;
        if (input.size() >= before)
            std::abort();  // an empty item would loop forever
        if (const auto* package = std::get_if<Package>(&**item))
            (void)split_package(package->body);
        if (const auto* command = std::get_if<Command>(&**item))
            (void)parse_discard(command->payload);
    }
}

void read_return_path(std::span<const std::byte> input) {
    for (ReturnPathReader reader;;) {
        const auto message = reader.next(input);
        if (!message || !*message)
            return;
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0)
        return 0;
    const std::span<const std::byte> input = std::as_bytes(std::span(data + 1, size - 1));
    switch (data[0] % 4) {
    case 0:
        read_stream(input, Start::header);
        break;
    case 1:
        read_stream(input, Start::entry);
        break;
    case 2:
        read_stream(input, Start::records);
        break;
    default:
        read_return_path(input);
    }
    return 0;
}
