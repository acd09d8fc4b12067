// SPDX-License-Identifier: GPL-2.0-or-later
// The table of QEMU's options and what the guide does with each. An option that is not in the table
// is refused.
#include "guide/command_line.h"

#include "guide/derivation.h"

#include "util/text.h"

#include <algorithm>
#include <optional>
#include <regex>

namespace gc::guide {

namespace {

enum class Argument { none, required };

struct Rule {
    std::string_view name;
    Argument argument;
    Translate translate;
};

Result<void> keep(Derivation& derivation, const SourceOption& option) {
    derivation.emit(option.name, option.value);
    return {};
}

Result<void> keep_flag(Derivation& derivation, const SourceOption& option) {
    derivation.emit(option.name);
    return {};
}

Result<void> drop(Derivation&, const SourceOption&) {
    return {};
}

/// -serial, -parallel and -debugcon create a device: the device stays, its back end becomes null. A
/// reference to a -chardev stays, because that has become a null device with the same id.
Result<void> to_null(Derivation& derivation, const SourceOption& option) {
    const bool stays = option.value == "none" || option.value.starts_with("chardev:");
    derivation.emit(option.name, stays ? option.value : "null");
    return {};
}

/// Accelerators other than these need a hypervisor or a test that is not there.
Result<void> check_accelerators(std::string_view names) {
    while (!names.empty()) {
        const std::string_view name = names.substr(0, names.find(':'));
        names.remove_prefix(std::min(names.size(), name.size() + 1));
        if (name != "kvm" && name != "tcg")
            return refuse(fmt::format("-accel {}", name), "a guide runs with KVM or TCG");
    }
    return {};
}

Result<void> translate_accel(Derivation& derivation, const SourceOption& option) {
    GC_TRY(const auto accel, OptionList::parse(option.value, "accel"));
    GC_CHECK(check_accelerators(accel.get("accel")));
    for (const char* key : {"device", "rapl", "rapl-helper-socket"})
        if (accel.has(key))
            return refuse(fmt::format("-accel {}=...", key), "it reaches outside QEMU");
    return keep(derivation, option);
}

Result<void> translate_icount(Derivation& derivation, const SourceOption& option) {
    GC_TRY(const auto icount, OptionList::parse(option.value, "shift"));
    for (const char* key : {"rr", "rrfile", "rrsnapshot"})
        if (icount.has(key))
            return refuse(fmt::format("-icount {}=...", key), "it writes a recording");
    return keep(derivation, option);
}

Result<void> translate_machine(Derivation& derivation, const SourceOption& option) {
    GC_TRY(auto machine, OptionList::parse(option.value, "type"));
    GC_CHECK(check_accelerators(machine.get("accel")));
    if (machine.get("type").starts_with("x-remote") || machine.get("type").starts_with("xen"))
        return refuse("-machine " + machine.get("type"), "its devices are in another process");
    for (const char* key : {"memory-encryption", "confidential-guest-support"})
        if (machine.has(key))
            return refuse(fmt::format("-machine {}=...", key), "its memory cannot be read");
    machine.remove("dumpdtb");
    derivation.emit("machine", machine.print("type"));
    return {};
}

/// -nographic also tells the firmware that there is no screen (graphics=off, softmmu/vl.c).
Result<void> translate_nographic(Derivation& derivation, const SourceOption&) {
    derivation.emit("machine", "graphics=off");
    return {};
}

Result<void> translate_overcommit(Derivation& derivation, const SourceOption& option) {
    GC_TRY(auto overcommit, OptionList::parse(option.value));
    overcommit.remove("mem-lock");  // would touch, and thereby copy, all of the guide's memory
    if (!overcommit.entries().empty())
        derivation.emit("overcommit", overcommit.print());
    return {};
}

/// -set GROUP.ID.KEY=VALUE. What it changes must not be what makes an option harmless.
Result<void> translate_set(Derivation& derivation, const SourceOption& option) {
    const std::string_view target =
        std::string_view(option.value).substr(0, option.value.find('='));
    const std::string_view key = target.substr(target.rfind('.') + 1);
    if (!target.starts_with("device.") || key == "driver" || reaches_host(key))
        return refuse("-set " + option.value, "it changes an option that is replaced in the guide");
    return keep(derivation, option);
}

/// -global DRIVER.KEY=VALUE, or -global driver=DRIVER,property=KEY,value=VALUE.
Result<void> translate_global(Derivation& derivation, const SourceOption& option) {
    const std::string_view target =
        std::string_view(option.value).substr(0, option.value.find('='));
    std::string key(target.substr(target.find('.') + 1));
    if (target.find('.') == std::string_view::npos) {
        GC_TRY(const auto global, OptionList::parse(option.value));
        key = global.get("property");
    }
    if (reaches_host(key))
        return refuse("-global " + option.value, "it makes a device reach the host");
    return keep(derivation, option);
}

Result<void> refuse_option(Derivation&, const SourceOption& option) {
    return refuse(fmt::format("-{}", option.name),
                  "it reaches outside QEMU and has no harmless form");
}

/// What is left of it: with_configs() has put the options of the others in their places.
Result<void> refuse_config(Derivation&, const SourceOption& option) {
    return refuse(fmt::format("-readconfig {:.200}", option.value), "the file cannot be read");
}

constexpr auto flag = Argument::none;
constexpr auto value = Argument::required;

// In the order of qemu-options.hx (7.2 to 11), without options removed before 7.2.
constexpr Rule rules[] = {
    // machine
    {"machine", value, translate_machine},
    {"M", value, translate_machine},
    {"cpu", value, keep},
    {"accel", value, translate_accel},
    {"smp", value, keep},
    {"numa", value, keep},
    {"add-fd", value, drop},
    {"set", value, translate_set},
    {"global", value, translate_global},
    {"boot", value, keep},
    {"m", value, keep},
    {"mem-path", value, drop},
    {"mem-prealloc", flag, drop},
    {"k", value, drop},
    {"audio", value, translate_audio},
    {"audiodev", value, translate_audiodev},
    {"device", value, translate_device},
    {"name", value, drop},
    {"uuid", value, keep},
    // disks
    {"fda", value, translate_disk_shorthand},
    {"fdb", value, translate_disk_shorthand},
    {"hda", value, translate_disk_shorthand},
    {"hdb", value, translate_disk_shorthand},
    {"hdc", value, translate_disk_shorthand},
    {"hdd", value, translate_disk_shorthand},
    {"cdrom", value, translate_disk_shorthand},
    {"blockdev", value, translate_blockdev},
    {"drive", value, translate_drive},
    {"mtdblock", value, translate_disk_shorthand},
    {"sd", value, translate_disk_shorthand},
    {"pflash", value, translate_disk_shorthand},
    {"snapshot", flag, drop},
    {"fsdev", value, refuse_option},
    {"virtfs", value, refuse_option},
    {"iscsi", value, drop},
    // USB, display
    {"usb", flag, keep_flag},
    {"usbdevice", value, translate_usbdevice},
    {"display", value, drop},
    {"nographic", flag, translate_nographic},
    {"curses", flag, drop},
    {"sdl", flag, drop},
    {"spice", value, drop},
    {"portrait", flag, drop},
    {"rotate", value, drop},
    {"vga", value, keep},
    {"full-screen", flag, drop},
    {"g", value, keep},
    {"vnc", value, drop},
    // x86
    {"win2k-hack", flag, keep_flag},
    {"no-fd-bootchk", flag, keep_flag},
    {"no-acpi", flag, keep_flag},
    {"no-hpet", flag, keep_flag},
    {"acpitable", value, keep},
    {"smbios", value, keep},
    // network
    {"netdev", value, translate_netdev},
    {"nic", value, translate_nic},
    {"net", value, translate_net},
    // character devices, TPM
    {"chardev", value, translate_chardev},
    {"tpmdev", value, drop},
    // boot
    {"bios", value, keep},
    {"kernel", value, keep},
    {"shim", value, keep},
    {"append", value, keep},
    {"initrd", value, keep},
    {"dtb", value, keep},
    {"compat", value, keep},
    {"fw_cfg", value, keep},
    {"option-rom", value, keep},
    {"L", value, keep},
    {"serial", value, to_null},
    {"parallel", value, to_null},
    {"debugcon", value, to_null},
    // monitors and debugging
    {"monitor", value, drop},
    {"qmp", value, drop},
    {"qmp-pretty", value, drop},
    {"mon", value, drop},
    {"pidfile", value, drop},
    {"preconfig", flag, drop},
    {"S", flag, drop},
    {"overcommit", value, translate_overcommit},
    {"gdb", value, drop},
    {"s", flag, drop},
    {"d", value, drop},
    {"D", value, drop},
    {"dfilter", value, drop},
    {"seed", value, keep},
    {"enable-kvm", flag, keep_flag},
    {"no-reboot", flag, keep_flag},
    {"no-shutdown", flag, keep_flag},
    {"action", value, keep},
    {"loadvm", value, drop},
    {"daemonize", flag, drop},
    {"rtc", value, keep},
    {"icount", value, translate_icount},
    {"watchdog", value, keep},
    {"watchdog-action", value, keep},
    {"echr", value, drop},
    {"incoming", value, drop},
    {"only-migratable", flag, keep_flag},
    {"nodefaults", flag, keep_flag},
    {"chroot", value, drop},
    {"runas", value, drop},
    {"run-with", value, drop},
    {"async-teardown", flag, drop},
    {"sandbox", value, drop},  // replaced
    {"readconfig", value, refuse_config},
    {"no-user-config", flag, keep_flag},
    {"nouserconfig", flag, keep_flag},
    {"trace", value, drop},
    {"plugin", value, refuse_option},
    {"qtest", value, refuse_option},
    {"qtest-log", value, drop},
    {"msg", value, drop},
    {"object", value, translate_object},
    {"enable-sync-profile", flag, drop},
    {"perfmap", flag, drop},
    {"jitdump", flag, drop},
    {"semihosting", flag, refuse_option},
    {"semihosting-config", value, refuse_option},
    {"id", value, drop},  // Proxmox VE's QEMU
    {"xen-domid", value, refuse_option},
    {"xen-attach", flag, refuse_option},
};

const Rule* find_rule(std::string_view name) {
    const auto rule = std::find_if(std::begin(rules), std::end(rules),
                                   [&](const Rule& candidate) { return candidate.name == name; });
    return rule != std::end(rules) ? rule : nullptr;
}

/// "[drive \"id\"]" or "[machine]". @return the option's name and the id, or nullopt
std::optional<std::pair<std::string, std::string>> config_group(std::string_view line) {
    if (!line.starts_with('[') || !line.ends_with(']'))
        return std::nullopt;
    line = line.substr(1, line.size() - 2);
    const std::size_t space = line.find(' ');
    std::string name(line.substr(0, space));
    std::string id(space == std::string_view::npos ? "" : line.substr(space + 1));
    if (!id.empty() && (id.size() < 2 || id.front() != '"' || id.back() != '"'))
        return std::nullopt;
    // The names of QemuOptsLists that are not those of their options (softmmu/vl.c, 7.2).
    for (const auto& [list, option] :
         {std::pair("memory", "m"), std::pair("smp-opts", "smp"), std::pair("boot-opts", "boot")})
        if (name == list)
            name = option;
    return std::pair(std::move(name), id.empty() ? id : id.substr(1, id.size() - 2));
}

/// The options of a file of -readconfig, as words of a command line (qemu_config_foreach() in
/// util/qemu-config.c, 7.2): a group is an option, and each line of it a property.
Result<std::vector<std::string>> words_of_config(const std::string& name, std::string_view text) {
    std::vector<std::string> words;
    for (std::string line : lines_of(text)) {
        const auto end = line.find_last_not_of(" \t");
        line.resize(end == std::string::npos ? 0 : end + 1);
        if (line.empty() || line.front() == '#')
            continue;
        if (auto group = config_group(line)) {
            words.push_back("-" + group->first);
            words.push_back(group->second.empty() ? "" : "id=" + escape_commas(group->second));
            continue;
        }
        static const std::regex property(R"RE(\s*([A-Za-z0-9_.-]+)\s*=\s*"([^"]*)")RE");
        std::smatch part;
        if (words.empty() || !std::regex_match(line, part, property))
            return fail(ErrorKind::unsupported,
                        "-readconfig {}: expected '[GROUP]' or 'KEY = \"VALUE\"', found '{:.80}'",
                        name, line);
        words.back() += fmt::format("{}{}={}", words.back().empty() ? "" : ",", part[1].str(),
                                    escape_commas(part[2].str()));
    }
    return words;
}

/// The command line with the files of -readconfig in their places.
Result<std::vector<std::string>>
with_configs(std::span<const std::string> arguments,
             const std::map<std::string, std::string, std::less<>>& files) {
    std::vector<std::string> words;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const bool is_config = arguments[i] == "-readconfig" || arguments[i] == "--readconfig";
        const auto file =
            is_config && i + 1 < arguments.size() ? files.find(arguments[i + 1]) : files.end();
        if (file == files.end()) {
            words.push_back(arguments[i]);
            continue;
        }
        GC_TRY(const auto more, words_of_config(file->first, file->second));
        words.insert(words.end(), more.begin(), more.end());
        ++i;
    }
    return words;
}

/// Splits the source's argv as lookup_opt (softmmu/vl.c) does.
Result<std::vector<SourceOption>> split(std::span<const std::string> arguments) {
    std::vector<SourceOption> options;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        const std::string& argument = arguments[i];
        if (!argument.starts_with('-') || argument == "-") {
            options.push_back({"", argument});
            continue;
        }
        const std::string name = argument.substr(argument.starts_with("--") ? 2 : 1);
        const Rule* rule = find_rule(name);
        if (rule == nullptr)
            return refuse(argument, "guidecopy does not know this option");
        if (rule->argument == Argument::none) {
            options.push_back({name, ""});
            continue;
        }
        if (++i == arguments.size())
            return fail(ErrorKind::usage,
                        "{} without an argument at the end of the source's command line", argument);
        options.push_back({name, arguments[i]});
    }
    return options;
}

/// Options of every guide: no system calls that a guide does not need, no screen, gcctl's monitor
/// only, and waiting for its device state.
void emit_own_options(Derivation& derivation) {
    derivation.guide.qmp_fd = derivation.take_fds(1);
    // A QEMU without this option does not start: a guide without the filter must not run.
    derivation.emit("sandbox",
                    "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
    derivation.emit("name", "guidecopy-guide,debug-threads=on");
    derivation.emit("display", "none");
    derivation.emit("monitor", "none");
    derivation.emit("chardev",
                    fmt::format("socket,id={},fd={}", own_monitor, derivation.guide.qmp_fd));
    derivation.emit("mon", fmt::format("chardev={},mode=control", own_monitor));
    derivation.emit("incoming", "defer");
}

}  // namespace

namespace {

struct Meaning {
    Translate translate;
    std::string_view text;
};
/// What becomes of the options that a function translates.
constexpr Meaning meanings[] = {
    {keep, "kept"},
    {keep_flag, "kept"},
    {drop, "left out"},
    {refuse_option, "refused: it reaches outside QEMU and has no harmless form"},
    {to_null, "kept, connected to nothing"},
    {translate_machine, "kept; refused: Xen, remote devices, encrypted memory"},
    {translate_accel, "kept: `kvm` and `tcg`; others are refused"},
    {translate_set, "kept for a `device`, unless the property reaches the host; else refused"},
    {translate_global, "kept, unless the property reaches the host"},
    {translate_overcommit, "kept without `mem-lock`"},
    {translate_icount, "kept; refused with a recording"},
    {translate_nographic, "`-machine graphics=off`"},
    {translate_audio, "kept, with the back end `none`"},
    {translate_audiodev, "`none` with the same id"},
    {translate_chardev, "`null` with the same id"},
    {translate_device, "see Devices"},
    {translate_object, "see Objects"},
    {translate_drive, "see Disks"},
    {translate_blockdev, "see Disks"},
    {translate_disk_shorthand, "see Disks"},
    {translate_netdev, "see Networks"},
    {translate_nic, "see Networks"},
    {translate_net, "see Networks"},
    {translate_usbdevice, "kept: tablet, mouse, keyboard, wacom-tablet; others are refused"},
};

}  // namespace

std::vector<OptionRow> option_rows() {
    std::vector<OptionRow> rows;
    for (const Rule& rule : rules) {
        const auto meaning = std::ranges::find(meanings, rule.translate, &Meaning::translate);
        rows.push_back({fmt::format("-{}", rule.name),
                        std::string(meaning != std::end(meanings) ? meaning->text : "?")});
        if (rule.name == "sandbox")
            rows.back().becomes = "replaced: everything is denied";
        if (rule.name == "readconfig")
            rows.back().becomes = "its options, as if they were in its place; refused if the file "
                                  "cannot be read";
    }
    return rows;
}

Result<OptionNames> names_in(std::span<const std::string> argv,
                             const std::map<std::string, std::string, std::less<>>& config_files) {
    OptionNames names;
    if (argv.empty())
        return names;
    GC_TRY(const auto words, with_configs(argv.subspan(1), config_files));
    GC_TRY(const auto options, split(words));
    for (const SourceOption& option : options) {
        if (option.name == "device") {
            GC_TRY(const auto device, OptionList::parse(option.value, "driver"));
            names.devices.insert(device.get("id"));
        } else if (option.name == "blockdev") {
            GC_TRY(const auto node, OptionList::parse(option.value, "driver"));
            names.backends.insert(node.get("node-name"));
        } else if (option.name == "drive" || option.name == "netdev" || option.name == "chardev" ||
                   option.name == "object") {
            GC_TRY(const auto backend, OptionList::parse(option.value, "type"));
            names.backends.insert(backend.get("id"));
        }
    }
    names.devices.erase("");
    return names;
}

Result<GuideCommandLine> derive_guide_command_line(std::span<const std::string> source_argv,
                                                   const GuideSubstitutes& substitutes) {
    if (source_argv.empty())
        return fail(ErrorKind::usage, "the source's command line is empty");
    GC_TRY(auto words, with_configs(source_argv.subspan(1), substitutes.config_files));
    words.insert(words.end(), substitutes.plugged.begin(), substitutes.plugged.end());
    for (const std::string& argument : words)
        if (argument.find(own_monitor) != std::string::npos)
            return refuse(fmt::format("'{:.80}'", argument), "it names gcctl's own monitor");
    GC_TRY(const auto options, split(words));
    Derivation derivation(substitutes, source_argv[0]);
    GC_CHECK(derivation.survey(options));
    for (const SourceOption& option : options) {
        const Translate translate =
            option.name.empty() ? translate_disk_shorthand : find_rule(option.name)->translate;
        GC_CHECK(translate(derivation, option));
    }
    GC_CHECK(emit_default_memory(derivation));
    emit_own_options(derivation);
    return std::move(derivation.guide);
}

}  // namespace gc::guide
