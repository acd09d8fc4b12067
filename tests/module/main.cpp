// SPDX-License-Identifier: GPL-2.0-or-later
// The tests, or with --hold=control|node|mapping a process that keeps one use of the module alive,
// says "holding", and waits to be killed.
#include "support.h"

#include <cstdio>
#include <fcntl.h>
#include <optional>
#include <string_view>
#include <unistd.h>

namespace gc::capture::test {
namespace {

int hold(std::string_view what) {
    const UniqueFd file = memory_file(4);
    std::optional<Session> session(make_session(file, 4));
    UniqueFd node = open_node(session->node());
    Pages memory(node.get(), 4);
    if (what != "mapping")
        memory.unmap();
    if (what != "node")
        node.reset();
    if (what != "control")
        session.reset();
    std::puts("holding");
    std::fflush(stdout);
    ::pause();
    return 0;
}

}  // namespace
}  // namespace gc::capture::test

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    constexpr std::string_view prefix = "--hold=";
    if (argc == 2 && std::string_view(argv[1]).starts_with(prefix))
        return gc::capture::test::hold(std::string_view(argv[1]).substr(prefix.size()));
    return RUN_ALL_TESTS();
}
