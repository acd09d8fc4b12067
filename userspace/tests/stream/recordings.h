// SPDX-License-Identifier: GPL-2.0-or-later
// The streams of real QEMUs in tests/data/streams, made by scripts/record-streams.
#pragma once

#include "stream/writer.h"

#include <string>
#include <vector>

namespace gc::stream {

/// "VERSION/NAME" of every recorded stream, of a migration whose name contains `part`; sorted.
std::vector<std::string> recordings(std::string_view part = "");

/// A channel of a recording, or nothing when it has none. @param channel stream, return or urgent
Buffer recorded(const std::string& recording, std::string_view channel);

}  // namespace gc::stream
