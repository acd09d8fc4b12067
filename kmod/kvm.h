/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The hook into a running KVM VM, for a track. Nothing else knows KVM. What it sees it tells by
 * gc_track_fault(), gc_track_unresolved(), gc_track_unmapped() and gc_track_gone().
 */
#ifndef GC_KVM_H
#define GC_KVM_H

#include <linux/errno.h>
#include <linux/kconfig.h>
#include <linux/types.h>

struct gc_kvm;
struct gc_track;

#if IS_ENABLED(CONFIG_KVM) && !IS_ENABLED(CONFIG_PREEMPT_RT)

/*
 * Hooks the track to the VM. Calls begin before it returns, and after *hook is set; with faults,
 * gc_track_fault() is among them. Errors: those of GC_IOC_TRACK_CREATE that are about kvm_fd.
 */
int gc_kvm_attach(struct gc_kvm **hook, int fd, struct gc_track *track, bool faults);

/* No call is under way, nor will one be, when this returns. */
void gc_kvm_detach(struct gc_kvm *hook);

/*
 * Waits for faults that the hook has been told of, but not for long: a vCPU may have to wait for
 * its page as long as it likes (userfaultfd(2)), and begins anew when that was meanwhile zapped.
 */
void gc_kvm_settle(struct gc_kvm *hook);

/* Takes [address, address + length) out of the guest's page tables. */
void gc_kvm_zap(struct gc_kvm *hook, u64 address, u64 length);

/* The memory that the VM runs in exists until gc_kvm_put_memory(). False if it is gone. */
bool gc_kvm_get_memory(struct gc_kvm *hook);
void gc_kvm_put_memory(struct gc_kvm *hook);

/* Whether a vCPU accessed something of the range since it was last asked. */
bool gc_kvm_age(struct gc_kvm *hook, u64 address, u64 length);

/*
 * The order of the page that the host maps at an address now; 0 if it maps none. The memory must
 * not go away meanwhile.
 */
unsigned int gc_kvm_host_order(struct gc_kvm *hook, u64 address);

#else

static inline int gc_kvm_attach(struct gc_kvm **hook, int fd, struct gc_track *track, bool faults)
{
	return -EOPNOTSUPP;
}

static inline void gc_kvm_detach(struct gc_kvm *hook) {}
static inline void gc_kvm_settle(struct gc_kvm *hook) {}
static inline void gc_kvm_zap(struct gc_kvm *hook, u64 address, u64 length) {}

static inline bool gc_kvm_get_memory(struct gc_kvm *hook)
{
	return false;
}

static inline void gc_kvm_put_memory(struct gc_kvm *hook) {}

static inline bool gc_kvm_age(struct gc_kvm *hook, u64 address, u64 length)
{
	return false;
}

static inline unsigned int gc_kvm_host_order(struct gc_kvm *hook, u64 address)
{
	return 0;
}

#endif

#endif /* GC_KVM_H */
