// SPDX-License-Identifier: GPL-2.0-or-later
#include "tls/certificates.h"

#include "tls/files.h"
#include "util/whole_file.h"

#include <algorithm>
#include <ctime>

namespace gc::tls {
namespace {

/// Certificates, or revocation lists, of a PEM file.
template <typename Handle, auto deinit> class List {
  public:
    List() = default;
    List(List&& other) noexcept : items_(std::exchange(other.items_, {})) {}
    List(const List&) = delete;
    List& operator=(const List&) = delete;
    List& operator=(List&&) = delete;
    ~List() {
        for (Handle item : items_)
            deinit(item);
    }

    /// Takes over an array that GnuTLS allocated.
    void take(Handle* items, unsigned count) {
        items_.assign(items, items + count);
        gnutls_free(items);
    }
    [[nodiscard]] Handle* data() { return items_.data(); }
    [[nodiscard]] unsigned size() const { return static_cast<unsigned>(items_.size()); }
    [[nodiscard]] bool empty() const { return items_.empty(); }
    [[nodiscard]] const std::vector<Handle>& items() const { return items_; }

  private:
    std::vector<Handle> items_;
};
using Certificates = List<gnutls_x509_crt_t, &gnutls_x509_crt_deinit>;
using RevocationLists = List<gnutls_x509_crl_t, &gnutls_x509_crl_deinit>;

constexpr std::string_view how_to_make = "docs/operations/tls.md shows how to make certificates";

template <typename... Args>
Unexpected unfit(const std::string& path, fmt::format_string<Args...> format, Args&&... args) {
    return fail(ErrorKind::unsupported, "{}: {}", path,
                fmt::vformat(format, fmt::make_format_args(args...)));
}

Result<std::string> read_pem(const std::string& path) {
    auto text = read_whole_file(path);
    if (!text)
        return fail(ErrorKind::unsupported, "TLS credentials: {} ({})", text.error().message,
                    how_to_make);
    return text;
}

Result<Certificates> import_certificates(const std::string& path) {
    GC_TRY(const std::string text, read_pem(path));
    const gnutls_datum_t data = datum_of(text);
    gnutls_x509_crt_t* list = nullptr;
    unsigned count = 0;
    const int code = gnutls_x509_crt_list_import2(&list, &count, &data, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0)
        return unfit(path, "expected certificates in PEM form: {}", gnutls_strerror(code));
    Certificates certificates;
    certificates.take(list, count);
    if (certificates.empty())
        return unfit(path, "contains no certificate");
    return certificates;
}

Result<RevocationLists> import_revocations(const std::string& path) {
    RevocationLists lists;
    if (!exists(path))
        return lists;
    GC_TRY(const std::string text, read_pem(path));
    const gnutls_datum_t data = datum_of(text);
    gnutls_x509_crl_t* list = nullptr;
    unsigned count = 0;
    const int code = gnutls_x509_crl_list_import2(&list, &count, &data, GNUTLS_X509_FMT_PEM, 0);
    if (code < 0)
        return unfit(path, "expected a revocation list in PEM form: {}", gnutls_strerror(code));
    lists.take(list, count);
    return lists;
}

Result<PrivateKey> import_key(const std::string& path) {
    GC_TRY(std::string text, read_pem(path));
    gnutls_x509_privkey_t raw = nullptr;
    if (const int code = gnutls_x509_privkey_init(&raw); code < 0)
        return unfit(path, "{}", gnutls_strerror(code));
    PrivateKey key(raw);
    const gnutls_datum_t data = datum_of(text);
    const int code = gnutls_x509_privkey_import2(raw, &data, GNUTLS_X509_FMT_PEM, nullptr, 0);
    gnutls_memset(text.data(), 0, text.size());
    if (code == GNUTLS_E_DECRYPTION_FAILED)
        return unfit(path, "the key is encrypted (expected a key without a passphrase)");
    if (code < 0)
        return unfit(path, "expected a private key in PEM form: {}", gnutls_strerror(code));
    return key;
}

Result<void> check_times(gnutls_x509_crt_t certificate, const std::string& path) {
    const std::time_t now = std::time(nullptr);
    const std::time_t begin = gnutls_x509_crt_get_activation_time(certificate);
    const std::time_t end = gnutls_x509_crt_get_expiration_time(certificate);
    const std::string name = distinguished_name(certificate);
    if (end < now)
        return unfit(path, "the certificate of {} expired on {}; renew it", name, utc(end));
    if (begin > now)
        return unfit(path,
                     "the certificate of {} is valid from {} on, and it is {}; check the clock",
                     name, utc(begin), utc(now));
    return {};
}

Result<void> check_authority(gnutls_x509_crt_t certificate, const std::string& path) {
    GC_CHECK(check_times(certificate, path));
    // 0 is "no CA", an error is a certificate without basic constraints: also none of a CA.
    if (gnutls_x509_crt_get_basic_constraints(certificate, nullptr, nullptr, nullptr) <= 0)
        return unfit(path, "the certificate of {} is not one of a CA",
                     distinguished_name(certificate));
    return {};
}

/// True if the certificate may be used by a TLS server or client: it names the purpose, "any", or
/// none at all.
bool has_purpose(gnutls_x509_crt_t certificate, const char* wanted) {
    for (unsigned index = 0;; ++index) {
        std::array<char, 128> oid{};
        std::size_t size = oid.size();
        const int code =
            gnutls_x509_crt_get_key_purpose_oid(certificate, index, oid.data(), &size, nullptr);
        if (code == GNUTLS_E_REQUESTED_DATA_NOT_AVAILABLE)
            return index == 0;
        if (code == GNUTLS_E_SHORT_MEMORY_BUFFER)
            continue;  // longer than any purpose that is looked for
        if (code < 0)
            return false;
        const std::string_view found(oid.data());
        if (found == wanted || found == GNUTLS_KP_ANY)
            return true;
    }
}

Result<void> check_own(gnutls_x509_crt_t certificate, const std::string& path, Role role) {
    GC_CHECK(check_times(certificate, path));
    const std::string name = distinguished_name(certificate);
    if (gnutls_x509_crt_get_basic_constraints(certificate, nullptr, nullptr, nullptr) > 0)
        return unfit(path, "the certificate of {} is one of a CA (expected one of a host)", name);
    unsigned usage = 0;
    // TLS 1.3 only signs: key encipherment, which QEMU asks for too, is not needed.
    if (gnutls_x509_crt_get_key_usage(certificate, &usage, nullptr) >= 0 &&
        (usage & GNUTLS_KEY_DIGITAL_SIGNATURE) == 0)
        return unfit(path,
                     "the certificate of {} does not permit digital signatures "
                     "(certtool: signing_key)",
                     name);
    const bool server = role == Role::server;
    if (!has_purpose(certificate, server ? GNUTLS_KP_TLS_WWW_SERVER : GNUTLS_KP_TLS_WWW_CLIENT))
        return unfit(path, "the certificate of {} is not made for a TLS {} (certtool: {})", name,
                     server ? "server" : "client", server ? "tls_www_server" : "tls_www_client");
    return {};
}

Result<void> check_chain(Certificates& own, Certificates& authorities, RevocationLists& revoked,
                         const CertificateFiles& files) {
    unsigned status = 0;
    const int code =
        gnutls_x509_crt_list_verify(own.data(), own.size(), authorities.data(), authorities.size(),
                                    revoked.data(), revoked.size(), 0, &status);
    if (code < 0)
        return unfit(files.certificate, "cannot verify: {}", gnutls_strerror(code));
    if (status == 0)
        return {};
    // A signature that does not verify is that of another CA of the same name.
    if ((status & (GNUTLS_CERT_SIGNER_NOT_FOUND | GNUTLS_CERT_SIGNATURE_FAILURE)) != 0)
        return unfit(files.certificate, "the certificate is not signed by a CA in {}", files.ca);
    Datum text;
    gnutls_certificate_verification_status_print(status, GNUTLS_CRT_X509, text.out(), 0);
    return unfit(files.certificate, "the certificate does not verify with {}: {}", files.ca,
                 text.text());
}

}  // namespace

std::string distinguished_name(gnutls_x509_crt_t certificate) {
    Datum name;
    if (gnutls_x509_crt_get_dn3(certificate, name.out(), GNUTLS_X509_DN_FLAG_COMPAT) < 0)
        return {};
    return std::string(name.text());
}

std::string utc(std::time_t time) {
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    std::array<char, 32> text{};
    std::strftime(text.data(), text.size(), "%F %T UTC", &parts);
    return text.data();
}

Result<LoadedCertificates> load_certificates(const CertificateFiles& files, Role role) {
    GC_TRY(Certificates authorities, import_certificates(files.ca));
    GC_TRY(RevocationLists revoked, import_revocations(files.crl));
    GC_TRY(Certificates own, import_certificates(files.certificate));
    GC_TRY(const PrivateKey key, import_key(files.key));
    LoadedCertificates loaded;
    loaded.subject = distinguished_name(*own.data());
    loaded.valid_until = gnutls_x509_crt_get_expiration_time(*own.data());
    for (gnutls_x509_crt_t authority : authorities.items()) {
        GC_CHECK(check_authority(authority, files.ca));
        loaded.valid_until =
            std::min(loaded.valid_until, gnutls_x509_crt_get_expiration_time(authority));
    }
    GC_CHECK(check_own(*own.data(), files.certificate, role));
    GC_CHECK(check_chain(own, authorities, revoked, files));

    gnutls_certificate_credentials_t credentials = nullptr;
    int code = gnutls_certificate_allocate_credentials(&credentials);
    loaded.credentials.reset(credentials);
    if (code >= 0)
        code = gnutls_certificate_set_x509_trust(credentials, authorities.data(),
                                                 static_cast<int>(authorities.size()));
    if (code >= 0 && !revoked.empty())
        code = gnutls_certificate_set_x509_crl(credentials, revoked.data(),
                                               static_cast<int>(revoked.size()));
    if (code >= 0)
        code = gnutls_certificate_set_x509_key(credentials, own.data(),
                                               static_cast<int>(own.size()), key.get());
    if (code == GNUTLS_E_CERTIFICATE_KEY_MISMATCH)
        return unfit(files.key, "this is not the key of the certificate in {}", files.certificate);
    if (code < 0)
        return unfit(files.certificate, "cannot be used: {}", gnutls_strerror(code));
    return loaded;
}

}  // namespace gc::tls
