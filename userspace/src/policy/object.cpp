// SPDX-License-Identifier: GPL-2.0-or-later
#include "policy/object.h"

#include "gc_policy.h"
#include "policy/trial.h"
#include "shape.skel.h"
#include "util/whole_file.h"

#include <algorithm>
#include <array>
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <linux/bpf.h>
#include <span>
#include <vector>

namespace gc::policy {
namespace {

constexpr const char* contract = "gc_policy.h describes what a policy's object must contain";

/// gcctl's own has 30 KiB.
constexpr std::size_t max_object_bytes = std::size_t{16} << 20;

/// The last message of libbpf, which explains what its error number does not.
thread_local std::string last_message;

int listen(libbpf_print_level level, const char* format, va_list arguments) {
    if (level == LIBBPF_WARN) {
        std::array<char, 512> line{};
        std::vsnprintf(line.data(), line.size(), format, arguments);
        last_message = line.data();
        while (!last_message.empty() && last_message.back() == '\n')
            last_message.pop_back();
    }
    return 0;
}

struct MapRule {
    const char* name;
    bpf_map_type type;
    const char* type_name;
    std::uint32_t entries;
    std::uint32_t value_size;
    bool needed;
};

constexpr std::array<MapRule, 3> map_rules{{
    {"gc_config", BPF_MAP_TYPE_ARRAY, "ARRAY", 1, sizeof(gc_policy_config), true},
    {"gc_stats", BPF_MAP_TYPE_PERCPU_ARRAY, "PERCPU_ARRAY", GC_COUNTERS, sizeof(gc_class_stats),
     true},
    {"gc_rates", BPF_MAP_TYPE_ARRAY, "ARRAY", GC_COUNTERS, sizeof(std::uint64_t), false},
}};

std::string type_name(bpf_map_type type) {
    const char* name = ::libbpf_bpf_map_type_str(type);
    return name == nullptr ? fmt::format("type {}", static_cast<int>(type)) : name;
}

Result<void> check_map(const std::string& object, const bpf_map* map, const MapRule& rule) {
    const auto breach = [&](std::string_view what, const auto& expected, const auto& found) {
        return fail(ErrorKind::unsupported, "{}: map {}: expected {} {}, found {}; {}", object,
                    rule.name, what, expected, found, contract);
    };
    if (map == nullptr) {
        if (!rule.needed)
            return {};
        return fail(ErrorKind::unsupported,
                    "{}: expected a map {} ({} with {} entries), found none; {}", object, rule.name,
                    rule.type_name, rule.entries, contract);
    }
    if (::bpf_map__type(map) != rule.type)
        return breach("type", rule.type_name, type_name(::bpf_map__type(map)));
    if (::bpf_map__max_entries(map) != rule.entries)
        return breach("max_entries", rule.entries, ::bpf_map__max_entries(map));
    if (::bpf_map__key_size(map) != sizeof(std::uint32_t))
        return breach("a key size of", sizeof(std::uint32_t), ::bpf_map__key_size(map));
    if (::bpf_map__value_size(map) != rule.value_size)
        return breach("a value size of", rule.value_size, ::bpf_map__value_size(map));
    return {};
}

/// Finds a __u32 in the object's read-only data, which is writable until the object is loaded.
/// @return nullptr if there is none
std::uint32_t* find_constant(const bpf_object* object, std::string_view name) {
    const bpf_map* map = nullptr;
    std::span<std::byte> data;
    bpf_object__for_each_map(map, object) {
        std::size_t size = 0;
        // The constness is newer than libbpf's skeletons, which write through this pointer, too.
        auto* initial = static_cast<std::byte*>(
            const_cast<void*>(::bpf_map__initial_value(const_cast<bpf_map*>(map), &size)));
        if (initial != nullptr && std::string_view(::bpf_map__name(map)).ends_with(".rodata"))
            data = std::span(initial, size);
    }
    const btf* types = ::bpf_object__btf(object);
    if (types == nullptr)
        return nullptr;
    const int id = ::btf__find_by_name_kind(types, ".rodata", BTF_KIND_DATASEC);
    if (id < 0)
        return nullptr;
    const btf_type* section = ::btf__type_by_id(types, static_cast<std::uint32_t>(id));
    const std::span variables(::btf_var_secinfos(section), ::btf_vlen(section));
    for (const btf_var_secinfo& variable : variables) {
        const btf_type* type = ::btf__type_by_id(types, variable.type);
        // libbpf before 1.3 does not check the numbers in BTF.
        if (type == nullptr || variable.size != sizeof(std::uint32_t) ||
            variable.offset % alignof(std::uint32_t) != 0 ||
            std::size_t{variable.offset} + variable.size > data.size())
            continue;
        const char* found = ::btf__name_by_offset(types, type->name_off);
        if (found != nullptr && name == found)
            return reinterpret_cast<std::uint32_t*>(&data[variable.offset]);
    }
    return nullptr;
}

Result<void> check_program(const std::string& object, bpf_object* opened) {
    unsigned programs = 0;
    bpf_program* program = nullptr;
    bpf_object__for_each_program(program, opened) {
        ++programs;
        if (::bpf_program__type(program) != BPF_PROG_TYPE_SCHED_CLS)
            return fail(ErrorKind::unsupported,
                        "{}: program {}: expected one in SEC(\"tc\"), found SEC(\"{}\"); {}",
                        object, ::bpf_program__name(program), ::bpf_program__section_name(program),
                        contract);
    }
    if (programs != 1)
        return fail(ErrorKind::unsupported,
                    "{}: expected one program, in SEC(\"tc\"), found {}; {}", object, programs,
                    contract);
    return {};
}

/// The end of the verifier's log: the rejected instruction and the reason.
std::string tail_of(const std::vector<char>& log) {
    std::string text(log.data(), ::strnlen(log.data(), log.size()));
    // Statistics follow the reason.
    if (const auto counts = text.rfind("processed "); counts != std::string::npos)
        text.resize(counts);
    while (!text.empty() && text.back() == '\n')
        text.pop_back();
    constexpr int lines = 8;
    std::size_t start = text.size();
    for (int line = 0; line < lines && start != std::string::npos && start != 0; ++line)
        start = text.rfind('\n', start - 1);
    return start == std::string::npos || start == 0 ? text : text.substr(start + 1);
}

}  // namespace

Result<Object> Object::open(const std::string& path) {
    if (path.empty()) {
        std::size_t size = 0;
        const void* own = ::shape::elf_bytes(&size);
        return parse({static_cast<const char*>(own), size}, "shape", "gcctl's own program");
    }
    auto bytes = read_whole_file(path, max_object_bytes);
    if (!bytes && (bytes.error().error_number == ENOENT || bytes.error().error_number == EACCES))
        return fail(ErrorKind::usage, "{}: {}", path, std::strerror(bytes.error().error_number));
    if (!bytes)
        return fail(ErrorKind::unsupported, "{}", bytes.error().message);
    return open_bytes(*bytes, path);
}

Result<Object> Object::open_bytes(std::string_view bytes, const std::string& path) {
    // As libbpf names what it opens by a path: bpftool shows it with the maps of constants.
    std::string stem = std::filesystem::path(path).filename().string();
    stem.resize(std::min(stem.find('.'), stem.size()));
    GC_CHECK(try_in_child(path, [&] { (void)parse(bytes, stem, path); }));
    return parse(bytes, stem, path);
}

Result<Object> Object::parse(std::string_view bytes, const std::string& stem,
                             const std::string& name) {
    ::libbpf_set_print(listen);
    last_message.clear();
    LIBBPF_OPTS(bpf_object_open_opts, options, .object_name = stem.c_str());
    bpf_object* opened = ::bpf_object__open_mem(bytes.data(), bytes.size(), &options);
    const int saved = errno;
    Object object(opened, name);
    if (opened == nullptr)
        return fail(ErrorKind::unsupported,
                    "{} is not a BPF object (clang -O2 -g --target=bpf): {}", name,
                    last_message.empty() ? std::strerror(saved) : last_message);
    GC_CHECK(object.check());
    return object;
}

Result<void> Object::check() {
    GC_CHECK(check_program(name_, object_.get()));
    const std::uint32_t* version = find_constant(object_.get(), "gc_policy_version");
    if (version == nullptr)
        return fail(ErrorKind::unsupported,
                    "{}: expected 'const volatile __u32 gc_policy_version = GC_POLICY_VERSION', "
                    "found none (is BTF missing? compile with -g); {}",
                    name_, contract);
    if (*version != GC_POLICY_VERSION)
        return fail(ErrorKind::unsupported,
                    "{}: gc_policy_version: expected {}, found {}; compile it with this gcctl's "
                    "gc_policy.h",
                    name_, GC_POLICY_VERSION, *version);
    for (const MapRule& rule : map_rules)
        GC_CHECK(check_map(name_, ::bpf_object__find_map_by_name(object_.get(), rule.name), rule));
    return {};
}

Result<void> Object::load() {
    bpf_program* program = ::bpf_object__next_program(object_.get(), nullptr);
    constexpr std::size_t log_size = 4UL << 20;
    std::vector<char> log(log_size);
    ::bpf_program__set_log_buf(program, log.data(), log.size());
    if (std::uint32_t* cpus = find_constant(object_.get(), "gc_cpus"))
        *cpus = static_cast<std::uint32_t>(::libbpf_num_possible_cpus());
    ::libbpf_set_print(listen);
    last_message.clear();
    const int error = -::bpf_object__load(object_.get());
    ::bpf_program__set_log_buf(program, nullptr, 0);
    if (error == 0)
        return {};
    if (log[0] != '\0')
        return fail(ErrorKind::unsupported, "{}: rejected by the kernel's verifier:\n{}", name_,
                    tail_of(log));
    if (error == EPERM)
        return fail(
            ErrorKind::unsupported,
            "no permission to load a BPF program; run gcctl with sudo (CAP_BPF and CAP_NET_ADMIN)");
    return fail(ErrorKind::unsupported, "{}: rejected by the kernel: {}{}{}", name_,
                std::strerror(error), last_message.empty() ? "" : ": ", last_message);
}

int Object::program() const {
    return ::bpf_program__fd(::bpf_object__next_program(object_.get(), nullptr));
}

int Object::map(const char* name) const {
    const bpf_map* map = ::bpf_object__find_map_by_name(object_.get(), name);
    return map == nullptr ? -1 : ::bpf_map__fd(map);
}

}  // namespace gc::policy
