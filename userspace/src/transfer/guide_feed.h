// SPDX-License-Identifier: GPL-2.0-or-later
// Where the data plane learns which pages the guide touches.
#pragma once

#include "capture/record_source.h"

#include <string>

namespace gc::transfer {

/// The captured first touches of one RAM block; a record's page is a page of that block.
struct GuideFeed {
    std::string block;
    capture::RecordSource* source;  ///< not owned
};

}  // namespace gc::transfer
