// SPDX-License-Identifier: GPL-2.0-or-later
// The command line of a source QEMU, which a QEMU that was broken into can rewrite. Arguments are
// separated by newlines.
#include "guide/command_line.h"

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <sstream>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace gc::guide;
    std::istringstream lines(std::string(reinterpret_cast<const char*>(data), size));
    std::vector<std::string> arguments = {"qemu-system-x86_64"};
    for (std::string line; std::getline(lines, line);)
        arguments.push_back(line);
    GuideSubstitutes substitutes;
    substitutes.memory["pc.ram"] = {"/proc/self/fd/9", 1U << 30};
    const auto derived = derive_guide_command_line(arguments, substitutes);
    if (!derived)
        return 0;
    // Always, and last, so that nothing overrides them.
    const auto& argv = derived->argv;
    const auto sandbox = std::find(argv.begin(), argv.end(), "-sandbox");
    if (sandbox == argv.end() || std::find(sandbox + 1, argv.end(), "-sandbox") != argv.end())
        std::abort();
    for (const std::string& argument : argv)
        if (argument == "-readconfig" || argument == "-plugin" || argument == "-chroot" ||
            argument == "-pidfile" || argument == "-D")
            std::abort();
    return 0;
}
