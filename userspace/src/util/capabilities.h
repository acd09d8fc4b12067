// SPDX-License-Identifier: GPL-2.0-or-later
// Giving up rights in a child process.
#pragma once

namespace gc {
inline namespace util {

// May be called between fork(2) and exec(2). Each returns false if the kernel refuses.

/// Gives up all capabilities.
bool drop_capabilities();
/// Gives up what programs with more rights would add (no_new_privs).
bool refuse_new_privileges();

}  // namespace util
}  // namespace gc
