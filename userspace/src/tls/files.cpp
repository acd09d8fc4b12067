// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls/files.h"

#include <filesystem>
#include <initializer_list>

namespace gc::tls {
namespace {

std::string first_that_exists(std::initializer_list<std::string> paths) {
    for (const std::string& path : paths)
        if (exists(path))
            return path;
    return *paths.begin();
}

}  // namespace

bool exists(const std::string& path) {
    std::error_code ignored;
    return std::filesystem::exists(path, ignored);
}

CertificateFiles find_files(const std::string& directory, Role role) {
    // libvirt's daemons keep the CA beside the directory and the keys below it; its clients may
    // keep all in one directory (pkipath=).
    const std::string d = directory + "/";
    const std::string end = role == Role::server ? "server" : "client";
    return {
        first_that_exists({d + "ca-cert.pem", d + "cacert.pem", d + "../CA/cacert.pem"}),
        first_that_exists({d + "ca-crl.pem", d + "cacrl.pem", d + "../CA/cacrl.pem"}),
        first_that_exists({d + end + "-cert.pem", d + end + "cert.pem"}),
        first_that_exists(
            {d + end + "-key.pem", d + end + "key.pem", d + "private/" + end + "key.pem"}),
    };
}

Result<std::string> find_directory(const std::string& named) {
    if (!named.empty())
        return named;
    for (const char* directory : default_directories)
        if (exists(directory))
            return directory;
    return fail(ErrorKind::unsupported,
                "no TLS credentials: neither {} nor {} exists (name their directory with "
                "--tls-creds DIR, or a file of keys with --tls-psk FILE; docs/operations/tls.md "
                "shows how to make certificates)",
                default_directories[0], default_directories[1]);
}

}  // namespace gc::tls
