// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/guest_cpu.h"

#include "libvirt/xml.h"

namespace gc::libvirt {

GuestCpu parse_guest_cpu(std::string_view text) {
    const pugi::xml_document document = parse_xml(text);
    const pugi::xml_node domain = document.child("domain");
    const pugi::xml_node type = domain.child("os").child("type");
    const pugi::xml_node cpu = domain.child("cpu");
    const std::string_view mode = cpu.attribute("mode").value();
    const std::string virtualisation = domain.attribute("type").value();
    // All that QEMU emulates by itself, which is the same on each host.
    const bool emulated = mode == "maximum" && virtualisation == "qemu";
    return {.type = virtualisation,
            .arch = type.attribute("arch").value(),
            .machine = type.attribute("machine").value(),
            .emulator = domain.child("devices").child_value("emulator"),
            .cpu = emulated ? "" : text_of(cpu),
            .of_host = mode == "host-passthrough" || (mode == "maximum" && !emulated)};
}

}  // namespace gc::libvirt
