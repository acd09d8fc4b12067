// SPDX-License-Identifier: GPL-2.0-or-later
// libvirt's client libraries, loaded when they are needed: gcctl also runs where they are not
// installed. For the files of this folder only.
#pragma once

#include "util/error.h"

#include <libvirt/libvirt-qemu.h>
#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

// Every function that is used, of libvirt.so.0.
#define GC_LIBVIRT(X)                                                                              \
    X(virConnectClose)                                                                             \
    X(virConnectCompareCPU)                                                                        \
    X(virConnectCompareHypervisorCPU)                                                              \
    X(virConnectDomainEventDeregisterAny)                                                          \
    X(virConnectDomainEventRegisterAny)                                                            \
    X(virConnectGetCapabilities)                                                                   \
    X(virConnectGetType)                                                                           \
    X(virConnectGetVersion)                                                                        \
    X(virConnectListAllDomains)                                                                    \
    X(virConnectOpen)                                                                              \
    X(virDomainAbortJob)                                                                           \
    X(virDomainFree)                                                                               \
    X(virDomainGetInfo)                                                                            \
    X(virDomainGetJobStats)                                                                        \
    X(virDomainGetMetadata)                                                                        \
    X(virDomainGetName)                                                                            \
    X(virDomainGetState)                                                                           \
    X(virDomainGetUUIDString)                                                                      \
    X(virDomainGetXMLDesc)                                                                         \
    X(virDomainLookupByName)                                                                       \
    X(virDomainLookupByUUIDString)                                                                 \
    X(virDomainMigrateSetMaxDowntime)                                                              \
    X(virDomainMigrateSetMaxSpeed)                                                                 \
    X(virDomainMigrateStartPostCopy)                                                               \
    X(virDomainMigrateToURI3)                                                                      \
    X(virEventAddTimeout)                                                                          \
    X(virEventRegisterDefaultImpl)                                                                 \
    X(virEventRemoveTimeout)                                                                       \
    X(virEventRunDefaultImpl)                                                                      \
    X(virEventUpdateTimeout)                                                                       \
    X(virGetLastError)                                                                             \
    X(virNodeGetMemoryStats)                                                                       \
    X(virSetErrorFunc)                                                                             \
    X(virTypedParamsAddString)                                                                     \
    X(virTypedParamsAddULLong)                                                                     \
    X(virTypedParamsFree)                                                                          \
    X(virTypedParamsGetULLong)
// The same, of libvirt-qemu.so.0.
#define GC_LIBVIRT_QEMU(X) X(virDomainQemuMonitorCommand)

namespace gc::libvirt {

/// The functions, by their names.
struct Library {
#define GC_MEMBER(name) decltype(&::name) name = nullptr;  // NOLINT(bugprone-macro-parentheses)
    GC_LIBVIRT(GC_MEMBER)
    GC_LIBVIRT_QEMU(GC_MEMBER)
#undef GC_MEMBER

    /// Loads both libraries, once. Errors: unsupported, if one is not there or too old.
    static Result<const Library*> load();

    /// What the last call of this thread failed of.
    [[nodiscard]] Unexpected failed(ErrorKind kind, std::string_view what) const;
};

}  // namespace gc::libvirt
