// SPDX-License-Identifier: GPL-2.0-or-later
// Converts strings to the form that execve() and posix_spawn() take.
#pragma once

#include <string>
#include <vector>

namespace gc {
inline namespace util {

/// A null-terminated array of pointers to the strings, valid until the strings change.
[[nodiscard]] inline std::vector<char*> argv_of(const std::vector<std::string>& strings) {
    std::vector<char*> pointers;
    pointers.reserve(strings.size() + 1);
    for (const std::string& string : strings)
        pointers.push_back(const_cast<char*>(string.c_str()));
    pointers.push_back(nullptr);
    return pointers;
}

}  // namespace util
}  // namespace gc
