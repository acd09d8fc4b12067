// SPDX-License-Identifier: GPL-2.0-or-later
// Giving up rights in a child process.
#pragma once

namespace gc {
inline namespace util {

/// Gives up all capabilities, and what programs with more rights would add (no_new_privs). May be
/// called between fork(2) and exec(2). @return false if the kernel refuses
bool drop_capabilities();

}  // namespace util
}  // namespace gc
