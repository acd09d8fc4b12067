// SPDX-License-Identifier: GPL-2.0-or-later
// The guest RAM of a source QEMU, opened for reading.
#pragma once

#include "image/source_image.h"
#include "qmp/ram_blocks.h"

#include <sys/types.h>
#include <vector>

namespace gc::migrate {

/// The RAM blocks that hold guest RAM. Errors: those of qmp::ram_blocks(); unsupported, if one
/// cannot be read.
Result<std::vector<qmp::RamBlock>> guest_ram(qmp::Client& source, pid_t pid);

/// Opens each block's file or memory. Errors: io, unsupported.
Result<std::vector<image::ImageBlock>> open_image(const std::vector<qmp::RamBlock>& guest_ram,
                                                  pid_t pid);

}  // namespace gc::migrate
