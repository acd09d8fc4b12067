// SPDX-License-Identifier: GPL-2.0-or-later
// Writes an access trace, part by part, into a buffer; no I/O.
#pragma once

#include "trace/trace.h"

#include <cstddef>

namespace gc::trace {

using Buffer = std::vector<std::byte>;

void append_header(Buffer& to, const Header& header);
/// @param epoch not before the one that was appended before it
void append_epoch(Buffer& to, const Epoch& epoch);
/// A trace without it was cut off. @param epochs how many were appended
void append_end(Buffer& to, std::uint64_t epochs);

}  // namespace gc::trace
