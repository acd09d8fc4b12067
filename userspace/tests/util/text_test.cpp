// SPDX-License-Identifier: GPL-2.0-or-later
#include "util/text.h"

#include <gtest/gtest.h>

namespace gc {
namespace {

TEST(ShellLine, QuotesWhatAShellWouldSplit) {
    EXPECT_EQ(shell_line({"a", "b c", "it's", "", "/x=1"}), R"(a 'b c' 'it'\''s' '' /x=1)");
}

}  // namespace
}  // namespace gc
