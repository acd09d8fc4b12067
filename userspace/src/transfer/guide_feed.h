// SPDX-License-Identifier: GPL-2.0-or-later
// Where the data plane learns which pages the guide touches.
#pragma once

#include "capture/source.h"

#include <string>

namespace gc {

/// The captured first touches of one RAM block; a record's page is a page of that block.
struct GuideFeed {
    std::string block;
    capture::Source* source;  ///< not owned
};

}  // namespace gc
