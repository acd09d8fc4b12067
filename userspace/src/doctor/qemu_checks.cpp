// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/checks.h"
#include "qmp/migration.h"
#include "qmp/ram_blocks.h"

#include <array>
#include <cstdio>

namespace gc::doctor {

namespace {

constexpr const char* install_qemu = "apt install qemu-system-x86";

Check judge_version(std::string name, int major, int minor, std::string found) {
    if (major > 7 || (major == 7 && minor >= 2))
        return {std::move(name), Verdict::ok, std::move(found), ""};
    return {std::move(name), Verdict::lacking, "expected QEMU 7.2 or later, found " + found,
            install_qemu};
}

/// The monitor serves one client at a time, and without it the VM cannot be checked.
Check unreachable(const Error& error) {
    return {"vm", Verdict::lacking, error.message,
            "check the socket's path, and that no other client is connected to it"};
}

Check check_postcopy(qmp::Client& client) {
    constexpr const char* name = "vm-postcopy";
    const auto capabilities = qmp::query_capabilities(client);
    if (!capabilities)
        return {name, Verdict::lacking, capabilities.error().message, "use QEMU 7.2 or later"};
    if (!capabilities->contains("postcopy-ram"))
        return {name, Verdict::lacking, "this QEMU has no postcopy-ram", "use QEMU 7.2 or later"};
    if (capabilities->at("postcopy-ram"))
        return {name, Verdict::ok, "postcopy-ram is on", ""};
    // Only a QEMU that waits for a migration checks its host and its memory when postcopy-ram is
    // enabled (migrate_caps_check, migration/migration.c, 7.2).
    const auto state = qmp::query_status(client);
    if (!state || state->status != "inmigrate")
        return {name, Verdict::ok, "QEMU has postcopy-ram", ""};
    if (auto set = qmp::set_capabilities(client, {{"postcopy-ram", true}}); !set)
        return {name, Verdict::lacking, set.error().message,
                "sysctl -w vm.unprivileged_userfaultfd=1, or run QEMU as root"};
    (void)qmp::set_capabilities(client, {{"postcopy-ram", false}});
    return {name, Verdict::ok, "postcopy-ram can be enabled", ""};
}

Check check_memory(qmp::Client& client) {
    constexpr const char* name = "vm-memory";
    const auto blocks = qmp::ram_blocks(client);
    if (!blocks)
        return {name, Verdict::lacking, blocks.error().message, "run gcctl with sudo"};
    std::string found;
    for (const qmp::RamBlock& block : *blocks) {
        if (!block.is_guest_ram())
            continue;
        if (const auto obstacle = block.obstacle())
            return {name, Verdict::lacking, obstacle->what, obstacle->remedy};
        found += fmt::format("{}{}: {} MiB, {}", found.empty() ? "" : "; ", block.name,
                             block.length >> 20, qmp::to_string(block.backing));
    }
    return {name, Verdict::ok, found, ""};
}

}  // namespace

Check check_qemu(const Host& host) {
    constexpr const char* name = "qemu";
    constexpr std::array<const char*, 4> programs = {"/usr/bin/qemu-system-x86_64",
                                                     "/usr/local/bin/qemu-system-x86_64",
                                                     "/usr/libexec/qemu-kvm", "/usr/bin/kvm"};
    for (const char* program : programs) {
        if (!host.exists(program))
            continue;
        const auto text = output_of({host.path(program), "--version"});
        int major = 0;
        int minor = 0;
        if (!text || std::sscanf(text->c_str(), "QEMU emulator version %d.%d", &major, &minor) != 2)
            return {name, Verdict::lacking, fmt::format("{} --version prints no version", program),
                    install_qemu};
        return judge_version(name, major, minor, text->substr(0, text->find('\n')));
    }
    return {name, Verdict::lacking, "QEMU for x86-64 is not installed", install_qemu};
}

std::vector<Check> check_vm(const Options& options) {
    auto client = qmp::Client::connect(options.qmp);
    if (!client)
        return {unreachable(client.error())};
    const qmp::Version& version = client->version();
    std::vector<Check> checks = {
        judge_version("vm", version.major, version.minor, "QEMU " + version.text())};
    checks.push_back(check_postcopy(*client));
    if (options.role != Role::destination)
        checks.push_back(check_memory(*client));
    return checks;
}

}  // namespace gc::doctor
