// SPDX-License-Identifier: GPL-2.0-or-later
// Certificates in files: where they are, and whether they are fit for a role.
#pragma once

#include "tls/gnutls.h"

#include <string>
#include <vector>

namespace gc::tls {

struct CertificateFiles {
    std::string ca;
    std::string crl;  ///< may not exist
    std::string certificate;
    std::string key;
};

/// The files of a role in a directory that has QEMU's or libvirt's names. A file that does not
/// exist has QEMU's name. Never fails.
CertificateFiles find_files(const std::string& directory, Role role);

/// The directory to use. Errors: unsupported, if none is named and no default one exists.
Result<std::string> find_directory(const std::string& named);

struct LoadedCertificates {
    X509Credentials credentials;
    std::string subject;
    std::time_t valid_until = 0;
};

/// Loads and checks; see Credentials::load().
Result<LoadedCertificates> load_certificates(const CertificateFiles& files, Role role);

}  // namespace gc::tls
