// SPDX-License-Identifier: GPL-2.0-or-later
// The package of a post-copy switch-over: its contents, and the part that a guide loads.
#pragma once

#include "stream/command.h"
#include "stream/reader.h"
#include "stream/writer.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gc::stream {

/// The parts of a package's body, in order. Source: postcopy_start() in migration/migration.c:
/// LISTEN, the device sections, PING 3 (since 10.2 a second one, 0x42), RUN.
struct PackageParts {
    std::span<const std::byte> devices;  ///< SECTION_FULL ... with their footers, verbatim
    std::uint32_t last_ping;  ///< its pong arrives when the device state is loaded, before RUN
};

/// Errors: protocol; the message names the unexpected part.
Result<PackageParts> split_package(std::span<const std::byte> body);

/// Whether a section or a RAM block belongs to one of these: its name is one of them, or ends in
/// "/" and one of them, after the place of its device.
[[nodiscard]] bool is_of(std::string_view name, std::span<const std::string> devices);

/// The sections without those that is_of() the absent devices. QEMU does not say how long a section
/// is: it ends at the first footer with its number that another section, or the end, follows.
/// Errors: protocol, if there is none.
Result<Buffer> without_devices(std::span<const std::byte> sections,
                               std::span<const std::string> absent);

/// A stream that makes a QEMU started with `-incoming` load device state only. RAM is left out, as
/// the guide already has it. So are pings: QEMU 10.2 fails on a ping without a return path.
/// @param preamble file header and portable configuration
Buffer guide_stream(std::span<const std::byte> preamble, std::span<const std::byte> devices);

/// What a guide gets of the source's stream, to load it in either of two ways.
struct GuideState {
    Buffer preamble;  ///< file header and portable configuration
    Buffer devices;
    struct Block {
        std::string name;
        std::uint64_t length;  ///< bytes
    };
    std::vector<Block> blocks;  ///< all RAM blocks, in the source's order
    std::uint32_t ram_section = 0;
};

/// A stream that makes a QEMU with postcopy-ram load device state, run, and request every page that
/// it touches. All of its RAM must be in pages of 4 KiB. Its END never comes: the guide is killed.
Buffer postcopy_guide_stream(const GuideState& state);

/// The configuration without the source's capabilities, for a peer that need not have the same
/// ones. QEMU compares them only if the subsection is present (configuration_validate_capabilities
/// in migration/savevm.c).
void append_portable_configuration(Buffer& out, const Configuration& configuration);

}  // namespace gc::stream
