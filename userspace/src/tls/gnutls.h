// SPDX-License-Identifier: GPL-2.0-or-later
// Owners for what GnuTLS allocates. Only for the sources of this folder: <gnutls/gnutls.h> is
// large.
#pragma once

#include "tls/credentials.h"
#include "util/error.h"

#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <memory>
#include <string_view>
#include <type_traits>
#include <vector>

namespace gc::tls {

template <auto deinit> struct Deinit {
    template <typename T> void operator()(T* object) const { deinit(object); }
};
template <typename Handle, auto deinit>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Deinit<deinit>>;

using SessionHandle = Owned<gnutls_session_t, &gnutls_deinit>;
using X509Credentials =
    Owned<gnutls_certificate_credentials_t, &gnutls_certificate_free_credentials>;
using PskServer = Owned<gnutls_psk_server_credentials_t, &gnutls_psk_free_server_credentials>;
using PskClient = Owned<gnutls_psk_client_credentials_t, &gnutls_psk_free_client_credentials>;
using PrivateKey = Owned<gnutls_x509_privkey_t, &gnutls_x509_privkey_deinit>;

/// Memory that GnuTLS allocated, such as a printed name.
class Datum {
  public:
    Datum() = default;
    Datum(const Datum&) = delete;
    Datum& operator=(const Datum&) = delete;
    ~Datum() { gnutls_free(datum_.data); }

    [[nodiscard]] gnutls_datum_t* out() { return &datum_; }
    [[nodiscard]] std::string_view text() const {
        return {reinterpret_cast<const char*>(datum_.data), datum_.size};
    }

  private:
    gnutls_datum_t datum_{};
};

/// Key material, wiped when it goes.
class Secret {
  public:
    Secret() = default;
    explicit Secret(std::span<const std::byte> bytes) : bytes_(bytes.begin(), bytes.end()) {}
    Secret(Secret&&) noexcept = default;
    Secret& operator=(Secret&&) noexcept = default;
    Secret(const Secret&) = delete;
    Secret& operator=(const Secret&) = delete;
    ~Secret() { gnutls_memset(bytes_.data(), 0, bytes_.size()); }

    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }
    [[nodiscard]] gnutls_datum_t datum() const {
        auto* data = reinterpret_cast<const unsigned char*>(bytes_.data());
        return {const_cast<unsigned char*>(data), static_cast<unsigned>(bytes_.size())};
    }

  private:
    std::vector<std::byte> bytes_;
};

struct PskEntry {
    std::string identity;
    Secret key;
};

struct CredentialsState {
    X509Credentials x509;       ///< null with pre-shared keys
    std::vector<PskEntry> psk;  ///< a server accepts each; a client uses the first
    std::string source;         ///< names the file in messages: "/etc/pki/qemu/ca-cert.pem"
    std::string hostname;       ///< Options::hostname
    std::vector<std::string> authz;
    std::string description;
    std::optional<std::time_t> valid_until;
};

inline gnutls_datum_t datum_of(std::string_view text) {
    auto* data = reinterpret_cast<const unsigned char*>(text.data());
    return {const_cast<unsigned char*>(data), static_cast<unsigned>(text.size())};
}

/// The subject of a certificate in the form that QEMU's authz and libvirt's tls_allowed_dn_list
/// match: both use gnutls_x509_crt_get_dn(), which keeps the form of GnuTLS before 3.5.6.
std::string distinguished_name(gnutls_x509_crt_t certificate);

/// "2027-01-31 12:00:00 UTC"
std::string utc(std::time_t time);

}  // namespace gc::tls
