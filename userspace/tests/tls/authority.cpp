// SPDX-License-Identifier: GPL-2.0-or-later
#include "authority.h"

#include "tls/gnutls.h"

#include <cstdlib>
#include <ctime>
#include <fstream>
#include <gnutls/abstract.h>
#include <stdexcept>

namespace gc::tls {
namespace {

constexpr std::time_t day = 24 * 60 * 60;

void must(int code) {
    if (code < 0)
        throw std::runtime_error(gnutls_strerror(code));
}

using Certificate = Owned<gnutls_x509_crt_t, &gnutls_x509_crt_deinit>;

Certificate new_certificate() {
    gnutls_x509_crt_t raw = nullptr;
    must(gnutls_x509_crt_init(&raw));
    return Certificate(raw);
}

PrivateKey new_key() {
    gnutls_x509_privkey_t raw = nullptr;
    must(gnutls_x509_privkey_init(&raw));
    PrivateKey key(raw);
    must(gnutls_x509_privkey_generate(raw, GNUTLS_PK_ECDSA,
                                      GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1), 0));
    return key;
}

std::string pem(gnutls_x509_crt_t certificate) {
    Datum text;
    must(gnutls_x509_crt_export2(certificate, GNUTLS_X509_FMT_PEM, text.out()));
    return std::string(text.text());
}

std::string pem(gnutls_x509_privkey_t key) {
    Datum text;
    must(gnutls_x509_privkey_export2(key, GNUTLS_X509_FMT_PEM, text.out()));
    return std::string(text.text());
}

void set_name(gnutls_x509_crt_t certificate, const std::string& name) {
    must(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_ORGANIZATION_NAME, 0, "Example",
                                       7));
    must(gnutls_x509_crt_set_dn_by_oid(certificate, GNUTLS_OID_X520_COMMON_NAME, 0, name.data(),
                                       static_cast<unsigned>(name.size())));
}

void set_serial(gnutls_x509_crt_t certificate) {
    static unsigned char last = 0;
    const unsigned char serial = ++last;
    must(gnutls_x509_crt_set_serial(certificate, &serial, 1));
}

}  // namespace

TemporaryDirectory::TemporaryDirectory() {
    std::string pattern = std::filesystem::temp_directory_path() / "gc-tls-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::string TemporaryDirectory::path(const std::string& name) const {
    return name.empty() ? path_ : path_ / name;
}

void TemporaryDirectory::write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name) << text;
}

struct Authority::State {
    PrivateKey key = new_key();
    Certificate certificate = new_certificate();
};

Authority::Authority(const std::string& name, int valid_days) : state_(std::make_unique<State>()) {
    gnutls_x509_crt_t certificate = state_->certificate.get();
    const std::time_t now = std::time(nullptr);
    must(gnutls_x509_crt_set_version(certificate, 3));
    set_name(certificate, name);
    set_serial(certificate);
    must(gnutls_x509_crt_set_activation_time(certificate, now - 90 * day));
    must(gnutls_x509_crt_set_expiration_time(certificate, now + valid_days * day));
    must(gnutls_x509_crt_set_key(certificate, state_->key.get()));
    must(gnutls_x509_crt_set_basic_constraints(certificate, 1, -1));
    must(
        gnutls_x509_crt_set_key_usage(certificate, GNUTLS_KEY_KEY_CERT_SIGN | GNUTLS_KEY_CRL_SIGN));
    must(gnutls_x509_crt_sign2(certificate, certificate, state_->key.get(), GNUTLS_DIG_SHA256, 0));
    pem_ = pem(certificate);
}

Authority::~Authority() = default;

Issued Authority::issue(const Subject& subject) const {
    const Certificate owner = new_certificate();
    const PrivateKey key = new_key();
    gnutls_x509_crt_t certificate = owner.get();
    const std::time_t now = std::time(nullptr);
    must(gnutls_x509_crt_set_version(certificate, 3));
    set_name(certificate, subject.common_name);
    set_serial(certificate);
    must(gnutls_x509_crt_set_activation_time(certificate, now + subject.valid_from_days * day));
    must(gnutls_x509_crt_set_expiration_time(certificate, now + subject.valid_days * day));
    must(gnutls_x509_crt_set_key(certificate, key.get()));
    must(gnutls_x509_crt_set_basic_constraints(certificate, subject.authority ? 1 : 0, -1));
    must(gnutls_x509_crt_set_key_usage(
        certificate, subject.usage != 0 ? subject.usage : GNUTLS_KEY_DIGITAL_SIGNATURE));
    if (subject.purpose != Purpose::none)
        must(gnutls_x509_crt_set_key_purpose_oid(certificate,
                                                 subject.purpose == Purpose::server
                                                     ? GNUTLS_KP_TLS_WWW_SERVER
                                                     : GNUTLS_KP_TLS_WWW_CLIENT,
                                                 0));
    for (const std::string& name : subject.dns_names)
        must(gnutls_x509_crt_set_subject_alt_name(certificate, GNUTLS_SAN_DNSNAME, name.data(),
                                                  static_cast<unsigned>(name.size()),
                                                  GNUTLS_FSAN_APPEND));
    must(gnutls_x509_crt_sign2(certificate, state_->certificate.get(), state_->key.get(),
                               GNUTLS_DIG_SHA256, 0));
    return {pem(certificate), pem(key.get())};
}

std::string Authority::revoke(const std::vector<std::string>& certificates) const {
    gnutls_x509_crl_t list = nullptr;
    must(gnutls_x509_crl_init(&list));
    const Owned<gnutls_x509_crl_t, &gnutls_x509_crl_deinit> owner(list);
    const std::time_t now = std::time(nullptr);
    for (const std::string& text : certificates) {
        const Certificate certificate = new_certificate();
        const gnutls_datum_t data = datum_of(text);
        must(gnutls_x509_crt_import(certificate.get(), &data, GNUTLS_X509_FMT_PEM));
        must(gnutls_x509_crl_set_crt(list, certificate.get(), now - day));
    }
    must(gnutls_x509_crl_set_version(list, 2));
    must(gnutls_x509_crl_set_this_update(list, now - day));
    must(gnutls_x509_crl_set_next_update(list, now + 30 * day));
    must(gnutls_x509_crl_set_number(list, "\1", 1));
    must(gnutls_x509_crl_sign2(list, state_->certificate.get(), state_->key.get(),
                               GNUTLS_DIG_SHA256, 0));
    Datum text;
    must(gnutls_x509_crl_export2(list, GNUTLS_X509_FMT_PEM, text.out()));
    return std::string(text.text());
}

void write_role(const TemporaryDirectory& directory, const Authority& authority,
                const std::string& role, const Issued& issued) {
    directory.write("ca-cert.pem", authority.certificate());
    directory.write(role + "-cert.pem", issued.certificate);
    directory.write(role + "-key.pem", issued.key);
}

}  // namespace gc::tls
