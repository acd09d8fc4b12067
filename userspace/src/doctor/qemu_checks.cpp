// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor/checks.h"
#include "doctor/packages.h"
#include "qmp/migration.h"
#include "qmp/ram_blocks.h"

#include <array>
#include <cstdio>

namespace gc::doctor {

namespace {

Check judge_version(std::string name, int major, int minor, std::string found, std::string remedy) {
    if (major > 7 || (major == 7 && minor >= 2))
        return {std::move(name), Verdict::ok, std::move(found), ""};
    return {std::move(name), Verdict::lacking, "expected QEMU 7.2 or later, found " + found,
            std::move(remedy)};
}

struct Installed {
    std::string program;
    std::string version;  ///< the first line of --version; empty if it is not one of QEMU's
    int major = 0;
    int minor = 0;
};

std::optional<Installed> find_installed(const Host& host) {
    constexpr std::array<const char*, 4> programs = {"/usr/bin/qemu-system-x86_64",
                                                     "/usr/local/bin/qemu-system-x86_64",
                                                     "/usr/libexec/qemu-kvm", "/usr/bin/kvm"};
    for (const char* program : programs) {
        if (!host.exists(program))
            continue;
        Installed found{.program = program, .version = {}};
        const auto text = output_of({host.path(program), "--version"});
        if (text && std::sscanf(text->c_str(), "QEMU emulator version %d.%d", &found.major,
                                &found.minor) == 2)
            found.version = text->substr(0, text->find('\n'));
        return found;
    }
    return std::nullopt;
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
    const std::string install = how_to_install(host, Package::qemu);
    const auto found = find_installed(host);
    if (!found)
        return {name, Verdict::lacking, "QEMU for x86-64 is not installed", install};
    if (found->version.empty())
        return {name, Verdict::lacking,
                fmt::format("{} --version prints no version", found->program), install};
    return judge_version(name, found->major, found->minor, found->version, install);
}

bool qemu_opens_userfaultfd(const Host& host) {
    const auto found = find_installed(host);
    return found && found->major >= 8;
}

Result<QemuUser> qemu_user_of(const Options& options) {
    if (!options.qemu_user.empty() || options.qmp.empty())
        return find_qemu_user(options.qemu_user);
    auto client = qmp::Client::connect(options.qmp);
    if (!client)
        return find_qemu_user("");  // check_vm() reports it
    GC_TRY(const pid_t pid, client->peer_pid());
    return user_of_process(pid);
}

std::vector<Check> check_vm(const Options& options) {
    auto client = qmp::Client::connect(options.qmp);
    if (!client)
        return {unreachable(client.error())};
    const qmp::Version& version = client->version();
    std::vector<Check> checks = {judge_version("vm", version.major, version.minor,
                                               "QEMU " + version.text(), "use QEMU 7.2 or later")};
    checks.push_back(check_postcopy(*client));
    if (options.role != Role::destination)
        checks.push_back(check_memory(*client));
    return checks;
}

}  // namespace gc::doctor
