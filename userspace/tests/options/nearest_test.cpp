// SPDX-License-Identifier: GPL-2.0-or-later
#include "options/nearest.h"

#include <gtest/gtest.h>
#include <vector>

namespace gc::options {
namespace {

struct Case {
    const char* word;
    const char* nearest;
};

TEST(Nearest, IsTheWordWithTheFewestEdits) {
    const std::vector<std::string> known{"--guide", "--guide-memory", "--guide-wait", "--lead",
                                         "--hot"};
    const Case cases[] = {
        {"--gide", "--guide"},             // a letter is missing
        {"--giude", "--guide"},            // two are swapped
        {"--guide-wiat", "--guide-wait"},  // the longer word is as near
        {"--guide-m", "--guide-memory"},   // the only one that begins so
        {"--leed", "--lead"},              // one is another
        {"--hott", "--hot"},               // one too many
        {"--nothing-like-it", ""},
        {"", ""},
    };
    for (const auto& [word, expected] : cases)
        EXPECT_EQ(nearest(word, known), expected) << word;
}

TEST(Nearest, SuggestsNothingAmongNothing) {
    EXPECT_EQ(suggestion("x", {}), "");
    EXPECT_EQ(suggestion("migrat", std::vector<std::string>{"migrate"}),
              "; did you mean 'migrate'?");
}

}  // namespace
}  // namespace gc::options
