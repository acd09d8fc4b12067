// SPDX-License-Identifier: GPL-2.0-or-later
// What encryption needs. Migrations also work without certificates, with keys or over ssh, and
// without kernel TLS, so these only warn.
#include "doctor/checks.h"
#include "tls/credentials.h"
#include "tls/files.h"

#include <array>
#include <ctime>
#include <linux/capability.h>
#include <sys/stat.h>

namespace gc::doctor {
namespace {

constexpr std::time_t soon = std::time_t{30} * 24 * 60 * 60;

Check doubtful(std::string found, std::string remedy) {
    return {"tls-credentials", Verdict::warning, std::move(found), std::move(remedy)};
}

std::optional<std::string> default_directory(const Host& host) {
    for (const char* directory : tls::default_directories)
        if (host.exists(directory))
            return directory;
    return std::nullopt;
}

std::string day(std::time_t time) {
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    std::array<char, 16> text{};
    std::strftime(text.data(), text.size(), "%F", &parts);
    return text.data();
}

bool everybody_reads(const std::string& path) {
    struct stat status {};
    return ::stat(path.c_str(), &status) == 0 && (status.st_mode & S_IROTH) != 0;
}

/// The end of the credentials' validity. Errors: as of tls::Credentials::load(), and a key that
/// everybody can read.
Result<std::time_t> valid_until(const std::string& directory, tls::Role role) {
    tls::Options options;
    options.creds_dir = directory;
    GC_TRY(const auto credentials, tls::Credentials::load(options, role));
    const std::string key = tls::find_files(directory, role).key;
    if (everybody_reads(key))
        return fail(ErrorKind::unsupported, "{}: every user can read this key (chmod o-r {})", key,
                    key);
    return credentials.valid_until().value_or(0);
}

}  // namespace

Check check_tls_credentials(const Host& host, Role role) {
    const auto directory = default_directory(host);
    if (!directory)
        return doubtful(fmt::format("neither {} nor {} exists", tls::default_directories[0],
                                    tls::default_directories[1]),
                        "make certificates (docs/operations/tls.md), or use --tls-psk, or migrate "
                        "with --to ssh://");
    std::time_t end = 0;
    for (const auto& [wanted, except] : {std::pair(tls::Role::client, Role::destination),
                                         std::pair(tls::Role::server, Role::source)}) {
        if (role == except)
            continue;
        const auto until = valid_until(host.path(*directory), wanted);
        if (!until)
            return doubtful(until.error().message, "docs/operations/tls.md");
        end = end == 0 ? *until : std::min(end, *until);
    }
    const std::string found = fmt::format("{}, valid until {}", *directory, day(end));
    if (end < std::time(nullptr) + soon)
        return doubtful(found, "renew the certificate (docs/operations/tls.md)");
    return {"tls-credentials", Verdict::ok, found, ""};
}

Check check_kernel_tls(const Host& host) {
    constexpr const char* name = "kernel-tls";
    if (host.exists("/sys/module/tls"))
        return {name, Verdict::ok, "loaded: the kernel encrypts what is sent", ""};
    if (!host.has_module("tls"))
        return {name, Verdict::warning, "the kernel has no module tls: gcctl encrypts itself",
                "use a kernel with CONFIG_TLS"};
    // The kernel loads it at the request of a process that has the capability.
    if (host.has_capability(CAP_NET_ADMIN))
        return {name, Verdict::ok, "the module tls will be loaded when it is needed", ""};
    return {name, Verdict::warning, "the module tls is not loaded: gcctl encrypts itself",
            "modprobe tls"};
}

}  // namespace gc::doctor
