// SPDX-License-Identifier: GPL-2.0-or-later
// What decides whether another host can give a domain its CPU.
#pragma once

#include <string>
#include <string_view>

namespace gc::libvirt {

struct GuestCpu {
    std::string type;  ///< of virtualisation: "kvm", "qemu"
    std::string arch;
    std::string machine;
    std::string emulator;
    std::string cpu;  ///< the element <cpu>; empty if there is none to compare
    /// It is the CPU of the domain's host, whatever that is.
    bool of_host = false;
};

/// From a domain's description in XML. What that does not have is empty.
[[nodiscard]] GuestCpu parse_guest_cpu(std::string_view text);

}  // namespace gc::libvirt
