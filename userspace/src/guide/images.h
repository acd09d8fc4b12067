// SPDX-License-Identifier: GPL-2.0-or-later
// What QEMU knows about its disk images and its command line does not tell.
#pragma once

#include "qmp/client.h"

#include <cstdint>
#include <map>
#include <string>

namespace gc::guide {

/// Image file name -> number of backing files below it, for GuideSubstitutes::backing_files.
Result<std::map<std::string, unsigned, std::less<>>> backing_file_counts(qmp::Client& client);

/// For GuideSubstitutes::disk_sizes.
Result<std::map<std::string, std::uint64_t, std::less<>>> disk_sizes(qmp::Client& client);

}  // namespace gc::guide
