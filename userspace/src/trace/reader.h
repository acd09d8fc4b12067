// SPDX-License-Identifier: GPL-2.0-or-later
// Reads an access trace. The input is not trusted. No I/O.
#pragma once

#include "trace/trace.h"
#include "util/error.h"

#include <cstddef>
#include <span>

namespace gc::trace {

/// Errors: protocol, with the offset, what was expected there and what was found; unsupported, for
/// a later version of the format.
Result<Trace> parse(std::span<const std::byte> bytes);

}  // namespace gc::trace
