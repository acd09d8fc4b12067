// SPDX-License-Identifier: GPL-2.0-or-later
#include "libvirt/library.h"

#include <dlfcn.h>

namespace gc::libvirt {
namespace {

Unexpected not_there() {
    const char* reason = ::dlerror();  // NOLINT(concurrency-mt-unsafe): glibc's is per thread
    return fail(ErrorKind::unsupported,
                "--connect needs libvirt's client libraries, libvirt.so.0 and libvirt-qemu.so.0: "
                "{}; install libvirt0 (Debian, Ubuntu) or libvirt-libs (Fedora, RHEL)",
                reason == nullptr ? "not found" : reason);
}

/// Never closed: libvirt leaves threads and handlers behind.
Result<void*> open(const char* name) {
    void* library = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
    return library == nullptr ? Result<void*>(not_there()) : library;
}

template <typename Function>
Result<void> find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(::dlsym(library, name));
    return function == nullptr ? Result<void>(not_there()) : Result<void>{};
}

/// Errors are returned; libvirt would print them as well.
void ignore(void* /*data*/, virErrorPtr /*error*/) {}

Result<Library> load_now() {
    Library library;
    GC_TRY(void* libvirt, open("libvirt.so.0"));
    GC_TRY(void* qemu, open("libvirt-qemu.so.0"));
#define GC_FIND(name) GC_CHECK(find(libvirt, #name, library.name));
    GC_LIBVIRT(GC_FIND)
#undef GC_FIND
#define GC_FIND(name) GC_CHECK(find(qemu, #name, library.name));
    GC_LIBVIRT_QEMU(GC_FIND)
#undef GC_FIND
    library.virSetErrorFunc(nullptr, ignore);
    return library;
}

}  // namespace

Result<const Library*> Library::load() {
    static const Result<Library> loaded = load_now();
    if (!loaded)
        return Unexpected(loaded.error());
    return &*loaded;
}

Unexpected Library::failed(ErrorKind kind, std::string_view what) const {
    const virError* error = virGetLastError();
    return fail(kind, "libvirt: {}: {}", what,
                error == nullptr || error->message == nullptr ? "unknown error" : error->message);
}

}  // namespace gc::libvirt
