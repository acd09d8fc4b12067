// SPDX-License-Identifier: GPL-2.0-or-later
// Certificates for tests, made as certtool(1) makes them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

namespace gc::tls {

/// A directory that goes with its content.
class TemporaryDirectory {
  public:
    TemporaryDirectory();
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory();

    [[nodiscard]] std::string path(const std::string& name = {}) const;
    void write(const std::string& name, const std::string& text) const;

  private:
    std::filesystem::path path_;
};

enum class Purpose { none, server, client };

struct Subject {
    std::string common_name = {};
    Purpose purpose = Purpose::none;
    std::vector<std::string> dns_names = {};
    int valid_from_days = -1;  ///< from now
    int valid_days = 30;       ///< from now
    bool authority = false;
    unsigned usage = 0;  ///< 0 means digital signature
};

struct Issued {
    std::string certificate;  ///< PEM
    std::string key;
};

/// A CA with a key of its own.
class Authority {
  public:
    explicit Authority(const std::string& name, int valid_days = 30);
    ~Authority();

    [[nodiscard]] const std::string& certificate() const { return pem_; }
    [[nodiscard]] Issued issue(const Subject& subject) const;
    /// A revocation list that names these certificates.
    [[nodiscard]] std::string revoke(const std::vector<std::string>& certificates) const;

  private:
    struct State;
    std::unique_ptr<State> state_;
    std::string pem_;
};

/// Writes the files of one role with QEMU's names.
void write_role(const TemporaryDirectory& directory, const Authority& authority,
                const std::string& role, const Issued& issued);

}  // namespace gc::tls
