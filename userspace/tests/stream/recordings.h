// SPDX-License-Identifier: GPL-2.0-or-later
// The streams of real QEMUs in tests/data/streams, recorded by scripts/record-streams.
#pragma once

#include "stream/writer.h"

#include <string>
#include <vector>

namespace gc::stream {

/// "VERSION/NAME" of all recorded streams whose migration's name contains `part`, sorted.
std::vector<std::string> recordings(std::string_view part = "");

/// A channel of a recording, or nullopt if it does not exist. @param channel stream, return or
/// urgent
Buffer recorded(const std::string& recording, std::string_view channel);

}  // namespace gc::stream
