// SPDX-License-Identifier: GPL-2.0-or-later
// Certificates in files: whether they are fit for a role.
#pragma once

#include "tls/files.h"
#include "tls/gnutls.h"

#include <ctime>
#include <string>

namespace gc::tls {

struct LoadedCertificates {
    X509Credentials credentials;
    std::string subject;
    std::time_t valid_until = 0;
};

/// Loads and checks; see Credentials::load().
Result<LoadedCertificates> load_certificates(const CertificateFiles& files, Role role);

}  // namespace gc::tls
