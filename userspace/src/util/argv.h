// SPDX-License-Identifier: GPL-2.0-or-later
// Strings as execve() and posix_spawn() take them.
#pragma once

#include <string>
#include <vector>

namespace gc::inline util {

/// Pointers to the strings, ended by a null pointer; good for as long as the strings are not
/// touched.
[[nodiscard]] inline std::vector<char*> argv_of(const std::vector<std::string>& strings) {
    std::vector<char*> pointers;
    pointers.reserve(strings.size() + 1);
    for (const std::string& string : strings)
        pointers.push_back(const_cast<char*>(string.c_str()));
    pointers.push_back(nullptr);
    return pointers;
}

}  // namespace gc::inline util
