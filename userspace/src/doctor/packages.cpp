// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/packages.h"

#include <algorithm>
#include <array>
#include <fmt/core.h>
#include <sstream>

namespace gc::doctor {

namespace {

struct Distribution {
    std::string_view id;  ///< ID of os-release, or a word of ID_LIKE
    const char* qemu;
    const char* kernel;
    /// "{}" is the kernel's release.
    const char* headers;
    /// Its kernels have this in /proc/version. Nothing but they has such headers.
    const char* kernel_mark;
};

// The first that matches counts: Ubuntu is like Debian.
constexpr std::array distributions = {
    Distribution{"ubuntu", "apt install qemu-system-x86", "apt install linux-image-generic",
                 "apt install linux-headers-{}", "Ubuntu"},
    Distribution{"debian", "apt install qemu-system-x86", "apt install linux-image-amd64",
                 "apt install linux-headers-{}", "Debian"},
    Distribution{"fedora", "dnf install qemu-system-x86", "dnf upgrade kernel",
                 "dnf install kernel-devel-{}", "fedoraproject"},
    Distribution{"arch", "pacman -S qemu-system-x86", "pacman -Syu linux",
                 "pacman -S linux-headers", "-arch"},
    Distribution{"opensuse", "zypper install qemu-x86", "zypper install kernel-default",
                 "zypper install kernel-default-devel", "-default"},
};

/// The value of a line KEY=value or KEY="value".
std::string value_of(const std::string& text, std::string_view key) {
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
        if (!line.starts_with(key) || line.size() == key.size() || line[key.size()] != '=')
            continue;
        std::string value = line.substr(key.size() + 1);
        std::erase_if(value, [](char c) { return c == '"' || c == '\''; });
        return value;
    }
    return "";
}

const Distribution* distribution_of(const Host& host) {
    const std::string text = host.text("/etc/os-release").value_or("");
    const std::string id = value_of(text, "ID");
    // RHEL and its clones are like Fedora, and have none of these packages.
    const std::string like =
        value_of(text, "ID_LIKE").find("rhel") == std::string::npos && id != "rhel"
            ? value_of(text, "ID_LIKE")
            : "";
    for (const Distribution& known : distributions) {
        if (id == known.id)
            return &known;
        std::istringstream words(like);
        for (std::string word; words >> word;)
            if (word == known.id)
                return &known;
    }
    return nullptr;
}

std::string install_headers(const Host& host, const Distribution* known) {
    const std::string release = host.kernel_release();
    const std::string version = host.text("/proc/version").value_or("");
    if (known != nullptr && version.find(known->kernel_mark) != std::string::npos)
        return fmt::format(fmt::runtime(known->headers), release);
    return fmt::format("install the headers of this kernel, so that /lib/modules/{}/build exists",
                       release);
}

}  // namespace

std::string how_to_install(const Host& host, Package package) {
    const Distribution* known = distribution_of(host);
    switch (package) {
    case Package::qemu:
        return known != nullptr ? known->qemu : "install QEMU 7.2 or later for x86-64";
    case Package::kernel:
        return known != nullptr ? known->kernel : "install Linux 6.1 or later";
    case Package::kernel_headers:
        return install_headers(host, known);
    }
    return "";
}

}  // namespace gc::doctor
