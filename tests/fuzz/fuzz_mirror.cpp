// SPDX-License-Identifier: GPL-2.0-or-later
// What arrives on the channels "mirror" and "forward", and what a guide answers: the records of the
// input, those of kind "left out" with an odd NIC taken for the guide's own frames.
#include "mirror/follower.h"
#include "mirror/record.h"

#include <algorithm>
#include <cstdlib>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace gc::mirror;
    RecordReader reader;
    const FollowerLimits limits{.connections = 16, .kept_of_each = 4096, .kept = 16384};
    Follower follower(
        [](std::uint16_t, std::span<const std::byte> packet) {
            if (packet.size() < virtio_header || packet.size() > max_packet)
                std::abort();
        },
        limits);
    Follower::Clock::time_point now{};
    auto input = std::as_bytes(std::span(data, size));
    while (!input.empty()) {
        const auto room = reader.room();
        const std::size_t some = std::min(room.size(), input.size());
        std::ranges::copy(input.first(some), room.begin());
        reader.received(some);
        input = input.subspan(some);
        for (;;) {
            const auto record = reader.next();
            if (!record)
                return 0;
            if (!*record)
                break;
            const auto address = destination_of((*record)->content);
            if (!address.empty() && (*record)->content.size() < virtio_header + 14)
                std::abort();
            now += std::chrono::milliseconds(100);
            if ((*record)->kind == RecordKind::packet)
                follower.from_client((*record)->nic, (*record)->content, now);
            else if ((*record)->nic % 2 == 1)
                follower.from_guide((*record)->nic - 1, (*record)->content, now);
            else
                follower.left_out((*record)->nic, (*record)->content);
            follower.tick(now);
            const FollowerCounts& counts = follower.counts();
            if (follower.kept() > limits.kept || counts.in_step > counts.connections ||
                counts.dead > counts.connections)
                std::abort();
        }
    }
    return 0;
}
