// SPDX-License-Identifier: GPL-2.0-or-later
// The package of a post-copy switch-over: what is in it, and what a guide loads of it.
#pragma once

#include "stream/command.h"
#include "stream/reader.h"
#include "stream/writer.h"

#include <cstdint>

namespace gc::stream {

/// The parts of a package's body, in their order. Source: postcopy_start() in
/// migration/migration.c: LISTEN, the device sections, PING 3 (from 10.2 on a second one, 0x42),
/// RUN.
struct PackageParts {
    std::span<const std::byte> devices;  ///< SECTION_FULL ... with their footers, verbatim
    std::uint32_t last_ping;  ///< its pong comes when the device state is loaded, before RUN
};

/// Errors: protocol when the package has another form, saying which part is unexpected.
Result<PackageParts> split_package(std::span<const std::byte> body);

/// A package's body of these parts, as 7.2 makes one: with a single PING.
Buffer package_body(const PackageParts& parts);

/// A stream that makes a QEMU started with `-incoming` load device state and nothing else. RAM is
/// not in it: the guide's is there already. Pings are left out, as 10.2 fails on one without a
/// return path.
/// @param preamble file header and portable configuration
Buffer guide_stream(std::span<const std::byte> preamble, std::span<const std::byte> devices);

/// The configuration for a peer that need not have our source's capabilities: without the
/// subsection that makes it compare them (configuration_validate_capabilities in
/// migration/savevm.c).
void append_portable_configuration(Buffer& out, const Configuration& configuration);

}  // namespace gc::stream
