// SPDX-License-Identifier: GPL-2.0-or-later
// An object file with a tc program that follows the contract of gc_policy.h, and the loaded
// program.
#pragma once

#include "util/error.h"
#include "util/fd.h"

#include <bpf/libbpf.h>
#include <memory>
#include <string>
#include <string_view>

namespace gc::policy {

class Object {
  public:
    /// Opens an object and checks it against the contract, without loading it.
    /// @param path a file, or empty for gcctl's own program
    /// Errors: unsupported, if it is not a BPF object or breaks the contract.
    static Result<Object> open(const std::string& path);
    /// The same for the bytes of a file. They are tried in a child process first, because libbpf
    /// crashes on some malformed objects: that is an error `unsupported`, too.
    /// @param path where they come from, for names and messages
    static Result<Object> open_bytes(std::string_view bytes, const std::string& path);

    /// Loads the object into the kernel. Errors: unsupported, if not permitted, or if the verifier
    /// rejects it; the message has the end of its log.
    Result<void> load();

    [[nodiscard]] int program() const;
    /// @return the map's descriptor, or -1 if the object has no such map
    [[nodiscard]] int map(const char* name) const;

  private:
    struct Close {
        void operator()(bpf_object* object) const { ::bpf_object__close(object); }
    };
    Object(bpf_object* object, std::string name) : object_(object), name_(std::move(name)) {}
    static Result<Object> parse(std::string_view bytes, const std::string& stem,
                                const std::string& name);
    Result<void> check();

    std::unique_ptr<bpf_object, Close> object_;
    std::string name_;
};

}  // namespace gc::policy
