/* SPDX-License-Identifier: GPL-2.0-only */
/* The KVM backend of struct gc_vm. kvm.c is the only file that knows KVM. */
#ifndef GC_KVM_H
#define GC_KVM_H

#include <linux/errno.h>
#include <linux/kconfig.h>

#include "vm.h"

/*
 * Not for PREEMPT_RT: the fault event runs with preemption disabled and takes the session's
 * spinlock, which sleeps there.
 */
#if IS_ENABLED(CONFIG_KVM) && !IS_ENABLED(CONFIG_PREEMPT_RT)

/* A gc_vm_attach_t. */
int gc_kvm_attach(struct gc_vm **vm, int fd, const struct gc_vm_events *events, void *data);

#else

static inline int gc_kvm_attach(struct gc_vm **vm, int fd, const struct gc_vm_events *events,
				void *data)
{
	return -EOPNOTSUPP;
}

#endif

#endif /* GC_KVM_H */
