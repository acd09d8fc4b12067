// SPDX-License-Identifier: GPL-2.0-or-later
// Writes an access trace into a buffer, part by part. No I/O.
#pragma once

#include "trace/trace.h"

#include <cstddef>

namespace gc::trace {

using Buffer = std::vector<std::byte>;

void append_header(Buffer& to, const Header& header);
/// @param epoch must not be earlier than the previously appended epoch
void append_epoch(Buffer& to, const Epoch& epoch);
/// A trace without an end was cut off. @param epochs number of epochs appended
void append_end(Buffer& to, std::uint64_t epochs);

}  // namespace gc::trace
