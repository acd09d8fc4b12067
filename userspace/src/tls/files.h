// SPDX-License-Identifier: GPL-2.0-or-later
// Where certificates and keys are: the file names of QEMU and of libvirt.
#pragma once

#include "tls/credentials.h"

#include <string>

namespace gc::tls {

/// Also false if this process may not look.
bool exists(const std::string& path);

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

}  // namespace gc::tls
