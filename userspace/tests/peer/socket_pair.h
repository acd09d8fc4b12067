// SPDX-License-Identifier: GPL-2.0-or-later
// A connection whose other end the test holds.
#pragma once

#include "peer/connection.h"

#include <array>
#include <gtest/gtest.h>
#include <string_view>
#include <sys/socket.h>

namespace gc::peer {

class SocketPair : public testing::Test {
  protected:
    void SetUp() override {
        std::array<int, 2> ends{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        ours = Connection(UniqueFd(ends[0]));
        theirs = Connection(UniqueFd(ends[1]));
    }
    void peer_says(std::string_view text) {
        ASSERT_TRUE(theirs.write(std::as_bytes(std::span(text))));
    }
    Connection ours, theirs;
};

}  // namespace gc::peer
